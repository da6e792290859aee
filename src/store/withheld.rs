//! What is stored and not merged: digests of two replicas are compared only where that is the same.

use p2pdb_core::codec::Write;

use super::{Store, StoreError};

impl Store {
    /// Hash over what is stored and not merged, whatever the reason; zeros if that is nothing.
    ///
    /// # Errors
    /// SQLite's.
    pub fn withheld_root(&self) -> Result<[u8; 16], StoreError> {
        let mut bytes = Vec::new();
        let mut waiting: Vec<_> =
            self.authors.iter().filter(|a| a.applied < a.held).map(|a| (a.id, a.applied)).collect();
        waiting.sort_unstable();
        for (author, applied) in waiting {
            bytes.raw(&author.0);
            bytes.uvarint(applied.0);
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT w.table_id, a.id, w.seq FROM _p2p_withheld w JOIN _p2p_author a ON a.n = w.author ORDER BY 1, 2, 3",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            bytes.raw(&row.get::<_, [u8; 8]>(0)?);
            bytes.raw(&row.get::<_, [u8; 16]>(1)?);
            bytes.uvarint(row.get::<_, i64>(2)? as u64);
        }
        let mut root = [0; 16];
        if !bytes.is_empty() {
            let mut h = blake3::Hasher::new_derive_key("p2pdb 1 withheld");
            root.copy_from_slice(&h.update(&bytes).finalize().as_bytes()[..16]);
        }
        Ok(root)
    }
}
