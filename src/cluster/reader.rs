//! A volume of somebody else's, read by a pod that can write nothing.
//!
//! Exec may lose the end of what a program wrote and still say 0, above all where the reader is slow. So a file is read in
//! pieces, each of which has to be as long as it was asked for, and is asked for again where it is not.

use std::io::{self, Read};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::error::{ClusterError, Result};
use super::exec::last_words;
use super::kube::Cluster;
use super::placement::PodPlacement;
use super::pod::{self, CONTAINER, HelperPod, PodError};

const TEMPLATE: &str = include_str!("../../templates/reader-pod.yaml");
/// Where the volume is in the pod.
const ROOT: &str = "/backups";
/// What the programs in it may use.
const MEMORY_MIB: f64 = 128.0;
/// So much is read at a time.
const PIECE: u64 = 16 << 20;
/// How long one piece, or a list of the files, may take.
const PIECE_LIMIT: Duration = Duration::from_secs(120);
/// How often one piece is asked for.
const TRIES: usize = 3;
/// What a list of files ends with.
const END: &[u8] = b"end\0";
/// The same of one that find has not finished.
const SOME: &[u8] = b"some\0";

/// A pod that a volume can be read in.
#[derive(Debug, Clone, PartialEq)]
pub struct ReaderPod {
    /// What every helper pod has.
    pub pod: HelperPod,
    /// The claim of the volume.
    pub claim: String,
}

impl ReaderPod {
    /// The manifest.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn manifest(&self) -> std::result::Result<Pod, PodError> {
        let mut values = self.pod.values(&self.pod.claims(0.0, 0.0, MEMORY_MIB * super::podrules::MIB));
        values.insert("claim", json!(self.claim));
        Ok(self.pod.site.applied_to(pod::filled("reader-pod.yaml", TEMPLATE, &values)?))
    }
}

/// A file of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// Below the volume's root.
    pub path: String,
    pub bytes: u64,
    pub written: Timestamp,
}

/// What is in a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFiles {
    pub files: Vec<VolumeFile>,
    /// What could not be listed: files with odd names, folders that may not be looked into.
    pub unlisted: Vec<String>,
}

/// A CronJob, as far as its pods are told of.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduledJob {
    pub schedule: String,
    pub suspended: bool,
    pub last_success: Option<Timestamp>,
    /// The image of its first container.
    pub image: Option<String>,
    pub placement: PodPlacement,
}

impl Cluster {
    /// The CronJob of the name, where there is one.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn scheduled_job(&self, name: &str) -> Result<Option<ScheduledJob>> {
        let Some(job) = self.here::<CronJob>().get_opt(name).await? else { return Ok(None) };
        let last = job.status.and_then(|status| status.last_successful_time).map(|time| time.0);
        let Some(spec) = job.spec else { return Ok(None) };
        let pod = spec.job_template.spec.and_then(|job| job.template.spec);
        let image = pod.as_ref().and_then(|pod| pod.containers.first()?.image.clone());
        Ok(Some(ScheduledJob {
            schedule: spec.schedule,
            suspended: spec.suspend.unwrap_or_default(),
            last_success: last,
            image,
            placement: PodPlacement::of_pod(&Pod { spec: pod, ..Pod::default() }),
        }))
    }

    /// All files of the volume that `pod` reads; what could not be listed takes nothing else along.
    ///
    /// # Errors
    /// The pod cannot be asked, or does not tell all of what was found.
    pub async fn volume_files(&self, pod: &str) -> Result<VolumeFiles> {
        let script = format!(
            "kill -USR1 1; find {ROOT} -mindepth 1 -name lost+found -prune -o -type f -printf '%s %T@ %P\\0' && printf 'end\\0' || printf 'some\\0'"
        );
        let said = self.exec(pod, CONTAINER, &["/bin/sh", "-c", &script], None, PIECE_LIMIT).await?;
        listed(&said.stdout, &said.stderr).ok_or_else(|| ClusterError::Session {
            pod: pod.to_owned(),
            command: "find".into(),
            cause: "the list of files has no end".into(),
        })
    }

    /// Begins to read a file of the volume that `pod` reads.
    pub fn volume_file(&self, runtime: &Handle, pod: &str, file: &VolumeFile) -> VolumeReader {
        let place = PieceOf { cluster: self.clone(), pod: pod.to_owned(), file: file.clone() };
        let mut reader =
            VolumeReader { place, runtime: runtime.clone(), asked: 0, piece: Vec::new(), at: 0, next: None };
        reader.ask();
        reader
    }
}

/// What a list of files says, with find's own `complaints`; nothing where its end was lost, or a line is none.
fn listed(said: &[u8], complaints: &str) -> Option<VolumeFiles> {
    let (lines, is_whole) = match said.strip_suffix(END) {
        Some(lines) => (lines, true),
        None => (said.strip_suffix(SOME)?, false),
    };
    let mut found = VolumeFiles::default();
    if !is_whole {
        let words = last_words(complaints);
        found.unlisted.push(if words.is_empty() { "a part of it, find does not say which".to_owned() } else { words });
    }
    let file = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.splitn(3, ' ');
        let (bytes, written, path) = (fields.next()?, fields.next()?, fields.next()?);
        let seconds = written.split('.').next()?.parse().ok()?;
        Some(VolumeFile {
            path: path.to_owned(),
            bytes: bytes.parse().ok()?,
            written: Timestamp::from_second(seconds).ok()?,
        })
    };
    for line in lines.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        match std::str::from_utf8(line) {
            Ok(_) => found.files.push(file(line)?),
            // No argument of a program in the pod could name it.
            Err(_) => {
                let text = String::from_utf8_lossy(line);
                let path = text.splitn(3, ' ').last().unwrap_or_default();
                found.unlisted.push(format!("{path:?}: its name is no UTF-8"));
            }
        }
    }
    Some(found)
}

/// A file of a volume, read to its end: as long as it was when it was listed, or an error.
///
/// It blocks, so it is not for a task of the runtime that has not said so.
pub struct VolumeReader {
    place: PieceOf,
    runtime: Handle,
    /// Up to where pieces were asked for.
    asked: u64,
    piece: Vec<u8>,
    /// How much of the piece was given out.
    at: usize,
    /// The next one, on its way.
    next: Option<AbortOnDropHandle<Result<Vec<u8>>>>,
}

impl VolumeReader {
    /// Asks for the next piece, where there is one.
    fn ask(&mut self) {
        let (from, length) = (self.asked, PIECE.min(self.place.file.bytes - self.asked));
        self.asked += length;
        let place = self.place.clone();
        self.next = (length > 0)
            .then(|| AbortOnDropHandle::new(self.runtime.spawn(async move { place.piece(from, length).await })));
    }
}

impl Read for VolumeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(next) = self.next.take() else { return Ok(0) };
            self.piece = self.runtime.block_on(next).map_err(io::Error::other)?.map_err(io::Error::other)?;
            self.at = 0;
            self.ask();
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[derive(Clone)]
struct PieceOf {
    cluster: Cluster,
    pod: String,
    file: VolumeFile,
}

impl PieceOf {
    async fn piece(&self, from: u64, length: u64) -> Result<Vec<u8>> {
        let [input, skip, count] =
            [format!("if={ROOT}/{}", self.file.path), format!("skip={from}"), format!("count={length}")];
        // The pod ends itself when nobody has asked for a while. Names go in as arguments, which no shell reads.
        let script = "kill -USR1 1; exec dd \"$@\" bs=256K iflag=skip_bytes,count_bytes,fullblock status=none";
        let command = ["/bin/sh", "-c", script, "dd", &input, &skip, &count];
        let mut tries = 1;
        loop {
            let cause = match self.cluster.exec_ok(&self.pod, CONTAINER, &command, None, PIECE_LIMIT).await {
                Ok(bytes) if bytes.len() as u64 == length => return Ok(bytes),
                Ok(bytes) => ClusterError::Session {
                    pod: self.pod.clone(),
                    command: "dd".into(),
                    cause: format!("{} of {length} bytes of {} from {from} came", bytes.len(), self.file.path),
                },
                Err(error @ (ClusterError::Session { .. } | ClusterError::Timeout { .. })) => error,
                Err(error) => return Err(error),
            };
            if tries == TRIES {
                return Err(cause);
            }
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_files_without_its_end_is_none() {
        let whole = b"12 1766000000.5000000000 periodic/a b/base.tar.gz\x003 1766000001.0 x\n\0end\0";
        let files = listed(whole, "").unwrap().files;
        assert_eq!((files[0].path.as_str(), files[0].bytes), ("periodic/a b/base.tar.gz", 12));
        assert_eq!((files[1].path.as_str(), files[1].written.as_second()), ("x\n", 1_766_000_001));
        assert_eq!(listed(b"end\0", ""), Some(VolumeFiles::default()));
        for bad in [&whole[..whole.len() - 4], &whole[..20], b"", b"x y z\0end\0", b"1 2.0\0end\0"] {
            assert_eq!(listed(bad, ""), None, "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_be_listed_is_named_and_hides_nothing_else() {
        let some = b"12 1.0 periodic/a/base.tar.gz\x003 1.0 periodic/\xff\0some\0";
        let found = listed(some, "find: '/backups/private': Permission denied\n").unwrap();
        assert_eq!(found.files.len(), 1);
        assert_eq!(found.unlisted[0], "find: '/backups/private': Permission denied");
        assert!(found.unlisted[1].contains("periodic/") && found.unlisted[1].contains("no UTF-8"), "{found:?}");
    }

    #[test]
    fn the_pod_can_write_nothing_and_knows_no_secret() {
        let pod = ReaderPod { pod: super::super::pod::testing::helper(), claim: "opschain-db-backup".into() };
        let spec = pod.manifest().unwrap().spec.unwrap();
        let volumes = serde_json::to_value(&spec.volumes).unwrap();
        let claim = json!({"claimName": "opschain-db-backup", "readOnly": true});
        assert_eq!(volumes, json!([{"name": "backups", "persistentVolumeClaim": claim}]));
        let mounts = spec.containers[0].volume_mounts.as_ref().unwrap();
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)));
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.security_context.unwrap().run_as_user, Some(26));
    }
}
