-- The private tables. Made at the first p2p_track or p2p_join, in the database's own file; never STRICT, so
-- that any SQLite from 3.35 on can open and write the file.

-- Facts of this database: 'format', 'life' (of the arrival order), 'clock' (the floor), 'digest', 'group', 'author' (who
-- writes here), 'former' (who did before).
CREATE TABLE IF NOT EXISTS _p2p_meta(
  key TEXT PRIMARY KEY,
  value
) WITHOUT ROWID;

-- Tracked tables, by local number.
CREATE TABLE IF NOT EXISTS _p2p_table(
  t INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE CHECK(length(id) = 8),  -- its id in the log
  name TEXT NOT NULL,                             -- its name here
  columns BLOB NOT NULL,                          -- ids of its columns, four bytes each, in the order of their numbers
  names TEXT NOT NULL,                            -- their names here, a JSON array
  definition BLOB NOT NULL,                       -- the structured definition
  -- 0 to be announced, 1 in the log, 2 untracked, 3 can't be built here, 4 captured but not exchanged
  state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 4),
  options TEXT NOT NULL DEFAULT '{}',
  note TEXT NOT NULL DEFAULT ''
);

-- Tables that were altered since they were announced, taken apart: what counts of each element, and what it was written by.
CREATE TABLE IF NOT EXISTS _p2p_schema(
  t INTEGER NOT NULL,
  element BLOB NOT NULL,
  says BLOB,                                      -- NULL: it is gone
  clock INTEGER, author INTEGER, seq INTEGER, op INTEGER, -- no clock: the next seal tells it; all 0: as announced
  PRIMARY KEY(t, element)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_schema_untold ON _p2p_schema(t) WHERE clock IS NULL;

-- Markers: which rows of tracked tables were touched since the last seal. Written by triggers in plain SQL, by any
-- process; read and removed by the seal. Without types, so that a key stands here as it stands in its table, and
-- without a constraint that could fail: the outer statement's OR clause would apply to it. Each column costs every
-- write some per cent: a table with a wider key adds k2, o2 and so on, one with rows that have no name adds r, the rowid.
CREATE TABLE IF NOT EXISTS _p2p_mark(
  n INTEGER PRIMARY KEY,                          -- ascending; starts anew when the table was emptied
  t,                                              -- the table's local number
  m,                                              -- 1 inserted, 2 deleted, 3 updated, 4 key changed, 5 may have been displaced, 6 to be looked at
  k1,                                             -- the key; after a key change the new one
  o1                                              -- after a key change the old one, or the old rowid of a row without a name
);

-- The user's triggers on tracked tables, and what becomes of them on merged rows.
CREATE TABLE IF NOT EXISTS _p2p_trigger(
  name TEXT PRIMARY KEY,
  n INTEGER,                                      -- its row in sqlite_schema; the number of its copy
  t INTEGER NOT NULL,                             -- the table that it is on
  event INTEGER,                                  -- 0 insert, 1 update, 2 delete; NULL where its text can't be read
  sql TEXT NOT NULL,
  -- 0 it runs, 1 what it did arrives as rows, 2 it writes nothing, 3 it should run and can't
  state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3),
  why TEXT NOT NULL DEFAULT '',
  failed INTEGER NOT NULL DEFAULT 0,              -- statements on merged rows that it made fail, and that were run without it
  failure TEXT NOT NULL DEFAULT ''                -- the last time's
);

-- Authors, by local number. `held` is the end of the chain as stored, `applied` as merged.
CREATE TABLE IF NOT EXISTS _p2p_author(
  n INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE CHECK(length(id) = 16),
  key BLOB NOT NULL CHECK(length(key) = 32),
  held INTEGER NOT NULL CHECK(held >= 0),
  head BLOB NOT NULL CHECK(length(head) = 32),    -- id of the entry at `held`
  applied INTEGER NOT NULL CHECK(applied BETWEEN 0 AND held),
  clock INTEGER NOT NULL,                         -- of the entry at `held`
  seen BLOB NOT NULL                              -- what the entry at `applied` had seen: pairs of author number and seq
);

-- The log, in order of arrival.
CREATE TABLE IF NOT EXISTS _p2p_entry(
  n INTEGER PRIMARY KEY AUTOINCREMENT,            -- arrival numbers are cursors of peers: never used twice
  author INTEGER NOT NULL,
  seq INTEGER NOT NULL CHECK(seq > 0),
  hash BLOB NOT NULL CHECK(length(hash) = 32),
  clock INTEGER NOT NULL,
  ops INTEGER NOT NULL,
  continues INTEGER NOT NULL CHECK(continues IN (0, 1)),
  header BLOB NOT NULL,                           -- with the signature
  body BLOB,                                      -- NULL once pruned
  seen BLOB                                       -- what its author had seen, once merged; NULL: what the entry before had
);
CREATE UNIQUE INDEX IF NOT EXISTS _p2p_entry_seq ON _p2p_entry(author, seq);
CREATE UNIQUE INDEX IF NOT EXISTS _p2p_entry_hash ON _p2p_entry(hash);
CREATE INDEX IF NOT EXISTS _p2p_entry_seen ON _p2p_entry(author, seq) WHERE seen IS NOT NULL;

-- Clock records: one packed record a live row. They stand beside each table in one of its own, _p2p_row_1 and so on by
-- its local number, under the visible id or the canonical key (src/store/records.rs).

-- Of rows without a key the record also says where they are, by rowid. VACUUM and .dump give rows without an integer key other
-- rowids, and this table's too: the places are known of those tables whose number stands at the rowid 2^32 + t.
CREATE TABLE IF NOT EXISTS _p2p_still(t INTEGER NOT NULL);

-- Rows that do not show the id claimed at birth, by the dot of their birth.
CREATE TABLE IF NOT EXISTS _p2p_moved(
  t INTEGER NOT NULL, author INTEGER NOT NULL, seq INTEGER NOT NULL, op INTEGER NOT NULL,
  shown INTEGER NOT NULL,
  PRIMARY KEY(t, author, seq, op)
) WITHOUT ROWID;

-- Rows that show a derived id which nobody settled yet.
CREATE TABLE IF NOT EXISTS _p2p_claim(
  t INTEGER NOT NULL, shown INTEGER NOT NULL, claimed INTEGER NOT NULL,
  probes INTEGER NOT NULL DEFAULT 0,              -- 1: it would rather show an earlier derived id, which is taken
  PRIMARY KEY(t, shown)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_claim_id ON _p2p_claim(t, claimed);
CREATE INDEX IF NOT EXISTS _p2p_claim_probes ON _p2p_claim(t, shown) WHERE probes;

-- Rows that the table does not show as merged, and why.
CREATE TABLE IF NOT EXISTS _p2p_stuck(
  t INTEGER NOT NULL, name NOT NULL, reason TEXT NOT NULL,
  waits INTEGER NOT NULL DEFAULT 0,               -- 1: for a row that it refers to; 2: for one that holds what it claims
  PRIMARY KEY(t, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_stuck_waits ON _p2p_stuck(t, name) WHERE waits = 1;

-- What rows claim in unique indexes and do not show, because others do (rule P5).
CREATE TABLE IF NOT EXISTS _p2p_contend(
  t INTEGER NOT NULL, idx INTEGER NOT NULL,       -- the index's number in canonical order
  tuple BLOB NOT NULL,                            -- what is claimed, canonical bytes
  name BLOB NOT NULL,                             -- by which row
  holder BLOB,                                    -- the row that shows it, by name, if one does
  PRIMARY KEY(t, idx, tuple, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_contend_name ON _p2p_contend(t, name);
CREATE INDEX IF NOT EXISTS _p2p_contend_holder ON _p2p_contend(t, holder) WHERE holder IS NOT NULL;

-- What such rows show in the place of merged values.
CREATE TABLE IF NOT EXISTS _p2p_repair(
  t INTEGER NOT NULL, name BLOB NOT NULL, col INTEGER NOT NULL,
  value BLOB NOT NULL,                            -- canonical bytes
  PRIMARY KEY(t, name, col)
) WITHOUT ROWID;

-- Plain values in columns for references, of visible rows: whoever inserts the row that one means makes it a reference.
CREATE TABLE IF NOT EXISTS _p2p_literal(
  t INTEGER NOT NULL, name NOT NULL, col INTEGER NOT NULL,
  parent INTEGER NOT NULL,                        -- the table that the column refers to
  value NOT NULL,
  PRIMARY KEY(t, name, col)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_literal_value ON _p2p_literal(parent, value);

-- References of visible rows that show NULL or a default, for the row that they mean is not visible.
CREATE TABLE IF NOT EXISTS _p2p_dangling(
  t INTEGER NOT NULL, name NOT NULL, col INTEGER NOT NULL,
  parent INTEGER NOT NULL,                        -- the table that the column refers to
  meant BLOB NOT NULL,                            -- the row, by name
  PRIMARY KEY(t, name, col)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _p2p_dangling_meant ON _p2p_dangling(parent, meant);

-- While a local atomic group is open: names of rows whose key another row, or none, has now.
CREATE TABLE IF NOT EXISTS _p2p_before(
  t INTEGER NOT NULL, key NOT NULL, name BLOB NOT NULL,
  PRIMARY KEY(t, key, name)
) WITHOUT ROWID;

-- What the user decided of conflicts, to be sealed (p2p_resolve).
CREATE TABLE IF NOT EXISTS _p2p_decision(
  t INTEGER NOT NULL, name BLOB NOT NULL,
  col INTEGER NOT NULL,                           -- what this column shows stands; -1: the row goes, or is gone
  shown INTEGER,                                  -- the hidden row was put into the table under this id instead
  PRIMARY KEY(t, name, col)
) WITHOUT ROWID;

-- Values that lost a merge and that nobody who had seen them replaced.
CREATE TABLE IF NOT EXISTS _p2p_conflict(
  id INTEGER PRIMARY KEY,
  t INTEGER NOT NULL,
  name BLOB NOT NULL,                             -- the row's name, its canonical bytes
  col INTEGER NOT NULL,                           -- the column's number
  value BLOB NOT NULL,                            -- the value, its canonical bytes
  clock INTEGER NOT NULL, author INTEGER NOT NULL, seq INTEGER NOT NULL, op INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS _p2p_conflict_row ON _p2p_conflict(t, name, col, author, seq, op);

-- What merges did to rows that their keys do not tell any more, and tables that were announced: the latest (limit.rs).
CREATE TABLE IF NOT EXISTS _p2p_event(
  n INTEGER PRIMARY KEY AUTOINCREMENT,            -- programs remember how far they have read: never used twice
  merge INTEGER NOT NULL,                         -- the number of the first of those that came about together
  time INTEGER NOT NULL,                          -- milliseconds since 1970
  event TEXT NOT NULL,                            -- 'renumbered', 'hidden', 'shown'; 'built', 'parked'
  t INTEGER NOT NULL,
  old, new,                                       -- the row's key before and since; NULL where it was or is not shown
  by INTEGER,                                     -- the author whose entry was merged, where it was one
  note TEXT NOT NULL
);

-- Imported entries that wait for one before them in their author's chain, or for the node.
CREATE TABLE IF NOT EXISTS _p2p_staged(
  hash BLOB PRIMARY KEY CHECK(length(hash) = 32), -- of all bytes: a forged entry may have the id of a true one
  author BLOB NOT NULL, seq INTEGER NOT NULL,
  entry BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS _p2p_staged_seq ON _p2p_staged(author, seq);

-- Entries with operations on a table that can't be built here yet: they are merged when it is.
CREATE TABLE IF NOT EXISTS _p2p_withheld(
  table_id BLOB NOT NULL, clock INTEGER NOT NULL, author INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY(table_id, clock, author, seq)
) WITHOUT ROWID;

-- How far of which other store's arrival order is here.
CREATE TABLE IF NOT EXISTS _p2p_cursor(
  life BLOB PRIMARY KEY CHECK(length(life) = 16),
  n INTEGER NOT NULL
) WITHOUT ROWID;
