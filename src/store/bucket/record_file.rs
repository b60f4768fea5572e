//! The file of an object's record, as it lies in the bucket.

use serde::{Deserialize, Serialize};

/// `published.json`: the record, and whose bytes it publishes. Of several drafts of one name each has bytes of its own; what
/// this names are the object's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordFile {
    /// The file of the bytes, beside it.
    pub bytes_file: String,
    /// How many they are.
    pub bytes: u64,
    /// The record, as it was given.
    pub record: String,
}

impl RecordFile {
    /// Puts a record into one.
    ///
    /// # Errors
    /// The record is no text.
    pub fn new(bytes_file: &str, bytes: u64, record: &[u8]) -> Result<Self, String> {
        let record = std::str::from_utf8(record).map_err(|_| "the record is no text".to_owned())?;
        Ok(Self { bytes_file: bytes_file.to_owned(), bytes, record: record.to_owned() })
    }

    /// Its bytes in the bucket.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec_pretty(self).map_err(|error| error.to_string())
    }

    /// Reads one.
    ///
    /// # Errors
    /// It is none, or names bytes elsewhere.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| format!("published.json is none: {error}"))?;
        match read.bytes_file.contains('/') {
            true => Err("published.json names bytes elsewhere".into()),
            false => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_given() {
        let record_file = RecordFile::new("a.0f.tar", 7, b"{\n  \"x\": 1\n}\n").unwrap();
        assert_eq!(RecordFile::parse(&record_file.to_bytes().unwrap()).unwrap(), record_file);
        assert!(RecordFile::new("a", 1, &[0xff]).is_err());
        for bad in ["", "{}", r#"{"bytes_file":"../b","bytes":1,"record":""}"#] {
            assert!(RecordFile::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
