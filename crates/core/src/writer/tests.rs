use super::*;
use crate::body::{Body, Kind, unpack};
use crate::key::Secret;

fn start(deps: usize) -> (AuthorKey, Start) {
    let key = AuthorKey::from_seed(&[1; 32]);
    let group = GroupId([1; 16]);
    let mac = Secret([2; 32]).author_mac(group, &key.public());
    let mut deps: Vec<_> = (0..deps).map(|i| EntryId(*blake3::hash(&i.to_le_bytes()).as_bytes())).collect();
    deps.sort_unstable();
    let first = First { key: key.public(), epoch: 0, mac };
    let (prev, last, clock) = (EntryId::default(), Seq(0), Clock(7));
    (key, Start { group, parts: 0, prev, last, deps, clock, schema: [0; 16], first })
}

#[test]
fn more_deps_than_an_entry_may_name_go_ahead_in_entries_of_their_own() {
    for (deps, entries) in [(limit::DEPS_MAX - 1, 1), (limit::DEPS_MAX, 1), (limit::DEPS_MAX + 1, 2), (1300, 3)] {
        let (key, at) = start(deps);
        let mut group = GroupWriter::new(&key, at);
        group.row(
            &Shape::new(Kind::Insert, TableId([3; 8]), vec![ColumnId([1; 4])]),
            None,
            &[],
            None,
            &[Cell::Integer(1)],
        );
        let written = group.finish(false, false);
        assert_eq!(written.len(), entries);
        let read: Vec<_> = written.iter().map(|w| Entry::from_bytes(&w.entry.to_bytes()).unwrap()).collect();
        assert_eq!(read.iter().map(|e| e.header.deps.len()).sum::<usize>(), deps);
        // One atomic group; only the last entry, which has seen them all, does something.
        assert!(read[..entries - 1].iter().all(|e| e.header.continues) && !read[entries - 1].header.continues);
        assert_eq!(written.iter().map(|w| w.ops).collect::<Vec<_>>()[..entries - 1], vec![0; entries - 1]);
        assert_eq!(written[entries - 1].ops, 1);
    }
}

#[test]
fn a_long_value_is_cut_at_its_bound_and_each_entry_stays_below_its_own() {
    for bytes in [limit::VALUE_INLINE_BYTES_MAX, limit::VALUE_INLINE_BYTES_MAX + 1, 1_000_000] {
        let (key, at) = start(0);
        let mut group = GroupWriter::new(&key, at);
        let value: Vec<u8> = (0..bytes).map(|i| (i * 7919 % 251) as u8).collect();
        let shape = Shape::new(Kind::Insert, TableId([3; 8]), vec![ColumnId([1; 4])]);
        group.row(&shape, None, &[], None, &[Cell::Blob(&value)]);
        let written = group.finish(false, false);
        let mut parts = Vec::new();
        for w in &written {
            assert!(w.entry.to_bytes().len() <= limit::ENTRY_BYTES_MAX);
            let raw = unpack(&w.entry.body).unwrap();
            let body = Body::read(&raw, key.public().author()).unwrap();
            assert_eq!(body.check().unwrap(), w.ops);
            let mut sections = body.sections();
            while let Some(section) = sections.next().unwrap() {
                if section.kind == Kind::Part {
                    parts.extend_from_slice(section.bytes);
                }
            }
        }
        assert_eq!(parts.is_empty(), bytes <= limit::VALUE_INLINE_BYTES_MAX);
        assert!(parts.is_empty() || parts == value);
    }
}

/// Puts `rows` inserts of NULLs into a group, a run of 32 into one table, the next into another, and reads what was
/// written: how many entries, and how many operations in all. Panics where an entry does not read back.
fn write_nulls(columns: usize, rows: usize) -> (usize, usize) {
    let (key, at) = start(0);
    let ids: Vec<_> = (0..columns as u32).map(|id| ColumnId(id.to_le_bytes())).collect();
    let shapes = [3, 4].map(|table| Shape::new(Kind::Insert, TableId([table; 8]), ids.clone()));
    let mut group = GroupWriter::new(&key, at);
    for row in 0..rows {
        group.row(&shapes[row / 32 % 2], None, &[], None, &vec![Cell::Null; columns]);
    }
    let written = group.finish(false, false);
    let mut ops = 0;
    for w in &written {
        let entry = Entry::from_bytes(&w.entry.to_bytes()).unwrap();
        let raw = unpack(&entry.body).unwrap();
        assert_eq!(Body::read(&raw, key.public().author()).unwrap().check(), Ok(w.ops));
        ops += w.ops as usize;
    }
    (written.len(), ops)
}

/// Rows of NULL take next to no bytes: an entry that was cut by its bytes alone held more rows than its reader believed.
#[test]
fn rows_of_nulls_are_read_back_however_many_there_are() {
    for (columns, rows) in [(1, 1), (1, 1_000), (2, 100_000), (64, 5_000)] {
        assert_eq!(write_nulls(columns, rows).1, rows, "{rows} rows of {columns} columns");
    }
}

/// A section that is closed counts by its real bytes, so tables written by turns put many more cells into an entry than
/// its bytes tell. The bound cuts where it stands: not a row earlier, not a row later.
#[test]
fn an_entry_holds_as_many_cells_as_its_bound() {
    let columns = 128;
    let fits = limit::BODY_CELLS_MAX / columns;
    assert_eq!(write_nulls(columns, fits), (1, fits));
    assert_eq!(write_nulls(columns, fits + 1), (2, fits + 1));
    assert_eq!(write_nulls(columns, 6 * fits), (6, 6 * fits));
}

#[test]
fn the_widest_table_there_is_can_be_written() {
    for rows in [1, 4, 5, 12] {
        assert_eq!(write_nulls(limit::COLUMNS_MAX, rows).1, rows);
    }
}

#[test]
fn the_next_stamp_is_the_one_that_the_row_gets_or_is_not_told() {
    let (key, at) = start(limit::DEPS_MAX + 1);
    let mut group = GroupWriter::new(&key, at);
    let shape = Shape::new(Kind::Insert, TableId([3; 8]), vec![ColumnId([1; 4])]);
    let value = |bytes: usize| vec![7; bytes];
    let mut untold = Vec::new();
    for bytes in [1, 2, limit::VALUE_INLINE_BYTES_MAX, limit::VALUE_INLINE_BYTES_MAX + 1, 3]
        .into_iter()
        .chain([limit::VALUE_INLINE_BYTES_MAX; 16])
    {
        let value = value(bytes);
        let cells = [Cell::Blob(&value)];
        let told = group.next_stamp(&shape, &cells);
        let got = group.row(&shape, None, &[], None, &cells);
        match told {
            Some(told) => assert_eq!(told, got),
            None => untold.push(got),
        }
    }
    // The first row of each entry, for the entry before may have been closed for it; and the one that parts go ahead of.
    let entries = group.finish(false, false);
    let with_rows = entries.iter().filter(|e| e.ops > 0).count();
    assert!(with_rows > 1 && untold.len() == with_rows + 1, "{with_rows} entries, {untold:?}");
}
