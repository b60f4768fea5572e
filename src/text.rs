//! Amounts, lengths of time and errors, worded for people.

use std::error::Error;
use std::time::Duration;

/// A size for people: `597 MiB`, `1.1 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A length of time for people: `0.4 s`, `12 s`, `3 min 5 s`.
pub fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        s @ 10..=59 => format!("{s} s"),
        s @ 60..=3599 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// The same for seconds that a file holds: any number.
pub fn elapsed_seconds(seconds: f64) -> String {
    elapsed(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// `1 file`, `2 files`.
pub fn plural(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Whether a character only shows itself: no control (C0, DEL, C1), none that reorders text, ends a line or hides.
pub fn is_safe(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // reading direction
            | '\u{2028}' | '\u{2029}' // line ends besides \n
            // Shown as nothing. Joiners (U+200C, U+200D) are part of words and emoji.
            | '\u{ad}' | '\u{34f}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// The text of an error and of all its causes on one line, each said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// Whether the text is the pattern; `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_not_safe_and_what_belongs_to_words_is() {
        assert!(
            !['\u{fe0f}', '\u{34f}', '\u{180b}', '\u{e0100}', '\u{e01ef}', '\u{200b}', '\n'].into_iter().any(is_safe)
        );
        assert!("grüße 東京 👩\u{200d}💻 e\u{301}".chars().all(is_safe));
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(626_000_000)], ["0 B", "1023 B", "1.5 KiB", "597 MiB"]);
        assert_eq!(elapsed(Duration::from_millis(420)), "0.4 s");
        assert_eq!(elapsed(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!([-1.0, f64::NAN, 12.0].map(elapsed_seconds), ["0.0 s", "0.0 s", "12 s"]);
        assert!([f64::INFINITY, 1e308].map(elapsed_seconds).iter().all(|time| time.ends_with(" min")));
        assert_eq!([plural(1, "file"), plural(0, "file")], ["1 file", "0 files"]);
    }
}
