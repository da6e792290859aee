//! Every bound in one place, each with the reason for its number.
//!
//! A limit is checked before the allocation or the loop that it bounds, never after.

/// Bytes of one entry as stored and sent: small enough that 64 peers with one entry each in flight
/// stay within the extension's network budget of 32 MiB, large enough that a signature costs nothing a row.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of an entry's body once unpacked: four times the packed bound, what LZ4 gains on ordinary rows.
/// The seal never writes more; a peer that claims more is refused before anything is allocated.
pub const BODY_RAW_BYTES_MAX: usize = 1024 * 1024;

/// Raw body bytes at which the seal closes an entry and starts the next of the atomic group: even
/// incompressible, header and body stay below [`ENTRY_BYTES_MAX`].
pub const BODY_RAW_BYTES_TARGET: usize = 160 * 1024;

/// A value longer than this travels as parts across the entries of its atomic group.
pub const VALUE_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one part of a long value.
pub const PART_BYTES_MAX: usize = 128 * 1024;

/// Bytes of one value: SQLite's own default bound for a string or blob.
pub const VALUE_BYTES_MAX: usize = 1_000_000_000;

/// Bytes of a row name kept as it is; a longer key is named by its hash.
pub const NAME_BYTES_MAX: usize = 1024;

/// Columns of a table: SQLite's compile-time maximum.
pub const COLUMNS_MAX: usize = 32_767;

/// Heads of other authors that one entry names.
pub const DEPS_MAX: usize = 512;

/// Bytes of a frame on the wire: one entry of the largest size, its envelope, and room.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a HELLO frame, and all that a stranger may send before the membership proof.
pub const HELLO_BYTES_MAX: usize = 4 * 1024;

/// Milliseconds a stranger has for the membership proof.
pub const HELLO_TIMEOUT_MS: u64 = 3_000;

/// Authors listed inline in a STATE message.
pub const FRONTIER_INLINE_MAX: usize = 512;

/// Bytes sent to a peer and not yet acknowledged as durable.
pub const CREDIT_BYTES: usize = 4 * 1024 * 1024;

/// Milliseconds that an entry's clock may run ahead of ours before its effect is quarantined.
pub const CLOCK_AHEAD_MS_MAX: u64 = 10 * 60 * 1000;

/// Entries in one page of the log as it is read for the surface: 64 of the largest are 16 MiB.
pub const LOG_PAGE_MAX: usize = 64;

/// Bytes of imported entries that wait for ones before them: an import in the worst order of a log of this size still
/// passes, and a log of gaps can't fill the disk.
pub const STAGED_BYTES_MAX: u64 = 256 * 1024 * 1024;
