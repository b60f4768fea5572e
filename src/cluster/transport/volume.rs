//! The volume of a claim as it comes out of a pod.

use super::agent::Agent;
use super::backup::{BackupHandle, BackupStream, ReceivedChunk, StreamEnd, StreamItem};
use super::error::Result;
use crate::agent::protocol::{Request, VolumeDone, VolumeRequest};

/// What comes of a volume, in order.
pub enum VolumeItem {
    /// A chunk of its tar. The agent keeps it until it is called durable.
    Chunk(ReceivedChunk),
    /// Everything was received, and the totals agree. The last item.
    Done(VolumeDone),
}

/// A volume on its way out of the pod. Must be read to [`VolumeItem::Done`], or the agent be attached to anew.
pub struct VolumeStream<'a>(BackupStream<'a>);

impl Agent {
    /// Begins to read the volume.
    ///
    /// # Errors
    /// The link's; what the agent has against it comes with the first item.
    pub async fn read_volume(&mut self, request: VolumeRequest) -> Result<VolumeStream<'_>> {
        self.receive(Request::ReadVolume(request), "reading of a volume").await.map(VolumeStream)
    }
}

impl VolumeStream<'_> {
    /// A handle to acknowledge chunks with.
    pub fn handle(&self) -> BackupHandle {
        self.0.handle()
    }

    /// The next item; `None` after the last.
    ///
    /// # Errors
    /// The agent's, the link's, or that what came is not what was announced. The reading is over then.
    pub async fn next(&mut self) -> Result<Option<VolumeItem>> {
        Ok(match self.0.next_item().await? {
            None => None,
            Some(StreamItem::Chunk(chunk)) => Some(VolumeItem::Chunk(chunk)),
            Some(StreamItem::End(StreamEnd::Volume(done))) => Some(VolumeItem::Done(done)),
            Some(StreamItem::BaseDone(_) | StreamItem::End(StreamEnd::Backup(_))) => return Err(self.0.odd()),
        })
    }
}
