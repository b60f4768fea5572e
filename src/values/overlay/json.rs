//! JSON as Go reads it, and JSON that a YAML 1.1 reader takes for the same.
//!
//! The reader differs from `serde_json` where the outcome would: halves of surrogate pairs become U+FFFD, numbers are
//! rounded to the nearest float, and a value ends where it ends, whatever follows.

use serde_json::{Map, Value};

const MAX_LEVELS: usize = 200;
const NO_JSON: &str = "the value is no JSON";

type Read<T> = Result<T, (usize, &'static str)>;

/// The value that `text` begins with, and its length in bytes, blanks before it included. An error gives the bytes read.
pub(super) fn value(text: &str) -> Read<(Value, usize)> {
    let mut reader = Reader { bytes: text.as_bytes(), text, at: 0 };
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

/// An object and nothing else. An error gives the characters read.
pub(super) fn object(text: &str) -> Read<Map<String, Value>> {
    let in_characters = |(at, cause): (usize, &'static str)| (text.get(..at).unwrap_or(text).chars().count(), cause);
    match value(text).map_err(in_characters)? {
        (Value::Object(map), length) if length == text.len() => Ok(map),
        (_, length) => Err(in_characters((length, "text follows the JSON object"))),
    }
}

struct Reader<'t> {
    bytes: &'t [u8],
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong<T>(&self) -> Read<T> {
        let mut at = self.at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        Err((at, NO_JSON))
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.bytes[self.at..].starts_with(word.as_bytes());
        if is_there {
            self.at += word.len();
        }
        is_there
    }

    fn value(&mut self, level: usize) -> Read<Value> {
        if level > MAX_LEVELS {
            return Err((self.at, "the JSON has more than 200 levels"));
        }
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.map(level),
            Some(b'[') => self.list(level),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("true") => Ok(Value::Bool(true)),
            _ if self.take("false") => Ok(Value::Bool(false)),
            _ if self.take("null") => Ok(Value::Null),
            _ => self.wrong(),
        }
    }

    fn map(&mut self, level: usize) -> Read<Value> {
        let mut map = Map::new();
        self.at += 1;
        self.skip_blanks();
        if self.take("}") {
            return Ok(Value::Object(map));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return self.wrong();
            }
            let key = self.string()?;
            self.skip_blanks();
            if !self.take(":") {
                return self.wrong();
            }
            let value = self.value(level + 1)?;
            map.insert(key, value);
            self.skip_blanks();
            if self.take("}") {
                return Ok(Value::Object(map));
            }
            if !self.take(",") {
                return self.wrong();
            }
        }
    }

    fn list(&mut self, level: usize) -> Read<Value> {
        let mut list = Vec::new();
        self.at += 1;
        self.skip_blanks();
        if self.take("]") {
            return Ok(Value::Array(list));
        }
        loop {
            list.push(self.value(level + 1)?);
            self.skip_blanks();
            if self.take("]") {
                return Ok(Value::Array(list));
            }
            if !self.take(",") {
                return self.wrong();
            }
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Read<Value> {
        let from = self.at;
        self.take("-");
        if !self.take("0") && self.digits() == 0 {
            return self.wrong();
        }
        if self.take(".") && self.digits() == 0 {
            return self.wrong();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let _sign = self.take("+") || self.take("-");
            if self.digits() == 0 {
                return self.wrong();
            }
        }
        match self.text[from..self.at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(crate::yaml::Value::Float(number).to_json()),
            _ => Err((from, "a number is too large for a float")),
        }
    }

    fn string(&mut self) -> Read<String> {
        let mut read = String::new();
        self.at += 1;
        loop {
            let from = self.at;
            while matches!(self.peek(), Some(byte) if byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            read.push_str(&self.text[from..self.at]);
            if self.take("\"") {
                return Ok(read);
            }
            if !self.take("\\") {
                return self.wrong();
            }
            read.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Read<char> {
        let Some(byte) = self.peek() else { return self.wrong() };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                let before = self.at;
                if (0xd800..0xdc00).contains(&unit) && self.take("\\u") {
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    // Not the other half: it is read again, as itself.
                    self.at = before;
                }
                char::from_u32(unit).unwrap_or('\u{fffd}')
            }
            _ => {
                self.at -= 1;
                return self.wrong();
            }
        })
    }

    fn unit(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.wrong(),
        }
    }
}

/// Writes JSON that Helm's YAML parser reads as the same: what YAML takes for a line break or refuses is escaped, and a
/// long key stands behind a question mark, since YAML wants the colon of others within 1,024 characters.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    const LONGEST_KEY: usize = 100;
    match value {
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (place, (key, value)) in map.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                if key.len() > LONGEST_KEY {
                    out.extend_from_slice(b"? ");
                }
                write_string(key, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut utf8 = [0; 4];
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes())
            }
            c => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
    }
    out.push(b'"');
}
