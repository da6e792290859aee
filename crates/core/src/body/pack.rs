//! Packing a raw body for storage: codec byte, raw length, payload.

use crate::codec::{Malformed, Reader, Write};
use crate::limit;

const RAW: u8 = 0;
const LZ4: u8 = 1;

/// Below this a body is stored as it is: LZ4 gains nothing on so little.
const PACK_BYTES_MIN: usize = 64;

/// The stored form of a raw body: LZ4 where that is smaller.
pub fn pack(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() / 2 + 16);
    if raw.len() >= PACK_BYTES_MIN {
        let packed = lz4_flex::block::compress(raw);
        if packed.len() < raw.len() {
            out.u8(LZ4);
            out.uvarint(raw.len() as u64);
            out.raw(&packed);
            return out;
        }
    }
    out.u8(RAW);
    out.uvarint(raw.len() as u64);
    out.raw(raw);
    out
}

/// The raw body. Its length is checked against [`limit::BODY_RAW_BYTES_MAX`] before anything is unpacked.
///
/// # Errors
/// [`Malformed`] if the stored bytes are not what [`pack`] writes.
pub fn unpack(stored: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut r = Reader::new(stored);
    let codec = r.u8("body codec")?;
    let raw_bytes = r.count("raw body length", limit::BODY_RAW_BYTES_MAX)?;
    match codec {
        RAW if r.rest().len() == raw_bytes => Ok(r.rest().to_vec()),
        RAW => Err(Malformed::Rule("the body's length is not the one it states")),
        LZ4 => match lz4_flex::block::decompress(r.rest(), raw_bytes) {
            Ok(raw) if raw.len() == raw_bytes => Ok(raw),
            _ => Err(Malformed::Rule("the packed body does not unpack to the length it states")),
        },
        got => Err(Malformed::Unknown { what: "body codec", got: got.into() }),
    }
}
