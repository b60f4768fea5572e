//! How far counted work is: share, rate and rest, in as many columns as there are.

use std::collections::VecDeque;
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use crate::text::{bytes, elapsed};

/// The rate is that of the last while: a stream that was fast at first must not look fast for ever.
const WINDOW: Duration = Duration::from_secs(15);
/// Earlier, a rate is a guess.
const EARLIEST_RATE: Duration = Duration::from_millis(500);
/// Nothing moved for this long: then that is said instead of a rate.
const STALLED: Duration = Duration::from_secs(5);
/// The columns of a bar: the most, and the least that shows anything.
const BAR: (usize, usize) = (24, 4);

/// One count of the step at hand.
#[derive(Debug)]
pub(super) struct Meter {
    what: String,
    unit: String,
    done: u64,
    total: Option<u64>,
    /// When how much was done, of the last [`WINDOW`]; the oldest first, never empty.
    seen: VecDeque<(Duration, u64)>,
    moved: Duration,
}

impl Meter {
    pub(super) fn new(what: &str, unit: &str, done: u64, total: Option<u64>, now: Duration) -> Self {
        let seen = VecDeque::from([(now, done)]);
        Self { what: what.to_owned(), unit: unit.to_owned(), done, total, seen, moved: now }
    }

    /// What is counted.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Takes the newest count of the same thing.
    pub(super) fn update(&mut self, done: u64, total: Option<u64>, now: Duration) {
        if done != self.done {
            self.moved = now;
        }
        (self.done, self.total) = (done, total);
        self.seen.push_back((now, done));
        // The newest of those that are too old stays: the window then reaches back to its beginning.
        while self.seen.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.seen.pop_front();
        }
    }

    /// The fullest account of it that fits into `room` columns.
    pub(super) fn in_columns(&self, now: Duration, room: usize) -> String {
        let (pace, amount) = (self.pace(now), self.amount());
        let Some(share) = self.share() else {
            return first_fitting([join(&[&amount, &pace]), amount], room);
        };
        let percent = percent(share);
        let with_bar = |text: String| {
            let left = room.checked_sub(text.width() + 3).filter(|columns| *columns >= BAR.1)?;
            Some(format!("{} {text}", bar(share, left.min(BAR.0))))
        };
        let drawn = [join(&[&percent, &amount, &pace]), join(&[&percent, &pace]), pace.clone()];
        let forms = drawn.into_iter().filter(|text| !text.is_empty()).map(with_bar);
        let plain = [join(&[&percent, &pace]), percent];
        first_fitting(forms.flatten().chain(plain), room)
    }

    /// The account for where nothing is drawn.
    pub(super) fn in_words(&self, now: Duration) -> String {
        let percent = self.share().map(percent).unwrap_or_default();
        join(&[&percent, &self.amount(), &self.pace(now)])
    }

    fn share(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some(self.done.min(total) as f64 / total as f64)
    }

    /// `1.2 of 4.0 GiB`, `3 of 9 files`
    fn amount(&self) -> String {
        match (self.unit.as_str(), self.total) {
            ("bytes", Some(total)) if total > 0 => format!("{} of {}", bytes(self.done), bytes(total)),
            ("bytes", _) => bytes(self.done),
            (unit, Some(total)) => format!("{} of {total} {unit}", self.done),
            (unit, None) => format!("{} {unit}", self.done),
        }
    }

    /// `80 MiB/s, 35 s left`, or for how long nothing has moved.
    fn pace(&self, now: Duration) -> String {
        let left = self.total.map(|total| total.saturating_sub(self.done));
        let still = now.saturating_sub(self.moved);
        if left != Some(0) && still >= STALLED {
            return format!("nothing moved for {}", elapsed(still));
        }
        let (at, before) = self.seen.front().copied().unwrap_or_default();
        let time = now.saturating_sub(at);
        let moved = self.done.saturating_sub(before);
        if self.unit != "bytes" || time < EARLIEST_RATE || moved == 0 {
            return String::new();
        }
        let rate = moved as f64 / time.as_secs_f64();
        let speed = format!("{}/s", bytes(rate as u64));
        match left {
            Some(left @ 1..) => format!("{speed}, {} left", rest((left as f64 / rate).ceil() as u64)),
            _ => speed,
        }
    }
}

/// A guess is worded as one: from a minute on in whole minutes.
fn rest(seconds: u64) -> String {
    match seconds {
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => elapsed(Duration::from_secs(seconds)),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

fn bar(share: f64, columns: usize) -> String {
    let full = (share * columns as f64) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(columns - full))
}

fn join(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

fn first_fitting(forms: impl IntoIterator<Item = String>, room: usize) -> String {
    forms.into_iter().find(|form| form.width() <= room).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn meter() -> Meter {
        let mut meter = Meter::new("database", "bytes", 0, Some(4096 * MIB), at(0));
        (1..=15).for_each(|second| meter.update(second * 80 * MIB, Some(4096 * MIB), at(second)));
        meter
    }

    #[test]
    fn the_fewer_columns_the_less_is_said_and_the_rest_of_the_time_last() {
        let meter = meter();
        let said = [70, 50, 32, 20, 9, 3].map(|room| meter.in_columns(at(15), room));
        assert_eq!(
            said,
            [
                "[#####---------------] 29 %, 1.2 GiB of 4.0 GiB, 80.0 MiB/s, 37 s left",
                "[#####---------------] 29 %, 80.0 MiB/s, 37 s left",
                "[##------] 80.0 MiB/s, 37 s left",
                "29 %",
                "29 %",
                ""
            ]
        );
        assert_eq!(meter.in_words(at(15)), "29 %, 1.2 GiB of 4.0 GiB, 80.0 MiB/s, 37 s left");
        assert_eq!([59, 60, 61, 3700].map(rest), ["59 s", "1 min", "2 min", "1 h 1 min"]);
    }

    #[test]
    fn the_rate_is_that_of_the_last_while_and_a_stall_is_said() {
        let mut meter = meter();
        (16..=46).for_each(|second| meter.update((1200 + 8 * (second - 15)) * MIB, Some(4096 * MIB), at(second)));
        assert!(meter.in_words(at(46)).contains("8.0 MiB/s, "), "{}", meter.in_words(at(46)));
        assert!(meter.in_words(at(58)).ends_with("nothing moved for 12 s"), "{}", meter.in_words(at(58)));
    }

    #[test]
    fn what_has_no_total_or_is_not_bytes_is_counted() {
        assert_eq!(Meter::new("database", "bytes", 512, None, at(0)).in_words(at(0)), "512 B");
        assert_eq!(Meter::new("recorded", "files", 3, Some(9), at(0)).in_words(at(0)), "33 %, 3 of 9 files");
    }
}
