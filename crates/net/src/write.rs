//! Frames into a byte stream.
//!
//! The one idea: what is half written is kept here, not in a future, so that a writer that is interrupted by
//! a close goes on with the next byte.

use futures::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::{
    CloseReason,
    limit::WRITE_BLOCK_BYTES,
    read::broken,
    stream::{Net, Stream},
    task::millis,
};

/// Writes the frames of a stream's queue.
pub(crate) struct FrameWriter<W> {
    half: W,
    block: Vec<u8>,
    written: usize,
    cost: usize,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(half: W) -> FrameWriter<W> {
        FrameWriter { half, block: Vec::new(), written: 0, cost: 0 }
    }

    /// Writes what is queued, for ever; returns only where the stream breaks.
    pub(crate) async fn run(&mut self, net: &Net, stream: &Stream) -> CloseReason {
        loop {
            if let Err(why) = self.empty(net, stream).await {
                return why;
            }
            stream.has_frames.notified().await;
        }
    }

    /// Writes what is still queued and closes our half.
    pub(crate) async fn finish(&mut self, net: &Net, stream: &Stream) -> Result<(), CloseReason> {
        self.empty(net, stream).await?;
        self.half.close().await.map_err(broken)
    }

    async fn empty(&mut self, net: &Net, stream: &Stream) -> Result<(), CloseReason> {
        loop {
            while self.written < self.block.len() {
                let time_max = net.limits.frame_time;
                let writing = timeout(time_max, self.half.write(&self.block[self.written..]));
                // Queued bytes are taken from everybody's room; one who never reads can not keep them.
                let count = writing.await.map_err(|_| CloseReason::Slow(millis(time_max)))?.map_err(broken)?;
                if count == 0 {
                    return Err(CloseReason::Broken("it takes no more bytes".to_owned()));
                }
                self.written += count;
            }
            self.give_back(net, stream);
            self.cost = stream.gather(&mut self.block);
            if self.block.is_empty() {
                return self.half.flush().await.map_err(broken);
            }
        }
    }

    fn give_back(&mut self, net: &Net, stream: &Stream) {
        self.block.clear();
        // A long frame must not leave its length behind on each of hundreds of streams.
        self.block.shrink_to(WRITE_BLOCK_BYTES);
        self.written = 0;
        if self.cost > 0 {
            net.wrote(stream, std::mem::take(&mut self.cost));
        }
    }
}
