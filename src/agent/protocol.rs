//! What the two ends say to each other: JSON in control messages, bytes in the data messages after them.
//!
//! Each request has a number of its own; every reply repeats it, so that an answer to a request that was given up is
//! never taken for another one's.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use super::failure::{Failure, FailureKind};

use crate::filetree::{TreeDifferences, TreeTotals};
use crate::postgres::argv::Connection;
use crate::postgres::basebackup::WalEnd;
use crate::postgres::{ControlData, Lsn};

/// A request or reply with the number of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The request's number, from 1.
    pub id: u64,
    pub body: T,
}

/// What the client asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// What the pod and its volume look like. Answer: `Facts`.
    Facts,
    /// Streams may come straight to the pod. Answer: `Listening`.
    Listen {
        /// The pod's own address.
        address: IpAddr,
        /// SHA-256 of the one public key that may come.
        key: Digest,
    },
    /// So many bytes follow, and are wanted back: at most [`ECHO_LIMIT`]. Answer: `Echoed`, then the same bytes.
    Echo { bytes: u64 },
    /// A base backup with the WAL that belongs to it. Answers: `Log`, `Chunk`, `BaseDone`, `BackupDone`, a trailer.
    Backup(Box<BackupRequest>),
    /// During a backup: no more WAL is handed over until `StopWal` says where it ends. No answer but the
    /// acknowledgement, which comes when it is so.
    HoldWal,
    /// During a backup: where its WAL ends. No answer of its own.
    StopWal {
        /// Nothing past this is wanted.
        until: Lsn,
    },
    /// Begins a stage. Answer: `StageReady`.
    Stage(StageRequest),
    /// The stage that was begun is to be filled: chunks follow. Answer, after the trailer: `StageDone`.
    StageFill,
    /// During a stage: a zstd frame of one chunk follows as data.
    StageChunk(StageChunkHead),
    /// The stage has been sent whole; a trailer follows.
    StageEnd,
    /// All that is in the volume of a claim. Answers: `Chunk`, `VolumeDone`, a trailer.
    ReadVolume(VolumeRequest),
    /// What is in the volume of a claim is replaced: chunks follow, as for a stage. Answer, after the trailer: `VolumeFilled`.
    FillVolume,
    /// Puts the stage in the place of the data directory. Answer: `Swapped`.
    Swap(SwapRequest),
    /// Undoes a swap. Answer: `Undone`.
    PutBack,
    /// Ends the agent. Answer: `Finished`, a trailer.
    Finish,
}

/// What the agent answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To `Facts`.
    Facts(Box<PodFacts>),
    /// To `Listen`.
    Listening {
        port: u16,
        /// SHA-256 of the agent's public key.
        key: Digest,
    },
    /// To `Echo`.
    Echoed,
    /// A line of a program in the pod.
    Log { source: String, line: String },
    /// One sealed chunk; its bytes follow as data.
    Chunk(ChunkHead),
    /// The base backup is whole and checked; WAL goes on.
    BaseDone(BaseDone),
    /// Everything is sent.
    BackupDone(Box<BackupDone>),
    /// To `Stage`.
    StageReady {
        /// What need not be sent, of each tar that has something there.
        kept: Vec<KeptChunks>,
    },
    /// To `StageFill`: everything is on disk and checked.
    StageDone(StageReport),
    /// To `ReadVolume`: everything is sent.
    VolumeDone(VolumeDone),
    /// To `FillVolume`: everything is on disk and was read back.
    VolumeFilled(VolumeFilled),
    /// To `Swap`.
    Swapped(SwapReport),
    /// To `PutBack`.
    Undone {
        /// Whether there was anything to undo.
        moved: bool,
    },
    /// To `Finish`.
    Finished,
    /// To any request: it failed, and is over.
    Failed(Failure),
}

/// Which part of a backup a chunk is a piece of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupPart {
    /// `base.tar`: the data directory without WAL, PostgreSQL's manifest at its end.
    Base,
    /// `pg_wal.tar`: whole WAL segments and timeline histories, in order.
    Wal,
    /// PostgreSQL's `backup_manifest` by itself: one chunk, not compressed.
    Manifest,
    /// The tar of a volume that is not the database's.
    Volume,
}

impl BackupPart {
    /// How many there are.
    pub const COUNT: usize = 4;
}

impl fmt::Display for BackupPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Wal => "wal",
            Self::Manifest => "manifest",
            Self::Volume => "volume",
        })
    }
}

/// A SHA-256, as hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl TryFrom<String> for Digest {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        hex::encode(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is said of a chunk before its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkHead {
    pub part: BackupPart,
    /// Its place in the part, from 0.
    pub index: u32,
    /// How many bytes follow.
    pub stored_bytes: u64,
    /// Their SHA-256.
    pub stored_sha256: Digest,
    /// How many bytes of the part it holds.
    pub raw_bytes: u64,
    /// The SHA-256 of those.
    pub raw_sha256: Digest,
}

/// What is said of a chunk to be staged before its zstd frame. The frame needs no digest of its own: what it holds is
/// held against that of the signed manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageChunkHead {
    /// Which of the two tars it is of.
    pub part: BackupPart,
    /// Its place in the tar, from 0.
    pub index: u32,
    /// How many bytes follow.
    pub frame_bytes: u64,
    /// How many bytes of the tar it holds.
    pub raw_bytes: u64,
    /// The SHA-256 of those.
    pub raw_sha256: Digest,
}

/// A base backup to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupRequest {
    pub connection: Connection,
    /// Whom to seal to: `age1...` texts. The pod holds public keys only.
    pub recipients: Vec<String>,
    /// The most raw bytes in a chunk; within [`CHUNK_BOUNDS`].
    pub chunk_bytes: u64,
    /// How many bytes the store may hold back before they are durable: as many more stay with the sender. At most
    /// [`HELD_BACK_LIMIT`].
    #[serde(default)]
    pub held_back_bytes: u64,
    /// zstd's level, 1 to 19; `None` for as much as there is time for.
    pub zstd_level: Option<i32>,
    /// A bound for PostgreSQL's reading, as `pg_basebackup --max-rate` takes it: `100M`.
    pub max_rate: Option<String>,
    /// The label inside the backup.
    pub label: String,
    /// How long to wait for the last segment once its end is known, in seconds.
    pub wal_wait_seconds: u64,
    /// Whether the server is to keep WAL for the backup, by a temporary replication slot.
    #[serde(default)]
    pub keep_wal: bool,
    /// Where sealed WAL may wait.
    #[serde(default)]
    pub wal_room: WalRoom,
}

/// A volume to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeRequest {
    /// Whom to seal to: `age1...` texts.
    pub recipients: Vec<String>,
    /// The most raw bytes in a chunk; within [`CHUNK_BOUNDS`].
    pub chunk_bytes: u64,
    /// As of a [`BackupRequest`].
    pub held_back_bytes: u64,
    /// zstd's level, 1 to 19; `None` for as much as there is time for.
    pub zstd_level: Option<i32>,
}

/// All of a volume is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDone {
    pub totals: TreeTotals,
    /// The tar.
    pub sent: PartTotals,
}

/// What is on a volume now, each file read back and held against the tar's own listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFilled {
    pub totals: TreeTotals,
    pub differences: TreeDifferences,
}

/// How much sealed WAL may wait to be sent, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalRoom {
    /// In the agent's memory.
    pub memory_bytes: u64,
    /// On the pod's disk after that.
    pub disk_bytes: u64,
}

/// How the failure of a backup begins whose WAL the server had removed. The next one finds it in the journal.
pub const WAL_REMOVED: &str = "the server has removed WAL segment";

/// The least and most that a request may ask for: a few chunks must fit into the stream's window.
pub const CHUNK_BOUNDS: (u64, u64) = (64 << 10, 40 << 20);

/// The most bytes of an echo.
pub const ECHO_LIMIT: u64 = 1 << 20;

/// The most that a store may hold back: it lies in the helper pod's memory.
pub const HELD_BACK_LIMIT: u64 = 256 << 20;

/// What was sent of one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTotals {
    pub chunks: u32,
    /// Bytes of the part.
    pub raw_bytes: u64,
    /// Bytes of all its chunks as sent.
    pub stored_bytes: u64,
}

impl PartTotals {
    /// Counts one chunk.
    pub fn add(&mut self, head: &ChunkHead) {
        self.chunks += 1;
        self.raw_bytes += head.raw_bytes;
        self.stored_bytes += head.stored_bytes;
    }
}

/// The base backup is whole and every file in it is as PostgreSQL's manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseDone {
    /// Where recovery begins.
    pub start: Lsn,
    /// What recovery must reach to be consistent.
    pub end: Lsn,
    pub timeline: u32,
    /// The database's identity, from the control file in the backup.
    pub system_identifier: u64,
    /// Files that were compared with the manifest.
    pub files: u64,
}

/// All is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDone {
    /// The base backup.
    pub base: BaseDone,
    /// WAL is there up to here and no further: what was asked for, or the base backup's end when that is later.
    pub wal_until: Lsn,
    /// The first WAL segment sent.
    pub first_segment: String,
    pub last_segment: String,
    /// The size of a segment in bytes.
    pub wal_segment_bytes: u64,
    /// The server's `server_version_num`, such as 150018.
    pub server_version: u32,
    /// The tar of the data directory.
    pub base_totals: PartTotals,
    /// The tar of the WAL.
    pub wal_totals: PartTotals,
    /// PostgreSQL's manifest.
    pub manifest_totals: PartTotals,
}

/// A stage to be filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// The identity that the data must have.
    pub system_identifier: u64,
    /// Where the WAL ends.
    pub wal_end: WalEnd,
    /// The size of a segment in bytes.
    pub wal_segment_bytes: u64,
    /// Nothing that an earlier attempt of the run has left is to be kept.
    pub fresh: bool,
}

/// Chunks that an earlier attempt has written, from the first of their tar on. They were read off the volume just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptChunks {
    pub part: BackupPart,
    pub chunks: u32,
    /// SHA-256 over the digests of what they hold, one after the other.
    pub sha256: Digest,
}

/// What is on disk beside the data directory, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReport {
    /// Files that were compared with PostgreSQL's manifest.
    pub files: u64,
    /// Bytes in all files.
    pub bytes: u64,
    /// Bytes of the two tars that were there already, and were not sent.
    #[serde(default)]
    pub kept_bytes: u64,
    /// The identity found in the control file.
    pub system_identifier: u64,
    pub timeline: u32,
    /// Where recovery will begin.
    pub start: Lsn,
    /// WAL is there up to the end of this segment.
    pub last_segment: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapRequest {
    /// The caller has seen that no other pod mounts the volume: a `postmaster.pid` that is left over from a crash is
    /// then no obstacle. Without it, any `postmaster.pid` is.
    pub nothing_else_mounts: bool,
}

/// The stage is the data directory now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapReport {
    /// Where the old data directory is kept; `None` when there was none.
    pub kept: Option<String>,
    /// Whether an earlier, interrupted swap had begun.
    pub resumed: bool,
    /// What `pg_controldata` says of the data directory now.
    pub control: ControlData,
}

/// What the pod and its volume look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFacts {
    /// The user that the agent runs as.
    pub uid: u32,
    pub gid: u32,
    /// The agent's own version.
    pub agent_version: String,
    /// The major version of the PostgreSQL programs in the image.
    pub postgres_major: Option<u32>,
    /// The data volume; `None` when the pod has no such folder.
    pub volume: Option<VolumeFacts>,
    /// Why the pod's watchdog cannot act, where it is one and cannot.
    #[serde(default)]
    pub watchdog_fails: Option<String>,
}

/// A data volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFacts {
    pub mount: String,
    pub size_bytes: u64,
    /// What is free for this user.
    pub free_bytes: u64,
    /// Whether there is a data directory with something in it.
    pub pgdata: bool,
    /// Whether there is a `postmaster.pid` in it.
    pub postmaster_pid: bool,
    /// The control file of the data directory, if it can be read.
    pub control: Option<ControlData>,
    /// Folders and files beside it that runs of `dr` have left, or the operator has set aside.
    pub beside: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way_through_json() {
        let request = Request::StopWal { until: Lsn(0x1_0000_0028) };
        let json = serde_json::to_string(&Envelope { id: 7, body: request }).unwrap();
        assert_eq!(json, r#"{"id":7,"body":{"request":"stop-wal","until":"1/28"}}"#);
        let back: Envelope<Request> = serde_json::from_str(&json).unwrap();
        assert!(matches!(back.body, Request::StopWal { until: Lsn(0x1_0000_0028) }));
        assert!(serde_json::from_str::<Digest>("\"00\"").is_err());
        let digest = Digest([0xab; 32]);
        assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }
}
