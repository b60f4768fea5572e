//! Writes the two tars of a backup into the stage, checking as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{damaged, segments_needed};
use crate::agent::backup;
use crate::agent::protocol::{Failure, FailureKind, StageReport, StageRequest, Stream};
use crate::agent::swap::HELD_BACK;
use crate::agent::tarball::{Entry, Reader, Sink};
use crate::postgres::manifest::{self, File as Listed};
use crate::postgres::{Manifest, Segment, control, wal};

/// Makes one folder as PostgreSQL wants it: for its owner only.
///
/// # Errors
/// When the volume refuses.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().mode(0o700).create(path).map_err(Failure::io(format!("make {}", path.display())))
}

/// Both tars on their way onto the volume.
pub struct Unpack {
    base: Reader,
    wal: Reader,
    files: Files,
    request: StageRequest,
    /// PostgreSQL's manifest, when it was sent ahead.
    ahead: Option<Vec<u8>>,
}

/// The files of the stage.
struct Files {
    root: PathBuf,
    folders: BTreeSet<String>,
    seen: BTreeMap<String, Listed>,
    /// The file that is open in each of the two tars: their chunks may alternate.
    open: [Option<Current>; 2],
    wal: bool,
    segments: BTreeSet<u64>,
    bytes: u64,
    manifest: Option<Vec<u8>>,
    control: Option<Vec<u8>>,
    system_identifier: u64,
    segment_bytes: u64,
}

struct Current {
    path: String,
    file: File,
    size: u64,
    crc32c: u32,
    keep: Option<Vec<u8>>,
    /// The WAL segment that it is, and its first bytes.
    segment: Option<(Segment, Vec<u8>)>,
}

/// How many bytes of a WAL segment are looked at: its long page header.
const WAL_HEAD: usize = 40;

impl Unpack {
    /// Writes below `root`, an empty folder.
    pub fn new(root: &Path, request: StageRequest) -> Self {
        let files = Files {
            root: root.to_owned(),
            folders: BTreeSet::new(),
            seen: BTreeMap::new(),
            open: [None, None],
            wal: false,
            segments: BTreeSet::new(),
            bytes: 0,
            manifest: None,
            control: None,
            system_identifier: request.system_identifier,
            segment_bytes: request.wal_segment_bytes,
        };
        Self { base: Reader::new("base.tar"), wal: Reader::new("pg_wal.tar"), files, request, ahead: None }
    }

    /// Takes the next bytes of one stream. The streams may alternate.
    ///
    /// # Errors
    /// What is wrong with them, or with the volume.
    pub fn push(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
        match stream {
            Stream::Manifest => {
                self.ahead = Some(bytes.to_vec());
                Ok(())
            }
            Stream::Base => {
                self.files.wal = false;
                self.base.push(bytes, &mut self.files)
            }
            Stream::Wal => {
                self.files.wal = true;
                self.wal.push(bytes, &mut self.files)
            }
        }
    }

    /// Checks the whole: both tars complete, every file as PostgreSQL's manifest says, WAL without a gap.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn finish(self) -> Result<StageReport, Failure> {
        self.base.finish()?;
        self.wal.finish()?;
        let files = self.files;
        let text = files.manifest.ok_or_else(|| damaged("base.tar holds no backup_manifest".into()))?;
        if self.ahead.is_some_and(|ahead| ahead != text) {
            return Err(damaged("the backup_manifest in base.tar is not the one beside it".into()));
        }
        let manifest = Manifest::parse(&text).map_err(|error| damaged(error.to_string()))?;
        backup::compare(&manifest, &files.seen)?;
        let found = files
            .control
            .as_deref()
            .and_then(control::system_identifier)
            .ok_or_else(|| damaged(format!("base.tar holds no {}", control::NAME)))?;
        if found != files.system_identifier {
            let message = format!("the data is of database {found}, not {}", files.system_identifier);
            return Err(Failure::new(FailureKind::Identity, message));
        }
        if self.request.wal_until < manifest.end {
            let message =
                format!("WAL up to {} is wanted, the base backup needs {}", self.request.wal_until, manifest.end);
            return Err(Failure::new(FailureKind::Request, message));
        }
        let (first, last) = segments_needed(&self.request, manifest.start, manifest.timeline)?;
        if let Some(missing) = (first.number..=last.number).find(|number| !files.segments.contains(number)) {
            let missing = Segment { number: missing, ..first };
            return Err(Failure::new(FailureKind::Wal, format!("WAL segment {missing} is missing from pg_wal.tar")));
        }
        Ok(StageReport {
            files: manifest.files.len() as u64,
            bytes: files.bytes,
            system_identifier: found,
            timeline: manifest.timeline,
            start: manifest.start,
            last_segment: last.to_string(),
            wal_read: false,
        })
    }
}

impl Files {
    fn make_folders(&mut self, path: &str) -> Result<(), Failure> {
        if path.is_empty() || self.folders.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_folders(parent)?;
        }
        make_folder(&self.root.join(path))?;
        self.folders.insert(path.to_owned());
        Ok(())
    }

    /// Which segment a file of `pg_wal.tar` is; `None` for a timeline's history.
    fn segment(&self, name: &str, bytes: u64) -> Result<Option<Segment>, Failure> {
        if wal::is_history(name) {
            return Ok(None);
        }
        match Segment::from_name(name, self.segment_bytes) {
            Some(segment) if bytes == self.segment_bytes => Ok(Some(segment)),
            Some(_) => Err(damaged(format!("WAL segment {name} has {bytes} bytes, not {}", self.segment_bytes))),
            None => Err(damaged(format!("pg_wal.tar holds {name}, which is no WAL"))),
        }
    }
}

impl Sink for Files {
    fn begin(&mut self, entry: &Entry) -> Result<(), Failure> {
        let path = if self.wal { format!("pg_wal/{}", entry.path) } else { entry.path.clone() };
        if entry.folder && !self.wal {
            return self.make_folders(&path);
        }
        // A backup without WAL has no file there; whatever else came that way would escape every check.
        if !self.wal && path.starts_with("pg_wal/") {
            return Err(damaged(format!("base.tar holds {path}, which belongs into pg_wal.tar")));
        }
        if !self.wal && path.starts_with("pg_tblspc/") {
            return Err(Failure::new(
                FailureKind::Tablespaces,
                format!("{path}: the backup has a tablespace of its own"),
            ));
        }
        let segment = if self.wal { self.segment(&entry.path, entry.bytes)? } else { None };
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.make_folders(parent)?;
        }
        let name = if path == control::NAME { HELD_BACK } else { path.as_str() };
        let on_disk = self.root.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&on_disk)
            .map_err(Failure::io(format!("make {}", on_disk.display())))?;
        let keep = (path == manifest::NAME || path == control::NAME).then(Vec::new);
        let segment = segment.map(|segment| (segment, Vec::with_capacity(WAL_HEAD)));
        self.open[usize::from(self.wal)] = Some(Current { path, file, size: 0, crc32c: 0, keep, segment });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(current) = &mut self.open[usize::from(self.wal)] else { return Ok(()) };
        current.file.write_all(bytes).map_err(Failure::io(format!("write {}", current.path)))?;
        current.size += bytes.len() as u64;
        if let Some(keep) = &mut current.keep {
            keep.extend_from_slice(bytes);
        }
        match &mut current.segment {
            Some((_, head)) => {
                let room = WAL_HEAD - head.len();
                head.extend_from_slice(&bytes[..room.min(bytes.len())]);
            }
            None => current.crc32c = crc32c::crc32c_append(current.crc32c, bytes),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(current) = self.open[usize::from(self.wal)].take() else { return Ok(()) };
        self.bytes += current.size;
        if let Some((segment, head)) = current.segment {
            segment.check_header(&head, self.system_identifier).map_err(|error| damaged(error.to_string()))?;
            self.segments.insert(segment.number);
            return Ok(());
        }
        match current.keep {
            Some(keep) if current.path == manifest::NAME => self.manifest = Some(keep),
            Some(keep) => self.control = Some(keep),
            None => {}
        }
        if current.path != manifest::NAME && !current.path.starts_with("pg_wal/") {
            self.seen.insert(current.path, Listed { size: current.size, crc32c: current.crc32c });
        }
        Ok(())
    }
}
