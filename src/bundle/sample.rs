//! Verifying a random part of a bundle: soon done, whatever its size. What was not read stays unknown, and is said.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

use crate::crypt::seal::Identities;
use crate::event::Events;
use crate::postgres::BackupManifest;
use crate::postgres::basebackup::BaseBackupError;

use super::error::{BundleError, BundleFault};
use super::layout::{Member, Stream};
use super::places::{self, Place};
use super::plain::check_span;
use super::reader::{Reader, SignatureState, StoredChunk};
use super::tarball::BLOCK;

/// How much of each stream is read: at least this share of its stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleShare {
    /// 1 to 10,000.
    hundredths_of_percent: u16,
}

impl SampleShare {
    const WHOLE: u16 = 10_000;

    /// Whether nothing is left out.
    pub fn is_whole(self) -> bool {
        self.hundredths_of_percent == Self::WHOLE
    }

    /// Whether `bytes` are that much of `all`.
    fn is_reached(self, bytes: u64, all: u64) -> bool {
        u128::from(bytes) * u128::from(Self::WHOLE) >= u128::from(all) * u128::from(self.hundredths_of_percent)
    }
}

impl FromStr for SampleShare {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let number = text.strip_suffix('%')?;
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str, most: usize| {
                (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
            };
            if !digits(whole, 3) || !digits(fraction, 2) {
                return None;
            }
            let hundredths_of_percent = format!("{whole}{fraction:0<2}").parse().ok()?;
            (1..=Self::WHOLE).contains(&hundredths_of_percent).then_some(Self { hundredths_of_percent })
        };
        parsed().ok_or("a sample is a percentage from 0.01% to 100%, such as 5% or 0.5%")
    }
}

impl fmt::Display for SampleShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.hundredths_of_percent / 100, self.hundredths_of_percent % 100);
        match fraction {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{}%", format!("{fraction:02}").trim_end_matches('0')),
        }
    }
}

impl Serialize for SampleShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How many chunks of a stream were read, of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SampledChunks {
    pub read: u32,
    pub of: u32,
}

/// What was read of a bundle is what the signed manifest lists. Nothing is known of the rest but where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleProof {
    /// How many members were hashed: all but chunks that were left out.
    pub members: usize,
    /// How many bytes of the bundle were read.
    pub bytes: u64,
    pub members_not_read: usize,
    pub bytes_not_read: u64,
    /// Whether what was read was opened, too.
    pub opened: bool,
    pub base: SampledChunks,
    pub wal: SampledChunks,
    /// What is known of the signature over the manifest.
    pub signature: SignatureState,
}

impl Reader {
    /// Checks the tar header of every member, every byte of all members but chunks, and of each stream a random `share`
    /// of its chunks, at least one. With `identities` all that is read is opened, too; the files of the database are held
    /// against nothing, since they go across chunks. Only a few chunks are in memory at a time.
    ///
    /// # Errors
    /// `Damaged` with the first member that is wrong, `Sealed` when no identity fits, `Database` when PostgreSQL's manifest
    /// is that of another backup, `Cancelled`, `Store`.
    pub fn verify_sample(
        &self,
        share: SampleShare,
        identities: Option<&Identities>,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<SampleProof, BundleError> {
        let sampling = Sampling { reader: self, picked: self.pick(share), events, cancel };
        sampling.check(identities).map_err(|fault| self.fault(fault))
    }

    fn pick(&self, share: SampleShare) -> BTreeSet<(Stream, u32)> {
        let picked = |stream| {
            let sizes: Vec<u64> = self.chunks(stream).map(|chunk| chunk.stored_bytes).collect();
            pick(&sizes, share, &mut rand::rng()).into_iter().map(move |index| (stream, index as u32))
        };
        [Stream::Base, Stream::Wal].into_iter().flat_map(picked).collect()
    }
}

/// Which of the chunks with these sizes are read: random ones, just as many as have `share` of all bytes, and one at least.
fn pick(sizes: &[u64], share: SampleShare, random: &mut impl Rng) -> Vec<usize> {
    let mut left: Vec<usize> = (0..sizes.len()).collect();
    left.shuffle(random);
    let all = sizes.iter().sum();
    let mut bytes = 0;
    let needed = |index: &usize| {
        let is_needed = bytes == 0 || !share.is_reached(bytes, all);
        bytes += sizes[*index];
        is_needed
    };
    left.into_iter().take_while(needed).collect()
}

/// A sample on its way.
struct Sampling<'a> {
    reader: &'a Reader,
    picked: BTreeSet<(Stream, u32)>,
    events: &'a Events,
    cancel: &'a CancellationToken,
}

impl Sampling<'_> {
    fn check(&self, identities: Option<&Identities>) -> Result<SampleProof, BundleFault> {
        let reader = self.reader;
        let left_out: Vec<&Place> =
            reader.listed().map(|(place, _)| place).filter(|place| !self.is_read(&place.member)).collect();
        let bytes_not_read = left_out.iter().map(|place| place.end() - place.offset).sum();
        let (bytes, members_not_read) = (reader.bytes() - bytes_not_read, left_out.len());
        if let Some(identities) = identities {
            self.open_small(identities)?;
        }
        self.check_headers(&left_out)?;
        let mut done = 0;
        let mut seen = |bytes_done: u64| {
            done += bytes_done;
            self.events.bytes("verified", done, Some(bytes));
        };
        // A chunk that is opened is hashed as well.
        let is_hashed =
            |place: &Place| self.is_read(&place.member) && (identities.is_none() || !is_chunk(&place.member));
        reader.hash_members(&mut |_, entry| seen(entry.bytes), self.cancel, &is_hashed)?;
        if let Some(identities) = identities {
            self.unpack_picked(identities, &mut seen)?;
        }
        reader.check_tail_padding()?;
        self.events.bytes("verified", bytes, Some(bytes));
        Ok(SampleProof {
            members: reader.members() - members_not_read,
            bytes,
            members_not_read,
            bytes_not_read,
            opened: identities.is_some(),
            base: self.chunks(Stream::Base),
            wal: self.chunks(Stream::Wal),
            signature: reader.signature.clone(),
        })
    }

    fn is_read(&self, member: &Member) -> bool {
        match member {
            Member::Chunk(stream, index) => self.picked.contains(&(*stream, *index)),
            _ => true,
        }
    }

    /// Opens all but the chunks: a wrong key shows at once.
    fn open_small(&self, identities: &Identities) -> Result<(), BundleFault> {
        for name in self.reader.sealed_members() {
            let plaintext = self.reader.open_plain(name, identities)?;
            if name == Member::BackupManifest.to_string() {
                let listed = BackupManifest::parse(&plaintext).map_err(BaseBackupError::from)?;
                check_span(&listed, &self.reader.manifest.database)?;
            }
        }
        Ok(())
    }

    /// The layout of what is not read.
    fn check_headers(&self, left_out: &[&Place]) -> Result<(), BundleFault> {
        let mut block = [0; BLOCK as usize];
        left_out.iter().try_for_each(|place| {
            if self.cancel.is_cancelled() {
                return Err(BundleFault::Cancelled);
            }
            self.reader.stored.read_at(place.start(), &mut block).map_err(places::cut_off)?;
            places::check_block(place, &block, self.reader.mtime)
        })
    }

    fn unpack_picked(&self, identities: &Identities, seen: &mut dyn FnMut(u64)) -> Result<(), BundleFault> {
        let chunks = [Stream::Base, Stream::Wal].into_iter().flat_map(|stream| self.reader.chunks(stream));
        let chunks: Vec<StoredChunk> = chunks.filter(|chunk| self.is_read(&chunk.member)).collect();
        self.reader.unpack_each(&chunks, identities, self.cancel, |chunk, _| {
            seen(chunk.stored_bytes);
            Ok(())
        })
    }

    fn chunks(&self, of: Stream) -> SampledChunks {
        SampledChunks {
            read: self.picked.iter().filter(|(stream, _)| *stream == of).count() as u32,
            of: self.reader.chunks(of).count() as u32,
        }
    }
}

fn is_chunk(member: &Member) -> bool {
    matches!(member, Member::Chunk(..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn share(text: &str) -> SampleShare {
        text.parse().unwrap()
    }

    #[test]
    fn a_share_is_a_percentage_above_nothing_and_up_to_all() {
        for (text, written) in [
            ("5%", "5%"),
            ("0.5%", "0.5%"),
            ("0.05%", "0.05%"),
            ("0.01%", "0.01%"),
            ("12.50%", "12.5%"),
            ("007%", "7%"),
            ("100%", "100%"),
            ("100.00%", "100%"),
        ] {
            assert_eq!(share(text).to_string(), written);
            assert_eq!(share(text).is_whole(), written == "100%");
        }
        let wrong = [
            "", "%", "5", "5 %", " 5%", "5%%", "0%", "0.00%", "0.001%", "100.01%", "101%", "-1%", "+1%", "1e1%", ".5%",
            "5.%", "1,5%", "five%", "0005%", "٥%",
        ];
        wrong.iter().for_each(|text| assert!(text.parse::<SampleShare>().is_err(), "{text}"));
    }

    proptest! {
        /// What is picked has the share, and would not have it without the one that was picked last.
        #[test]
        fn a_pick_is_just_large_enough(
            sizes in proptest::collection::vec(1u64..1 << 40, 0..60),
            hundredths_of_percent in 1u16..=10_000,
            seed: u64,
        ) {
            let share = SampleShare { hundredths_of_percent };
            let picked = pick(&sizes, share, &mut StdRng::seed_from_u64(seed));
            let bytes = |picked: &[usize]| picked.iter().map(|index| sizes[*index]).sum::<u64>();
            let all = sizes.iter().sum();
            prop_assert_eq!(picked.is_empty(), sizes.is_empty());
            prop_assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), picked.len());
            prop_assert!(share.is_reached(bytes(&picked), all));
            if let [before @ .., _] = picked.as_slice() {
                prop_assert!(before.is_empty() || !share.is_reached(bytes(before), all));
            }
            prop_assert!(!share.is_whole() || picked.len() == sizes.len());
        }
    }

    #[test]
    fn another_time_other_chunks_are_picked() {
        let sizes = [1; 100];
        let picks: BTreeSet<Vec<usize>> =
            (0..20).map(|seed| pick(&sizes, share("3%"), &mut StdRng::seed_from_u64(seed))).collect();
        assert!(picks.len() > 15 && picks.iter().all(|pick| pick.len() == 3), "{picks:?}");
    }
}
