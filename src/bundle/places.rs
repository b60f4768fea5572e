//! Where the members of a bundle lie: found by walking from tar header to tar header, or computed from the manifest,
//! which says name and size of each. Computed places are proved when their bytes are read: every header has one spelling.

use std::sync::Arc;

use crate::store::{StoreError, Stored};

use super::error::BundleFault;
use super::header::Header;
use super::layout::{Member, Order};
use super::manifest::Manifest;
use super::published::PublishedRecord;
use super::tarball::{self, BLOCK};

/// Where a member lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) member: Member,
    /// Where its content begins.
    pub(super) offset: u64,
    /// The length of its content.
    pub(super) bytes: u64,
}

impl Place {
    /// Where its tar header begins.
    pub(super) fn start(&self) -> u64 {
        self.offset - BLOCK
    }

    /// Where its padding ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes + tarball::padding(self.bytes)
    }
}

/// The first member, and the time that all tar headers bear.
pub(super) struct FirstMember {
    pub(super) header: Header,
    pub(super) place: Place,
    pub(super) mtime: u64,
}

/// Reads the first member.
pub(super) fn read_head(stored: &dyn Stored) -> Result<FirstMember, BundleFault> {
    let not_a_bundle = |fault: BundleFault| match fault {
        fault @ BundleFault::Store(_) => fault,
        other => BundleFault::NotABundle(other.to_string()),
    };
    let block = read_block(stored, 0, "at its start").map_err(not_a_bundle)?;
    let (member, bytes, mtime) = tarball::parse(&block, 0, None).map_err(not_a_bundle)?;
    if member != Member::Header {
        return Err(BundleFault::NotABundle(format!("it begins with {member} and not with bundle.json")));
    }
    let place = check_place(stored, member, BLOCK, bytes)?;
    let header = Header::parse(&read(stored, &place)?)?;
    if header.mtime()? != mtime {
        return Err(BundleFault::damaged(Member::Header, "its tar header bears another time than the bundle"));
    }
    Ok(FirstMember { header, place, mtime })
}

/// The members at the end.
pub(super) struct Tail {
    pub(super) manifest: Place,
    pub(super) signature: Option<Place>,
}

/// Walks to the end: all members before the manifest, and the tail.
pub(super) fn walk(stored: &dyn Stored, head: &FirstMember) -> Result<(Vec<Place>, Tail), BundleFault> {
    let mut order = Order::default();
    admit(&mut order, &head.place.member)?;
    let mut places = vec![head.place.clone()];
    let mut offset = head.place.end();
    loop {
        let last = places.last().map(|place| place.member.to_string()).unwrap_or_default();
        let Some(place) = next(stored, offset, head.mtime, &last)? else {
            return Err(BundleFault::Truncated(format!("after {last}")));
        };
        admit(&mut order, &place.member)?;
        if place.member == Member::Manifest {
            return Ok((places, tail(stored, place, head.mtime)?));
        }
        offset = place.end();
        places.push(place);
    }
}

/// The tail of a bundle whose record says where it is; read at once, and kept in memory for what comes next.
pub(super) fn tail_by_record(
    stored: &Arc<dyn Stored>,
    head: &FirstMember,
    record: &PublishedRecord,
) -> Result<(Window, Tail), BundleFault> {
    if record.header != head.header {
        return Err(PublishedRecord::misfit("it has another header than the bundle"));
    }
    if stored.len() < record.bytes {
        return Err(BundleFault::Truncated(format!("at byte {} of {}", stored.len(), record.bytes)));
    }
    let most = Member::Manifest.bytes_limit() + Member::Signature.bytes_limit() + 8 * BLOCK;
    let length = stored.len().checked_sub(record.manifest_at).filter(|length| *length <= most);
    let length = length.ok_or_else(|| PublishedRecord::misfit("the manifest cannot be where it says"))?;
    let mut bytes = vec![0; length as usize];
    stored.read_at(record.manifest_at, &mut bytes).map_err(cut_off)?;
    let window = Window { name: stored.name().to_owned(), len: stored.len(), from: record.manifest_at, bytes };
    match next(&window, record.manifest_at, head.mtime, "the members")? {
        Some(place) if place.member == Member::Manifest => {
            let tail = tail(&window, place, head.mtime)?;
            Ok((window, tail))
        }
        _ => Err(PublishedRecord::misfit("the manifest is not where it says")),
    }
}

/// The signature behind the manifest, if there is one, and the end.
fn tail(stored: &dyn Stored, manifest: Place, mtime: u64) -> Result<Tail, BundleFault> {
    let layout = |member: &Member| BundleFault::Layout {
        member: member.to_string(),
        reason: "it stands in the wrong place".into(),
    };
    match next(stored, manifest.end(), mtime, "manifest.json")? {
        None => {
            check_end(stored, manifest.end())?;
            Ok(Tail { manifest, signature: None })
        }
        Some(place) if place.member == Member::Signature => {
            check_end(stored, place.end())?;
            Ok(Tail { manifest, signature: Some(place) })
        }
        Some(place) => Err(layout(&place.member)),
    }
}

/// Where the members must lie that the manifest lists, up to itself.
pub(super) fn computed(manifest: &Manifest, tail: &Tail) -> Result<Vec<Place>, BundleFault> {
    let mut order = Order::default();
    let mut places: Vec<Place> = Vec::with_capacity(manifest.members.len());
    let mut offset = 0;
    for entry in &manifest.members {
        let member = Member::parse(&entry.name)
            .map_err(|reason| BundleFault::Layout { member: entry.name.clone(), reason: reason.into() })?;
        admit(&mut order, &member)?;
        check_limit(&member, entry.bytes)?;
        let place = Place { member, offset: offset + BLOCK, bytes: entry.bytes };
        offset = place.end();
        places.push(place);
    }
    admit(&mut order, &Member::Manifest)?;
    if offset != tail.manifest.start() {
        let reason = format!("its members end at byte {offset}, and it begins at byte {}", tail.manifest.start());
        return Err(BundleFault::damaged(Member::Manifest, reason));
    }
    Ok(places)
}

/// The content of the member at `place`.
pub(super) fn read(stored: &dyn Stored, place: &Place) -> Result<Vec<u8>, BundleFault> {
    // Whoever made the place has checked its length against the member's limit and the file's length.
    let mut buffer = vec![0; place.bytes as usize];
    stored.read_at(place.offset, &mut buffer).map_err(cut_off)?;
    Ok(buffer)
}

/// Whether `block` is the one header that the member at `place` has.
pub(super) fn check_block(place: &Place, block: &[u8], mtime: u64) -> Result<(), BundleFault> {
    let name = place.member.to_string();
    if block == tarball::header(&name, place.bytes, mtime)? {
        return Ok(());
    }
    Err(BundleFault::damaged(name, "its tar header is not the one that the manifest asks for"))
}

/// Whether the bytes between a member and the next are as they must be.
pub(super) fn check_padding(place: &Place, padding: &[u8]) -> Result<(), BundleFault> {
    if padding.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    Err(BundleFault::damaged(&place.member, "the padding after it is not empty"))
}

/// A file that got shorter while it was read is cut off; every other failure is the store's.
pub(super) fn cut_off(error: StoreError) -> BundleFault {
    match error {
        StoreError::Short { .. } => BundleFault::Truncated("while it is read".into()),
        error => BundleFault::Store(error),
    }
}

fn admit(order: &mut Order, member: &Member) -> Result<(), BundleFault> {
    order.admit(member).map_err(|reason| BundleFault::Layout { member: member.to_string(), reason })
}

/// The member whose tar header is at `offset`; `None` where an empty block stands.
fn next(stored: &dyn Stored, offset: u64, mtime: u64, after: &str) -> Result<Option<Place>, BundleFault> {
    let block = read_block(stored, offset, &format!("after {after}"))?;
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let (member, bytes, _) = tarball::parse(&block, offset, Some(mtime))?;
    check_place(stored, member, offset + BLOCK, bytes).map(Some)
}

/// Whether a member of this length may be there, and is.
fn check_place(stored: &dyn Stored, member: Member, offset: u64, bytes: u64) -> Result<Place, BundleFault> {
    check_limit(&member, bytes)?;
    let place = Place { member, offset, bytes };
    if place.end() > stored.len() {
        return Err(BundleFault::Truncated(format!("in {}", place.member)));
    }
    Ok(place)
}

fn check_limit(member: &Member, bytes: u64) -> Result<(), BundleFault> {
    if bytes <= member.bytes_limit() {
        return Ok(());
    }
    let reason = format!("its {bytes} bytes are more than the {} that it may have", member.bytes_limit());
    Err(BundleFault::Layout { member: member.to_string(), reason })
}

fn read_block(stored: &dyn Stored, offset: u64, at: &str) -> Result<[u8; BLOCK as usize], BundleFault> {
    if offset + BLOCK > stored.len() {
        return Err(BundleFault::Truncated(at.to_owned()));
    }
    let mut block = [0; BLOCK as usize];
    stored.read_at(offset, &mut block).map_err(cut_off)?;
    Ok(block)
}

/// Two empty blocks, and nothing after them.
fn check_end(stored: &dyn Stored, offset: u64) -> Result<(), BundleFault> {
    let end = tarball::END.len() as u64;
    if offset + end > stored.len() {
        return Err(BundleFault::Truncated("in the last two blocks".into()));
    }
    let mut found = tarball::END;
    stored.read_at(offset, &mut found).map_err(cut_off)?;
    if found != tarball::END || offset + end != stored.len() {
        return Err(BundleFault::Layout {
            member: "data after the last member".into(),
            reason: "nothing may follow it".into(),
        });
    }
    Ok(())
}

/// The end of an object, read once.
pub(super) struct Window {
    name: String,
    len: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl Stored for Window {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let from = offset.checked_sub(self.from).map(|from| from as usize);
        let found = from.and_then(|from| self.bytes.get(from..from.checked_add(buffer.len())?));
        let wanted = offset.saturating_add(buffer.len() as u64);
        buffer.copy_from_slice(found.ok_or_else(|| StoreError::Short { object: self.name.clone(), wanted })?);
        Ok(())
    }
}
