//! Does everything fit? The log's chains and signatures, read from the first entry to the last.

use p2pdb_core::entry::Entry;
use p2pdb_core::id::EntryId;
use p2pdb_core::key::PublicKey;
use rusqlite::Connection;

use super::StoreError;

/// Checks the private tables. Returns what is wrong, a line each; nothing if all is well.
///
/// # Errors
/// SQLite's.
pub fn verify(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut findings = Vec::new();
    let mut authors = conn.prepare("SELECT n, key, held, head FROM _p2p_author ORDER BY n")?;
    let mut rows = authors.query([])?;
    while let Some(row) = rows.next()? {
        let (n, held): (i64, i64) = (row.get(0)?, row.get(2)?);
        check_chain(conn, n, PublicKey(row.get(1)?), held, EntryId(row.get(3)?), &mut findings)?;
    }
    let integrity: String = conn.query_row("PRAGMA main.quick_check(1)", [], |row| row.get(0))?;
    if integrity != "ok" {
        findings.push(format!("SQLite finds the file damaged: {integrity}"));
    }
    Ok(findings)
}

fn check_chain(
    conn: &Connection,
    author: i64,
    key: PublicKey,
    held: i64,
    head: EntryId,
    findings: &mut Vec<String>,
) -> Result<(), StoreError> {
    let name = key.author();
    let mut statement =
        conn.prepare("SELECT seq, hash, header, body FROM _p2p_entry WHERE author = ?1 ORDER BY seq")?;
    let mut rows = statement.query([author])?;
    let (mut last, mut prev, mut is_signed) = (0, EntryId::default(), true);
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let mut bytes: Vec<u8> = row.get(2)?;
        bytes.extend_from_slice(row.get_ref(3)?.as_blob_or_null().map_err(rusqlite::Error::from)?.unwrap_or_default());
        let entry = match Entry::from_bytes(&bytes) {
            Ok(entry) => entry,
            Err(why) => {
                findings.push(format!("entry {seq} of author {name}: {why}"));
                return Ok(());
            }
        };
        if seq != last + 1 || entry.header.prev != prev || entry.id != EntryId(row.get(1)?) {
            findings.push(format!("entry {seq} of author {name} does not follow the one before it"));
            return Ok(());
        }
        is_signed = entry.is_signed_by(&key);
        (last, prev) = (seq, entry.id);
    }
    if last != held || prev != head {
        findings.push(format!("the log of author {name} ends at {last}, {held} was stored"));
    }
    if !is_signed {
        findings.push(format!("the signature of entry {last} of author {name} does not verify"));
    }
    Ok(())
}
