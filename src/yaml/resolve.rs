//! What a plain YAML scalar means to Helm: the resolver of `go.yaml.in/yaml/v2`, which speaks YAML 1.1 of a kind.
//!
//! Each rule here was seen in that module's `resolve.go` (v2.4) and checked against the real helm binary by
//! `tests/helm_oracle`.

use base64::Engine as _;

/// What a scalar resolves to. Numbers are kept as Helm's parser reads them, before JSON turns each into a float.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true`, `yes`, `on`, `y` and their likes.
    Bool(bool),
    /// Whole numbers, octal and hexadecimal too.
    Int(i64),
    /// Whole numbers above `i64`.
    Uint(u64),
    /// All other numbers, whole ones above `u64` among them.
    Float(f64),
    String(String),
}

impl Value {
    /// The type's name, for people.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
            Value::String(_) => "string",
        }
    }

    /// As JSON, numbers as 64-bit floats.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::String(text) => text.as_str().into(),
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
                let float = self.as_float().unwrap_or(f64::NAN);
                let whole = float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0;
                if whole && !(float == 0.0 && float.is_sign_negative()) { (float as i64).into() } else { float.into() }
            }
        }
    }

    /// The number as Helm computes with it.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Uint(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether Helm sees no difference.
    pub fn same_as(&self, other: &Value) -> bool {
        match (self.as_float(), other.as_float()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self == other,
            _ => false,
        }
    }

    /// The value as text, the way that Helm prints it: what an operator compares.
    pub fn text(&self) -> String {
        match self {
            Value::String(text) => text.clone(),
            other => other.to_json().to_string(),
        }
    }
}

/// Values may be secrets: only the type is shown.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.type_name())
    }
}

/// Resolves a scalar with the short tag `tag` (`!!int`, or empty for none). The error says what Helm would say, without
/// quoting the text.
pub(super) fn resolve(tag: &str, text: &str) -> Result<Value, String> {
    match tag {
        "" => Ok(plain(text)),
        "!!str" => Ok(Value::String(text.to_owned())),
        "!!binary" => binary(text),
        "!!bool" | "!!int" | "!!null" | "!!float" => forced(tag, plain(text)),
        "!!timestamp" if is_timestamp(text) => Ok(Value::String(text.to_owned())),
        "!!timestamp" => Err("the text is no timestamp".into()),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn forced(tag: &str, value: Value) -> Result<Value, String> {
    match (tag, value) {
        ("!!bool", v @ Value::Bool(_)) | ("!!null", v @ Value::Null) => Ok(v),
        ("!!int", v @ (Value::Int(_) | Value::Uint(_))) => Ok(v),
        ("!!float", Value::Int(i)) => Ok(Value::Float(i as f64)),
        ("!!float", v @ Value::Float(_)) => Ok(v),
        (_, other) => Err(format!("a {} cannot be read as {tag}", other.type_name())),
    }
}

/// Standard base64 with padding, line breaks allowed.
fn binary(text: &str) -> Result<Value, String> {
    let packed: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .map_err(|_| "!!binary value holds invalid base64".to_owned())?;
    Ok(Value::String(go_text(&bytes)))
}

/// Bytes as Go's JSON gives them: each that is not UTF-8 becomes a U+FFFD of its own.
pub fn go_text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(std::iter::repeat_n('\u{fffd}', chunk.invalid().len()));
    }
    out
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes()[0] {
        b'.' => dotted_float(text),
        b'+' | b'-' | b'0'..=b'9' => signed_number(text),
        _ => None,
    };
    number.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Go's `ParseFloat` on a text that begins with a dot: an underscore may stand between two digits.
fn dotted_float(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
        if *byte == b'_' && !(at > 0 && digit(at - 1) && digit(at + 1)) {
            return None;
        }
    }
    decimal_float(&text.replace('_', ""))
}

fn signed_number(text: &str) -> Option<Value> {
    let packed: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(value) = based_integer(&packed) {
        return Some(value);
    }
    if let Some(value) = decimal_float(&packed) {
        return Some(value);
    }
    // What is left of an old rule: after `0b` a sign may stand (`0b-1` is -1), after `-0b` none.
    let digits = packed.strip_prefix("0b")?;
    i64::from_str_radix(digits, 2).ok().map(Value::Int)
}

/// Go's `ParseInt` and then `ParseUint` with base 0, underscores gone.
fn based_integer(text: &str) -> Option<Value> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let lower = digits.as_bytes().get(1).map(u8::to_ascii_lowercase);
    let (radix, digits) = match (digits.as_bytes().first()?, lower) {
        (b'0', Some(b'x')) => (16, &digits[2..]),
        (b'0', Some(b'b')) => (2, &digits[2..]),
        (b'0', Some(b'o')) => (8, &digits[2..]),
        (b'0', Some(_)) => (8, &digits[1..]),
        _ => (10, digits),
    };
    // The library functions would take a second sign.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Value::Int);
    }
    match i64::try_from(magnitude) {
        Ok(small) => Some(Value::Int(small)),
        Err(_) if !signed => Some(Value::Uint(magnitude)),
        Err(_) => None,
    }
}

/// `^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$`, finite; out of range is text.
fn decimal_float(text: &str) -> Option<Value> {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(rest);
    let mut tail = &rest[whole..];
    if let Some(fraction) = tail.strip_prefix('.') {
        let places = digits(fraction);
        if whole == 0 && places == 0 {
            return None;
        }
        tail = &fraction[places..];
    } else if whole == 0 {
        return None;
    }
    if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if exponent.is_empty() || digits(exponent) != exponent.len() {
            return None;
        }
    } else if !tail.is_empty() {
        return None;
    }
    text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::Float)
}

/// The forms that the explicit tag `!!timestamp` takes: a date, or a date and a time.
fn is_timestamp(text: &str) -> bool {
    let mut date = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (date.next(), date.next(), date.next()) else { return false };
    let (day, time) = match rest.find(['T', 't', ' ']) {
        Some(at) => (&rest[..at], Some((&rest[at + 1..], rest.as_bytes()[at] != b' '))),
        None => (rest, None),
    };
    let number = |s: &str, longest: usize| {
        (!s.is_empty() && s.len() <= longest && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<i16>().ok())?
    };
    let day_fits = || {
        let month = i8::try_from(number(month, 2)?).ok()?;
        let day = i8::try_from(number(day, 2)?).ok()?;
        (year.len() == 4).then(|| jiff::civil::Date::new(number(year, 4)?, month, day).ok())?
    };
    if day_fits().is_none() {
        return false;
    }
    let Some((time, zoned)) = time else { return true };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => (&time[..at], Some(&time[at..])),
        None => (time, None),
    };
    let zone_fits = match zone {
        None => !zoned,
        Some("Z") => zoned,
        // Go's `Parse` takes 24 hours and 60 minutes, which some people write.
        Some(offset) => {
            zoned
                && offset[1..].split_once(':').is_some_and(|(hours, minutes)| {
                    let two =
                        |digits: &str, most: i16| digits.len() == 2 && number(digits, 2).is_some_and(|n| n <= most);
                    two(hours, 24) && two(minutes, 60)
                })
        }
    };
    let (clock, fraction) = clock.split_once(['.', ',']).map_or((clock, None), |(c, f)| (c, Some(f)));
    let parts: Vec<Option<i16>> = clock.split(':').map(|part| number(part, 2)).collect();
    let in_range = |part: &Option<i16>, below: i16| part.is_some_and(|n| n < below);
    zone_fits
        && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
        && parts.len() == 3
        && in_range(&parts[0], 24)
        && in_range(&parts[1], 60)
        && in_range(&parts[2], 60)
}

/// The text of a map key as JSON gets it; `Err` names the type that JSON cannot take.
pub(super) fn key_text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(go_float32(*number)),
        Value::Null => Err("null"),
        Value::Uint(_) => Err("number above 9223372036854775807"),
    }
}

/// Go's `FormatFloat(f, 'g', -1, 32)`: the shortest digits that give the same 32-bit float.
fn go_float32(number: f64) -> String {
    let narrow = number as f32;
    if narrow.is_nan() {
        return ".nan".into();
    }
    if narrow.is_infinite() {
        return if narrow > 0.0 { ".inf" } else { "-.inf" }.into();
    }
    let scientific = format!("{narrow:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{narrow}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        match plain(text) {
            Value::Null => "null".into(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Uint(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::String(text) => format!("{text:?}"),
        }
    }

    #[test]
    fn plain_scalars_resolve_as_recorded_from_helm() {
        // Left: the text. Right: what helm v4.1.4 rendered for it with `toJson .Values` (numbers before rounding).
        for (text, expected) in [
            ("yes", "true"),
            ("y", "true"),
            ("On", "true"),
            ("n", "false"),
            ("OFF", "false"),
            ("tRue", "\"tRue\""),
            ("~", "null"),
            ("Null", "null"),
            ("nULL", "\"nULL\""),
            ("0755", "493"),
            ("0o17", "15"),
            ("0O17", "15"),
            ("0x1F", "31"),
            ("0X1f", "31"),
            ("0B1", "1"),
            ("0b-1", "-1"),
            ("0b+1", "1"),
            ("-0b101", "-5"),
            ("-0b-1", "\"-0b-1\""),
            ("0b102", "\"0b102\""),
            ("1_000", "1000"),
            ("1_000.5_0", "1000.5"),
            ("_1", "\"_1\""),
            ("08", "8.0"),
            ("0123456789", "123456789.0"),
            ("0123456701234567", "5744368105847"),
            ("+5", "5"),
            ("+18446744073709551615", "1.8446744073709552e19"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9223372036854775809", "-9.223372036854776e18"),
            ("12345678901234567890123456789012", "1.2345678901234567e31"),
            ("1234567e8", "123456700000000.0"),
            ("1e400", "\"1e400\""),
            ("1:30", "\"1:30\""),
            ("2026-08-20", "\"2026-08-20\""),
            ("2026.8.20", "\"2026.8.20\""),
            ("17.10", "17.1"),
            (".5_0", "0.5"),
            ("._5", "\"._5\""),
            (".5_", "\".5_\""),
            (".5e1_0", "5000000000.0"),
            ("5.", "5.0"),
            ("+.5", "0.5"),
            ("-.5e-3", "-0.0005"),
            (".", "\".\""),
            ("-", "\"-\""),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("0x1FFFFFFFFFFFFFFFF", "\"0x1FFFFFFFFFFFFFFFF\""),
            ("<<", "\"<<\""),
            (".inf", "inf"),
            ("1e5", "100000.0"),
            ("0xg", "\"0xg\""),
            ("0x", "\"0x\""),
            ("1e", "\"1e\""),
            ("+", "\"+\""),
            ("1__0", "10"),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_become_the_text_that_json_gets() {
        for (text, expected) in [
            ("1.1", "1.1"),
            ("1234567.891", "1.2345679e+06"),
            ("1e-7", "1e-07"),
            ("0.00001", "1e-05"),
            ("100000.0", "100000"),
            ("1000000.0", "1e+06"),
            ("1e39", ".inf"),
            ("-0.0", "-0"),
            ("y", "true"),
            ("0x10", "16"),
        ] {
            assert_eq!(key_text(&plain(text)), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(key_text(&Value::Null), Err("null"));
        assert!(key_text(&Value::Uint(u64::MAX)).is_err());
    }

    #[test]
    fn explicit_tags_convert_or_refuse() {
        assert_eq!(resolve("!!float", "3"), Ok(Value::Float(3.0)));
        assert!(resolve("!!float", "18446744073709551615").is_err());
        assert!(resolve("!!int", "1.5").is_err());
        assert_eq!(resolve("!!binary", "aGk="), Ok(Value::String("hi".into())));
        assert_eq!(resolve("!!binary", "gIGC"), Ok(Value::String("\u{fffd}\u{fffd}\u{fffd}".into())));
        assert!(resolve("!!binary", "@@").is_err());
        assert_eq!(resolve("!foo", "3"), Ok(Value::String("3".into())));
        for (text, fits) in [
            ("2001-12-14", true),
            ("2001-1-1", true),
            ("2001-12-14t21:59:43.10-05:00", true),
            ("2001-12-14 21:59:43", true),
            ("2001-02-30", false),
            ("12", false),
            ("2001-12-14T21:59:43", false),
        ] {
            assert_eq!(resolve("!!timestamp", text).is_ok(), fits, "{text}");
        }
    }
}
