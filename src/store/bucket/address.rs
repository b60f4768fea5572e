//! What a bucket's store is called, and the keys in it.

use object_store::path::Path as Key;
use sha2::{Digest, Sha256};

/// How the keys of an object's bytes end.
const BYTES: &str = ".tar";
const RECORD: &str = "published.json";
/// How the keys of claims end: see `client::take_back`.
const CLAIM: &str = ".claim";
/// The version of the layout, a folder of its own: a reader of this one never meets keys of another.
const LAYOUT: &str = "v1";

/// Whether `place` names a bucket, and no folder.
pub fn is_bucket(place: &str) -> bool {
    place.contains("://")
}

/// `s3://bucket/prefix`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BucketAddress {
    pub bucket: String,
    /// What stands before each key, with a slash at its end, or nothing.
    prefix: String,
}

impl BucketAddress {
    /// Reads `s3://bucket` or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(place: &str) -> Result<Self, String> {
        let rest = place.strip_prefix("s3://").ok_or_else(|| {
            let scheme = place.split("://").next().unwrap_or_default();
            format!("`{}://` is no kind of bucket that dr knows: it knows s3://", scheme.escape_debug())
        })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if bucket.is_empty() || !is_plain(bucket) {
            return Err("it names no bucket: write s3://BUCKET/PREFIX".into());
        }
        let prefix = prefix.trim_end_matches('/');
        let is_folder = |part: &str| !part.is_empty() && part != "." && part != ".." && is_plain(part);
        if !prefix.is_empty() && !prefix.split('/').all(is_folder) {
            return Err("its prefix may have letters, digits, `.`, `_`, `-` and single slashes only".into());
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }

    /// As settings and messages call it.
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }

    /// Where the keys of all objects begin.
    pub fn all(&self) -> Key {
        Key::from(format!("{}{LAYOUT}", self.prefix))
    }

    /// Where the keys of the object `name` begin.
    pub fn of(&self, name: &str) -> Key {
        Key::from(format!("{}{LAYOUT}/{name}", self.prefix))
    }

    /// The key of one of its files.
    pub fn file(&self, name: &str, file: &str) -> Key {
        Key::from(format!("{}{LAYOUT}/{name}/{file}", self.prefix))
    }

    /// The key of its record.
    pub fn record(&self, name: &str) -> Key {
        self.file(name, RECORD)
    }

    /// The key of a file that is no object's: `own` tells it from all others.
    pub fn probe(&self, own: &str) -> Key {
        Key::from(format!("{}{LAYOUT}/dr-doctor-probe-{own}", self.prefix))
    }

    /// Object and file of a key; `None` for one that is none of ours.
    pub fn parts<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        let rest = key.strip_prefix(self.prefix.as_str())?.strip_prefix(LAYOUT)?.strip_prefix('/')?;
        rest.split_once('/').filter(|(_, file)| !file.is_empty() && !file.contains('/'))
    }
}

/// The file of the bytes of a draft of `name`.
pub(super) fn bytes_file(name: &str, draft: &str) -> String {
    format!("{name}.{draft}{BYTES}")
}

/// The key of the claim to make the file `key` again, whose removal is called `removal`.
pub(super) fn claim_of(key: &Key, removal: &str) -> Key {
    Key::from(format!("{key}.{}{CLAIM}", hex::encode(&Sha256::digest(removal)[..8])))
}

/// What a file of an object is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Bytes,
    Record,
    Note,
    Claim,
}

impl FileKind {
    pub fn of(file: &str) -> Self {
        match file {
            RECORD => Self::Record,
            _ if file.ends_with(BYTES) => Self::Bytes,
            _ if file.ends_with(CLAIM) => Self::Claim,
            _ => Self::Note,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_read_with_and_without_a_prefix() {
        for (text, place, record) in [
            ("s3://b", "s3://b", "v1/a/published.json"),
            ("s3://b/", "s3://b", "v1/a/published.json"),
            ("s3://b/x/y-1/", "s3://b/x/y-1", "x/y-1/v1/a/published.json"),
        ] {
            let address = BucketAddress::parse(text).unwrap();
            assert_eq!((address.place().as_str(), address.record("a").as_ref()), (place, record));
            assert_eq!(address.parts(record), Some(("a", "published.json")));
        }
        for bad in ["s3://", "s3:///x", "s3://b//x", "s3://b/../x", "s3://b/x y", "s3://u@b", "ftp://b"] {
            assert!(BucketAddress::parse(bad).is_err(), "{bad}");
        }
        assert!(is_bucket("s3://b") && !is_bucket("/var/lib/dr") && !is_bucket("bundles"));
    }

    #[test]
    fn a_key_of_somebody_else_is_none_of_ours() {
        let address = BucketAddress::parse("s3://b/x").unwrap();
        for key in ["v1/a/published.json", "x/v2/a/b", "x/v1/a", "x/v1/a/", "x/v1/a/b/c", "xv1/a/b"] {
            assert_eq!(address.parts(key), None, "{key}");
        }
        assert_eq!(FileKind::of("published.json"), FileKind::Record);
        assert_eq!(FileKind::of(&bytes_file("a", "0f")), FileKind::Bytes);
        assert_eq!(FileKind::of("proof.json"), FileKind::Note);
    }
}
