//! Times in words and in names of files.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::error::{CommandError, Exit, Result};

/// Reads `2025-04-25` (its first moment), `2025-04-25T10:00` (both UTC), or a time with an offset.
pub(in crate::ops) fn read(text: &str) -> Option<Timestamp> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact);
    }
    let civil = match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => date.at(0, 0, 0, 0),
        _ => text.parse::<DateTime>().ok()?,
    };
    utc(civil)
}

/// Finds the one date in a file's name: `values-2025-04-25.yaml`, `20250425-values.yaml`, with a time behind it as in
/// `values-2025-04-25T10-30.yaml` or `values-20250425_1030.yaml`. Several dates are none.
pub(super) fn of_name(name: &str) -> Option<Timestamp> {
    let bytes = name.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit());
        match starts.then(|| date(&name[at..])).flatten() {
            Some((day, length)) => {
                let (time, more) = time(&name[at + length..]).unwrap_or((Time::midnight(), 0));
                found.push(day.to_datetime(time));
                at += length + more;
            }
            None => at += 1,
        }
    }
    match found.as_slice() {
        [one] => utc(*one),
        _ => None,
    }
}

/// Reads a time as [`read`] does, but a day means its last moment.
fn read_end(text: &str) -> Option<Timestamp> {
    match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => utc(date.at(23, 59, 59, 999_999_999)),
        _ => read(text),
    }
}

/// The time that `text` is read as.
///
/// # Errors
/// [`Exit::Usage`] when it is none.
fn required(text: &str, read: fn(&str) -> Option<Timestamp>) -> Result<Timestamp> {
    read(text).ok_or_else(|| {
        CommandError::new(Exit::Usage, format!("`{text}` is not a time"))
            .hint("Give it as 2025-04-25 or 2025-04-25T10:00 (UTC).")
    })
}

/// The times between which something is asked for.
///
/// # Errors
/// [`Exit::Usage`] when one is no time, or nothing can be between them: an empty answer would be taken for all there is.
pub(in crate::ops) fn range(
    since: Option<&str>,
    until: Option<&str>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let since = since.map(|text| required(text, read)).transpose()?;
    let until = until.map(|text| required(text, read_end)).transpose()?;
    let what = match (since, until) {
        (Some(since), _) if since > now => format!("--since {since:.0} is still to come"),
        (Some(since), Some(until)) if since > until => format!("--since {since:.0} is after --until {until:.0}"),
        _ => return Ok((since, until)),
    };
    Err(CommandError::new(Exit::Usage, what).hint("Such as `--since 2026-08-01 --until 2026-08-31`, in UTC."))
}

fn utc(civil: DateTime) -> Option<Timestamp> {
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// `2025-04-25` or `20250425` at the beginning, no digit behind it; and how long it is.
fn date(text: &str) -> Option<(Date, usize)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (length, year, month, day) = if digits == 8 {
        (8, &text[..4], &text[4..6], &text[6..8])
    } else if digits == 4 {
        let dashed = text.get(..10)?;
        let mut parts = dashed.split(['-', '_', '.']);
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        if month.len() != 2 || text.as_bytes().get(10).is_some_and(u8::is_ascii_digit) {
            return None;
        }
        (10, year, month, day)
    } else {
        return None;
    };
    let date = Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()?;
    (1990..=2200).contains(&date.year()).then_some((date, length))
}

/// `T10:30`, `_1030`, `-10-30-00` and the like behind a date; and how long it is.
fn time(text: &str) -> Option<(Time, usize)> {
    let first = text.bytes().next()?;
    if !matches!(first, b'T' | b't' | b'_' | b'-' | b' ') {
        return None;
    }
    let mut numbers = Vec::new();
    let mut at = 1;
    while numbers.len() < 3 {
        let separated = !numbers.is_empty() && matches!(text.as_bytes().get(at), Some(b':' | b'-' | b'.' | b'h'));
        let from = at + usize::from(separated);
        match text.get(from..from + 2).filter(|two| two.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(two) => numbers.push(two.parse::<i8>().ok()?),
            None => break,
        }
        at = from + 2;
    }
    // Digits that go on are a number of something else.
    if numbers.len() < 2 || text.as_bytes().get(at).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let second = numbers.get(2).copied().unwrap_or(0);
    let time = Time::new(numbers[0], numbers[1], second, 0).ok()?;
    Some((time, at + usize::from(text[at..].starts_with('Z'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_gives_its_one_date() {
        let text = |name: &str| of_name(name).map(|at| at.to_string());
        for (name, expected) in [
            ("values-2025-04-25.yaml", Some("2025-04-25T00:00:00Z")),
            ("2025-04-25.yaml", Some("2025-04-25T00:00:00Z")),
            ("values.2025.04.25.yml", Some("2025-04-25T00:00:00Z")),
            ("20250425-values.yaml", Some("2025-04-25T00:00:00Z")),
            ("values-2025-04-25T10-30.yaml", Some("2025-04-25T10:30:00Z")),
            ("values-2025-04-25T10:30:05Z.yaml", Some("2025-04-25T10:30:05Z")),
            ("values-20250425_1030.yaml", Some("2025-04-25T10:30:00Z")),
            ("values-20250425T103005Z.yaml", Some("2025-04-25T10:30:05Z")),
            ("values-2025-04-25-prod.yaml", Some("2025-04-25T00:00:00Z")),
            ("values-2025-04-25_v2.yaml", Some("2025-04-25T00:00:00Z")),
            ("values.yaml", None),
            ("values-2025-13-01.yaml", None),
            ("values-12345678.yaml", None),
            ("values-202504251.yaml", None),
            ("from-2025-04-25-to-2025-05-01.yaml", None),
        ] {
            assert_eq!(text(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_day_is_its_first_moment_in_utc_or_its_last() {
        let text = |at: &str| read(at).map(|at| at.to_string());
        assert_eq!(text("2025-04-25").as_deref(), Some("2025-04-25T00:00:00Z"));
        assert_eq!(text("2025-04-25T10:00").as_deref(), Some("2025-04-25T10:00:00Z"));
        assert_eq!(text("2025-04-25T10:00:00+02:00").as_deref(), Some("2025-04-25T08:00:00Z"));
        assert_eq!(text("last week"), None);
        assert_eq!(read_end("2025-04-25").unwrap().to_string(), "2025-04-25T23:59:59.999999999Z");
        assert_eq!(read_end("2025-04-25T10:00"), read("2025-04-25T10:00"));
    }
}
