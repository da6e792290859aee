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

/// Cells of one entry's body; a row operation without columns counts as one. Bytes do not bound them: a column of NULLs
/// takes three bytes however many rows it has. Four of the widest rows there are, and more than the seal puts into
/// [`BODY_RAW_BYTES_TARGET`] where each cell takes a byte or two; read, they take a few milliseconds.
pub const BODY_CELLS_MAX: usize = 128 * 1024;

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

/// Addresses in a ticket: the host's few interfaces, and a hub or two.
pub const TICKET_ADDRESSES_MAX: usize = 16;

/// Characters of a ticket after its prefix: the largest one with all its addresses.
pub const TICKET_CHARS_MAX: usize = 16 * 1024;

/// Addresses of peers that are remembered: enough for every member of a small group, old ones go.
pub const PEERS_REMEMBERED_MAX: usize = 64;

/// Addresses that a group's peers are looked for at: a member can tell more than it has, others must keep room.
pub const TARGETS_MAX: usize = 256;

/// Bytes of a table's definition in the log: it stands in one entry, beside nothing else if need be.
pub const DEFINITION_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a name in a definition: far above any name in use, so that a peer can't make ours grow.
pub const IDENTIFIER_BYTES_MAX: usize = 1024;

/// Steps of one expression of a definition: room for a CHECK over some hundred listed values.
pub const EXPRESSION_STEPS_MAX: usize = 4096;

/// Depth of one expression of a definition: a fifth of what SQLite itself takes.
pub const EXPRESSION_DEPTH_MAX: usize = 200;

/// Tables listed in one database, announced ones that can't be built here included: a peer can't fill a schema.
pub const TABLES_MAX: usize = 4096;

/// Bytes of entries in one ENTRIES frame, unless one entry alone is longer: measured, larger writes are no faster.
pub const BATCH_BYTES: usize = 64 * 1024;

/// Entries in one batch: a transaction of that many tiny entries stays within the 5 ms that the gate allows.
pub const BATCH_ENTRIES_MAX: usize = 1_000;

/// Bytes handed to the transport and not yet written: enough to fill the pipe of a fast link between two turns of the
/// driver, little enough for 64 peers at once.
pub const UNWRITTEN_BYTES_MAX: usize = 256 * 1024;

/// Bytes of log entries that a catch-up by frontier reads ahead over all authors.
pub const CATCH_UP_BYTES_MAX: usize = 1024 * 1024;

/// Authors that a session remembers of its peer: about 3 MB at most, far above any group we know of.
pub const FRONTIER_AUTHORS_MAX: usize = 64 * 1024;

/// Addresses in one PEERS message.
pub const ADDRESSES_MAX: usize = 64;

/// Bytes of one address: a relayed multiaddress with two peer ids takes about 200.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Bytes of text in an ERR message: one line.
pub const ERROR_TEXT_BYTES_MAX: usize = 256;

/// Milliseconds between two digests on a stream, give or take a fifth.
pub const DIGEST_INTERVAL_MS: u64 = 60_000;

/// Milliseconds between two STATE exchanges that we reopen on one stream.
pub const REOPEN_INTERVAL_MS: u64 = 5_000;

/// Milliseconds between two STATE exchanges that we let a peer reopen: below our own interval, so that clocks that run
/// unevenly break no rule.
pub const REOPEN_INTERVAL_MS_MIN: u64 = 1_000;

/// Entries in one page of the log as it is read for the surface: 64 of the largest are 16 MiB.
pub const LOG_PAGE_MAX: usize = 64;

/// Events that are kept, the latest: days of them for a program that follows, a megabyte or two in the file.
pub const EVENTS_MAX: usize = 10_000;

/// Events in one page of them as it is read for the surface.
pub const EVENTS_PAGE_MAX: usize = 1_000;

/// Bytes of imported entries that wait for ones before them: an import in the worst order of a log of this size still
/// passes, and a log of gaps can't fill the disk.
pub const STAGED_BYTES_MAX: u64 = 256 * 1024 * 1024;
