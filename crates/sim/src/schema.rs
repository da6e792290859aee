//! The tables of the simulated shop: one with integer keys, one with text keys, one that refers to the first.

use p2pdb_core::body::ColumnId;
use p2pdb_core::id::TableId;
use p2pdb_core::merge::Table;
use p2pdb_core::name::Collation;

/// `item(id INTEGER PRIMARY KEY, name TEXT, qty INTEGER)`: ids are claims.
pub const ITEM: usize = 0;
/// `tag(k TEXT PRIMARY KEY, a TEXT, b TEXT)`: the key names the row.
pub const TAG: usize = 1;
/// `line(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item, note TEXT)`.
pub const LINE: usize = 2;
/// How many tables there are. Parents have lower numbers than their children.
pub const TABLES: usize = 3;
/// All have as many columns; column 0 is the key.
pub const COLUMNS: usize = 3;

/// The column of table `t` that refers to [`ITEM`].
pub fn reference(t: usize) -> Option<usize> {
    (t == LINE).then_some(1)
}

/// Are the keys of table `t` claims?
pub fn is_alias(t: usize) -> bool {
    t != TAG
}

/// Table `t` as the merge knows it.
pub fn table(t: usize) -> Table {
    Table {
        id: id(t),
        id_column: is_alias(t).then_some(0),
        key: if is_alias(t) { Vec::new() } else { vec![(0, Collation::Binary)] },
        has_nameless: false,
        columns: COLUMNS,
        refs: reference(t).into_iter().collect(),
        weak: Vec::new(),
        order: columns(t).into_iter().enumerate().map(|(c, id)| (id, c)).collect(),
        fills: Default::default(),
        affinities: Vec::new(),
    }
}

/// Its id in the log.
pub fn id(t: usize) -> TableId {
    TableId([t as u8 + 1; 8])
}

/// The table of an id.
pub fn by_id(table: &TableId) -> Option<usize> {
    (0..TABLES).find(|t| id(*t) == *table)
}

/// The ids of its columns.
pub fn columns(t: usize) -> Vec<ColumnId> {
    (0..COLUMNS).map(|c| ColumnId([t as u8, c as u8, 0, 1])).collect()
}
