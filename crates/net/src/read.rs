//! Frames out of a byte stream.
//!
//! The one idea: a length that a peer announces is a wish. The buffer grows with the bytes that really
//! arrive, by at most one step beyond them.

use futures::io::{AsyncRead, AsyncReadExt};

use crate::{
    CloseReason,
    frame::{HEADER_BYTES_MAX, Header, header},
    limit::READ_STEP_BYTES,
};

/// Bytes read ahead, so that small frames do not cost a call each.
const AHEAD_BYTES: usize = 8 * 1024;

/// Reads frames, a header and a body in turn.
pub(crate) struct FrameReader<R> {
    half: R,
    ahead: Box<[u8]>,
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(half: R) -> FrameReader<R> {
        FrameReader { half, ahead: vec![0; AHEAD_BYTES].into_boxed_slice(), start: 0, end: 0 }
    }

    /// The length of the next frame.
    ///
    /// # Errors
    /// [`CloseReason::Remote`] where the stream ends between two frames, [`CloseReason::Broken`] inside one,
    /// [`CloseReason::Malformed`] and [`CloseReason::FrameTooLong`].
    pub(crate) async fn header(&mut self, max: usize) -> Result<usize, CloseReason> {
        loop {
            if let Some(Header { length, used }) = header(&self.ahead[self.start..self.end], max)? {
                self.start += used;
                return Ok(length);
            }
            if self.fill().await? == 0 {
                let is_between = self.start == self.end;
                return Err(if is_between { CloseReason::Remote } else { ended_early() });
            }
        }
    }

    /// The body of a frame of that length.
    ///
    /// # Errors
    /// [`CloseReason::Broken`].
    pub(crate) async fn body(&mut self, length: usize) -> Result<Vec<u8>, CloseReason> {
        let at_hand = length.min(self.end - self.start);
        let mut frame = Vec::with_capacity(length.min(READ_STEP_BYTES));
        frame.extend_from_slice(&self.ahead[self.start..self.start + at_hand]);
        self.start += at_hand;
        while frame.len() < length {
            let filled = frame.len();
            frame.resize(length.min(filled + READ_STEP_BYTES), 0);
            let count = self.half.read(&mut frame[filled..]).await.map_err(broken)?;
            if count == 0 {
                return Err(ended_early());
            }
            frame.truncate(filled + count);
        }
        Ok(frame)
    }

    /// Reads and forgets until the other side has closed.
    pub(crate) async fn drain(&mut self) {
        self.start = 0;
        self.end = 0;
        while matches!(self.half.read(&mut self.ahead).await, Ok(count) if count > 0) {}
    }

    /// Reads more ahead; called only while less than a header is there.
    async fn fill(&mut self) -> Result<usize, CloseReason> {
        if self.ahead.len() - self.end < HEADER_BYTES_MAX {
            self.ahead.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let count = self.half.read(&mut self.ahead[self.end..]).await.map_err(broken)?;
        self.end += count;
        Ok(count)
    }
}

pub(crate) fn broken(error: std::io::Error) -> CloseReason {
    CloseReason::Broken(error.to_string())
}

fn ended_early() -> CloseReason {
    CloseReason::Broken("it ended in the middle of a frame".to_owned())
}

#[cfg(test)]
mod tests;
