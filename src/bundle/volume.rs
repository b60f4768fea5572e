//! Volumes beside the database's: what the manifest says of them, and their chunks.
//!
//! The chunks are members `config/volume-<name>-<index>.tar.zst.age`: a `dr` that knows no volumes takes them for config that it
//! does not know, and leaves them alone. So a chunk's size and digest before compression stand with its volume in the manifest,
//! and not with the member.

use serde::{Deserialize, Serialize};

use crate::filetree::TreeTotals;

use super::layout::{Member, RAW_CHUNK_BYTES_LIMIT, digest};

/// How the name of a chunk's member begins.
const BEGIN: &str = "config/volume-";
const END: &str = ".tar.zst.age";
/// How many digits a chunk's number has.
const DIGITS: usize = 6;

/// A volume of the install, as a bundle holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundledVolume {
    /// What it is called: `git`.
    pub volume: String,
    /// The claim that it was read from.
    pub claim: String,
    /// How much the claim asks for, as a quantity.
    pub size: String,
    /// The claim's class.
    pub storage_class: Option<String>,
    pub access_modes: Vec<String>,
    /// The pods that used it while it was read: what they wrote meanwhile may be in it in part.
    pub used_by: Vec<String>,
    pub totals: TreeTotals,
    /// The length of its tar.
    pub raw_bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<VolumeChunk>,
}

impl BundledVolume {
    /// What people are shown.
    pub(super) fn without_chunks(&self) -> Self {
        Self { chunks: Vec::new(), ..self.clone() }
    }
}

/// A chunk before it was compressed and sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeChunk {
    pub raw_bytes: u64,
    /// As lower-case hex.
    pub raw_sha256: String,
}

/// A volume of which every file was found as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeProof {
    pub volume: String,
    pub files: u64,
    pub bytes: u64,
}

/// The name of a chunk's member.
pub(super) fn member(volume: &str, index: u32) -> String {
    format!("{BEGIN}{volume}-{index:06}{END}")
}

/// The volume and the number of the chunk that a member is, where it is one.
pub(super) fn chunk_of(member: &Member) -> Option<(&str, u32)> {
    let Member::Config(name) = member else { return None };
    let (volume, index) = name.strip_prefix(BEGIN)?.strip_suffix(END)?.rsplit_once('-')?;
    let is_number = index.len() == DIGITS && index.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && is_name(volume)).then_some((volume, index.parse().ok()?))
}

/// Whether a volume may be called so.
pub(super) fn is_name(text: &str) -> bool {
    (1..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// What asks for a volume's tar.
pub(super) fn tar_name(volume: &str) -> String {
    format!("volume-{volume}.tar")
}

/// The volume whose tar is asked for by this word.
pub(super) fn of_tar_name(word: &str) -> Option<&str> {
    word.strip_prefix("volume-")?.strip_suffix(".tar").filter(|volume| is_name(volume))
}

/// Holds what is said of the volumes against the members that are there, in their order.
///
/// # Errors
/// The first contradiction.
pub(super) fn check<'a>(volumes: &[BundledVolume], members: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut wanted = Vec::new();
    for volume in volumes {
        let name = &volume.volume;
        if !is_name(name) || volumes.iter().filter(|other| other.volume == *name).count() > 1 {
            return Err(format!("volume {name:?} is listed twice, or no volume is called so"));
        }
        for (index, chunk) in (0..).zip(&volume.chunks) {
            digest(&member(name, index), &chunk.raw_sha256)?;
            wanted.push(member(name, index));
        }
        let raw: u64 = volume.chunks.iter().fold(0, |sum, chunk| chunk.raw_bytes.saturating_add(sum));
        if raw != volume.raw_bytes || volume.chunks.iter().any(|chunk| chunk.raw_bytes > RAW_CHUNK_BYTES_LIMIT) {
            return Err(format!("the chunks of volume {name} do not add up, or one is too large"));
        }
    }
    let parsed = members.filter_map(|name| Member::parse(name).ok());
    let found: Vec<String> =
        parsed.filter(|member| chunk_of(member).is_some()).map(|member| member.to_string()).collect();
    if found == wanted { Ok(()) } else { Err("the chunks of volumes that it lists are not those that it has".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, raw: &[u64]) -> BundledVolume {
        let chunks = raw.iter().map(|raw_bytes| VolumeChunk { raw_bytes: *raw_bytes, raw_sha256: "0".repeat(64) });
        BundledVolume {
            volume: name.into(),
            claim: "c".into(),
            size: "1Gi".into(),
            storage_class: None,
            access_modes: Vec::new(),
            used_by: Vec::new(),
            totals: TreeTotals::default(),
            raw_bytes: raw.iter().sum(),
            chunks: chunks.collect(),
        }
    }

    #[test]
    fn a_chunk_of_a_volume_is_told_from_config_by_its_name() {
        let of = |name: &str| chunk_of(&Member::parse(name).unwrap()).map(|(volume, index)| (volume.to_owned(), index));
        assert_eq!(of("config/volume-git-000012.tar.zst.age"), Some(("git".into(), 12)));
        assert_eq!(member("git", 12), "config/volume-git-000012.tar.zst.age");
        for other in
            ["config/values.yaml.age", "config/volume-git-12.tar.zst.age", "config/volume-Git-000012.tar.zst.age"]
        {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(of_tar_name(&tar_name("git")), Some("git"));
        assert_eq!(of_tar_name("volume-../x.tar"), None);
    }

    #[test]
    fn what_is_said_of_volumes_must_fit_the_members_in_their_order() {
        let said = [volume("git", &[5, 6]), volume("steps", &[7])];
        let names = [member("git", 0), member("git", 1), member("steps", 0)];
        let checked = |said: &[BundledVolume], names: &[&str]| check(said, names.iter().copied());
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(checked(&said, &[&["config/values.yaml.age"][..], &all[..]].concat()), Ok(()));
        assert!(checked(&said, &all[..2]).unwrap_err().contains("not those"));
        assert!(checked(&said[..1], &all).unwrap_err().contains("not those"));
        assert!(checked(&said, &[all[1], all[0], all[2]]).unwrap_err().contains("not those"));
        assert!(checked(&[], &all[..1]).unwrap_err().contains("not those"));
        assert!(checked(&[volume("git", &[5]), volume("git", &[6])], &all[..2]).unwrap_err().contains("twice"));
        assert!(checked(&[volume("../x", &[])], &[]).unwrap_err().contains("no volume"));
        let wrong_sum = BundledVolume { raw_bytes: 4, ..volume("git", &[5]) };
        assert!(checked(&[wrong_sum], &all[..1]).unwrap_err().contains("add up"));
        assert!(checked(&[volume("git", &[RAW_CHUNK_BYTES_LIMIT + 1])], &all[..1]).unwrap_err().contains("too large"));
    }
}
