//! The JSON members: how they are laid out and read.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;

use super::error::BundleFault;

/// Writes `value` so that each entry of a list of the top level has a line of its own: a person can read it, and
/// `sed` can take `name` and `sha256` from it without a JSON tool.
pub(super) fn to_lines<T: Serialize>(value: &T, member: &str) -> Result<Vec<u8>, BundleFault> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Lines::default());
    value.serialize(&mut serializer).map_err(|source| BundleFault::Json { member: member.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a JSON member.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], member: &str) -> Result<T, BundleFault> {
    serde_json::from_slice(bytes).map_err(|source| BundleFault::Json { member: member.to_owned(), source })
}

/// Breaks lines down to the second level, and nothing below.
#[derive(Default)]
struct Lines {
    depth: usize,
    has_value: bool,
}

impl Lines {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.depth < 2 && self.has_value {
            self.line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= 2 { self.line(writer) } else { Ok(()) }
    }

    fn line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.depth <= 2 { b": " } else { b":" })
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_of_the_top_level_have_one_line_an_entry() {
        let value = json!({"a": 1, "b": {"c": [1, 2]}, "m": [{"n": "x", "s": [1]}, {"n": "y"}], "z": []});
        let text = String::from_utf8(to_lines(&value, "m").unwrap()).unwrap();
        let expected = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1,2]\n  },\n  \"m\": [\n    {\"n\":\"x\",\"s\":[1]},\n    {\"n\":\"y\"}\n  ],\n  \"z\": []\n}\n";
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_line_and_column() {
        let error = parse::<Vec<u8>>(b"[1,\n 2,,", "manifest.json").unwrap_err();
        assert_eq!(error.to_string(), "manifest.json cannot be read");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("line 2 column 4"));
    }
}
