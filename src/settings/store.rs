//! Where bundles are kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checked::{self, TimeSpan};

/// A store: a folder, or a bucket with what leads to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The folder.
    pub path: Option<PathBuf>,
    /// The bucket, in the place of a folder: `s3://BUCKET/PREFIX`.
    #[serde(deserialize_with = "bucket")]
    pub url: Option<String>,
    /// The bucket's server, `https://HOST:PORT`; Amazon's own, or that of `AWS_ENDPOINT_URL`, when absent.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: Option<String>,
    /// Whether the bucket's name is a part of the server's, and not of the path.
    pub virtual_host: bool,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A file with the access key, in the form of `~/.aws/credentials`; the environment, or a role, when absent.
    pub credentials_file: Option<PathBuf>,
    /// Which key of a credentials file.
    pub profile: Option<String>,
    /// The least size of an upload's parts, in MiB.
    #[serde(deserialize_with = "part")]
    pub part_mib: Option<u32>,
    /// A checksum to send with each part.
    pub checksum: Option<PartChecksum>,
    /// The most that may go up a second (`10M`).
    #[serde(deserialize_with = "checked::max_rate")]
    pub max_rate: Option<String>,
    /// How long a bucket's server that cannot be reached is waited for.
    #[serde(deserialize_with = "wait")]
    pub wait: Option<TimeSpan>,
    /// In how many of all stores a new bundle has to be before `bundle create` has succeeded.
    pub policy: MirrorPolicy,
    /// The stores that are to hold the same: each a table of its own.
    #[serde(deserialize_with = "mirrors", skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<StoreSettings>,
}

/// In how many stores a new bundle has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorPolicy {
    /// The first: what a mirror lacks is warned of.
    #[default]
    One,
    /// More than half of them.
    Quorum,
    All,
}

impl MirrorPolicy {
    /// How many of so many stores.
    pub fn needed(self, stores: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => stores / 2 + 1,
            Self::All => stores,
        }
    }
}

/// What some buckets want beside the checksum that each signature has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartChecksum {
    /// A bucket with Object Lock.
    Sha256,
    Crc64nvme,
}

impl StoreSettings {
    /// As a store is called: the bucket, or else the folder.
    pub fn place(&self) -> Option<String> {
        self.url.clone().or_else(|| self.path.as_ref().map(|path| path.display().to_string()))
    }
}

impl StoreSettings {
    /// Why two of its stores are one, or would be taken for one: a store is known by its folder, or by its bucket's address.
    pub(super) fn twin(&self) -> Option<String> {
        let mut seen: Vec<PathBuf> = Vec::new();
        for (at, store) in std::iter::once(self).chain(&self.mirrors).enumerate() {
            let place = store.place()?;
            let what = if at == 0 { "store" } else { "store.mirrors" };
            if store.path.is_some() && store.url.is_some() {
                return Some(format!("{what}: {place} has both a `path` and a `url`: which of them is meant?"));
            }
            let known = store.path.as_ref().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
            let known = known.unwrap_or_else(|| place.trim_end_matches('/').into());
            if seen.contains(&known) {
                let way = "a copy in the same store is none, and buckets of one name at two servers need prefixes that differ";
                return Some(format!("{what}: {place} is named twice: {way}"));
            }
            seen.push(known);
        }
        None
    }

    /// As the mirrors are called.
    pub fn mirror_places(&self) -> Vec<String> {
        self.mirrors.iter().filter_map(Self::place).collect()
    }
}

fn mirrors<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<StoreSettings>, D::Error> {
    let mirrors = Vec::<StoreSettings>::deserialize(from)?;
    let is_one = |mirror: &StoreSettings| mirror.place().is_some() && mirror.mirrors.is_empty();
    match mirrors.iter().all(is_one) {
        true => Ok(mirrors),
        false => Err(serde::de::Error::custom("each mirror needs a `path` or `url`, and has no mirrors itself")),
    }
}

/// What speaks against `url` as a bucket. The address stands in pages, metrics and journals, so nothing that could be a key
/// may be in it, and it is not quoted here.
pub fn bucket_refusal(url: &str) -> Option<&'static str> {
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    let refusal =
        "it is not a bucket such as s3://BUCKET/PREFIX; a key stands in `credentials_file` or the environment";
    (!url.strip_prefix("s3://").is_some_and(is_plain)).then_some(refusal)
}

fn bucket<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let url = String::deserialize(from)?;
    bucket_refusal(&url).map_or(Ok(Some(url)), |refusal| Err(serde::de::Error::custom(refusal)))
}

fn endpoint<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    match text.starts_with("https://") || text.starts_with("http://") {
        true => Ok(Some(text)),
        false => Err(serde::de::Error::custom("it is not a server such as \"https://s3.example.org\"")),
    }
}

/// A request is signed once, and a signature is good for a quarter of an hour.
fn wait<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<TimeSpan>, D::Error> {
    let wait = TimeSpan::deserialize(from)?;
    match wait.0.as_secs() <= 600 {
        true => Ok(Some(wait)),
        false => Err(serde::de::Error::custom("expected a length of time between 1s and 10m, such as \"1m\"")),
    }
}

fn part<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    checked::whole::<_, u32, 5, 32>(from).map(Some)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Settings;

    #[test]
    fn a_store_is_a_folder_or_a_bucket() {
        let store = |text: &str| Settings::parse(&format!("[store]\n{text}"), Path::new("x")).map(|read| read.store);
        assert_eq!(store("path = \"/srv\"").unwrap().place().as_deref(), Some("/srv"));
        let bucket =
            store("url = \"s3://b/x\"\nendpoint = \"https://h:1\"\npart_mib = 8\nchecksum = \"sha256\"\n").unwrap();
        assert_eq!(bucket.place().as_deref(), Some("s3://b/x"));
        let mirrored = store(
            "path = \"/srv\"\npolicy = \"quorum\"\n[[store.mirrors]]\nurl = \"s3://b/x\"\n[[store.mirrors]]\npath = \"/m\"\n",
        );
        let mirrored = mirrored.unwrap();
        assert_eq!(mirrored.mirror_places(), ["s3://b/x", "/m"]);
        assert_eq!([1, 2, 3, 4].map(|stores| mirrored.policy.needed(stores)), [1, 2, 2, 3]);
        assert!(store("[[store.mirrors]]\nregion = \"x\"\n").is_err());
        let refused = |text: &str| store(text).unwrap_err().to_string();
        for url in ["ftp://b", "s3://KEY:sesquipedal@b/x", "s3://b?x=sesquipedal", "sesquipedal"] {
            let said = refused(&format!("url = \"{url}\""));
            assert!(said.contains("it is not a bucket such as") && !said.contains("sesquipedal"), "{said}");
        }
        assert_eq!(store("wait = \"10m\"").unwrap().wait.unwrap().0.as_secs(), 600);
        assert!(refused("wait = \"11m\"").contains("between 1s and 10m"));
        assert!(refused("endpoint = \"h:1\"").contains("is not a server such as"));
        assert!(refused("part_mib = 4").contains("expected a whole number between 5 and 32"));
    }
}
