//! The length before a frame: an unsigned LEB128 varint in its shortest form.
//!
//! One length, one spelling: a padded varint is refused, so that two readers never disagree on where a frame
//! begins. It knows nothing of streams; it is fed bytes and says what they mean.

use crate::CloseReason;

/// Bytes that a length can take: below 2^35, far above any limit on it.
pub(crate) const HEADER_BYTES_MAX: usize = 5;

/// A complete length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the frame that follows.
    pub(crate) length: usize,
    /// Bytes of the header itself.
    pub(crate) used: usize,
}

/// Reads a length from the front of `bytes`; `None` where more bytes are needed.
///
/// # Errors
/// [`CloseReason::Malformed`] and [`CloseReason::FrameTooLong`].
pub(crate) fn header(bytes: &[u8], max: usize) -> Result<Option<Header>, CloseReason> {
    let mut claimed = 0u64;
    for (at, &byte) in bytes.iter().take(HEADER_BYTES_MAX).enumerate() {
        claimed |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 != 0 {
            continue;
        }
        if byte == 0 && at > 0 {
            return Err(CloseReason::Malformed);
        }
        return match usize::try_from(claimed) {
            Ok(length) if length <= max => Ok(Some(Header { length, used: at + 1 })),
            _ => Err(CloseReason::FrameTooLong { claimed, max }),
        };
    }
    if bytes.len() >= HEADER_BYTES_MAX { Err(CloseReason::Malformed) } else { Ok(None) }
}

/// Appends the length of a frame.
pub(crate) fn put_header(length: usize, out: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests;
