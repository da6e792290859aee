//! The oracle: a set of entries in, the tables that every replica must show out.
//!
//! It shares no code with the merge: it keeps everything, forgets nothing and computes from scratch, so that order of
//! arrival can't matter, because it never looks at it. Rules are cited by their numbers in MERGE.md.
//!
//! A line whose item is dead is an *orphan*: hidden, claiming no id, compared by its merged state. The rest of the projection of
//! foreign keys (P2) is not here yet.

use crate::schema::{self, COLUMNS, ITEM, LINE, TABLES};
use p2pdb_core::body::{Body, Cell, Kind, RowOp, unpack};
use p2pdb_core::claim::derived_id;
use p2pdb_core::clock::Stamp;
use p2pdb_core::codec::Malformed;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, Dot, EntryId, Seq};
use p2pdb_core::name::{Name, key_name};
use p2pdb_core::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A row of a table. The birth id of [`Name::Born`] is left out: the dot alone is the name (R2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowName {
    /// Of an alias table.
    Dot(Dot),
    /// Of the text-keyed table.
    Key(Box<[u8]>),
}

impl From<&Name> for RowName {
    fn from(name: &Name) -> Self {
        match name {
            Name::Born { dot, .. } => Self::Dot(*dot),
            Name::Key(key) => Self::Key(key.clone()),
        }
    }
}

/// What the oracle says.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Every visible row as a `SELECT` gives it.
    pub visible: BTreeMap<(usize, RowName), Vec<Value>>,
    /// Merged state of every live row: incarnations, and a column's value with the stamps of its write and claim.
    pub merged: BTreeMap<(usize, RowName), Merged>,
    /// Live rows whose parent is dead.
    pub orphans: BTreeSet<(usize, RowName)>,
    /// Every value that was ever written.
    pub written: BTreeSet<u64>,
    /// Values that are not visible and that nobody who had seen them replaced (R19).
    pub lost: Vec<Lost>,
}

/// What the log makes of a row, whatever is shown of it.
pub type Merged = (Vec<Dot>, Vec<Option<(Value, Stamp, Stamp)>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The table.
    pub t: usize,
    /// The row.
    pub row: RowName,
    /// The column.
    pub column: usize,
    /// What was written.
    pub value: Value,
    /// When.
    pub stamp: Stamp,
}

#[derive(Clone, Debug)]
struct Write {
    stamp: Stamp,
    value: Value,
    /// The incarnations it counts with (R8).
    tokens: BTreeSet<Dot>,
}

#[derive(Debug, Default)]
struct Row {
    tokens: BTreeMap<Dot, Stamp>,
    dead: BTreeSet<Dot>,
    writes: [Vec<Write>; COLUMNS],
    /// By column and write: the settle's stamp and value (R12).
    settles: BTreeMap<(usize, Stamp), (Stamp, Value)>,
    /// Deletes by a user.
    deletes: Vec<Stamp>,
}

struct Cellular<'a> {
    value: &'a Value,
    write: Stamp,
    claim: Stamp,
}

impl Row {
    fn alive(&self) -> BTreeSet<Dot> {
        self.tokens.keys().filter(|t| !self.dead.contains(t)).copied().collect()
    }

    /// R8: the counting write of the greatest stamp, its value replaced by its settle.
    fn cell(&self, column: usize) -> Option<Cellular<'_>> {
        let alive = self.alive();
        let counting = self.writes[column].iter().filter(|w| w.tokens.iter().any(|t| alive.contains(t)));
        let write = counting.max_by_key(|w| order(&w.stamp))?;
        Some(match self.settles.get(&(column, write.stamp)) {
            Some((stamp, value)) => Cellular { value, write: write.stamp, claim: *stamp },
            None => Cellular { value: &write.value, write: write.stamp, claim: write.stamp },
        })
    }
}

/// R1: written out here, so that a fault of the core's own order does not hide.
fn order(s: &Stamp) -> (u64, [u8; 16], u64, u32) {
    (s.clock.0, s.author.0, s.seq.0, s.op)
}

impl Row {
    fn merged(&self) -> Merged {
        let cell = |column| self.cell(column).map(|c| (c.value.clone(), c.write, c.claim));
        let mut alive: Vec<_> = self.alive().into_iter().collect();
        alive.sort_unstable_by_key(|dot| (dot.author, dot.seq, dot.op));
        (alive, (0..COLUMNS).map(cell).collect())
    }
}

type Rows = BTreeMap<(usize, RowName), Row>;

/// Judges a set of entries.
pub fn judge(entries: &[Rc<Entry>]) -> Result<Verdict, Malformed> {
    let mut rows = Rows::new();
    let mut verdict = Verdict::default();
    for entry in entries {
        gather(entry, &mut rows, &mut verdict.written)?;
    }
    let ids = show_ids(&rows);
    for ((t, name), row) in rows.iter().filter(|(_, row)| !row.alive().is_empty()) {
        verdict.merged.insert((*t, name.clone()), row.merged());
        match show(*t, name, row, &ids) {
            Some(values) => {
                verdict.visible.insert((*t, name.clone()), values);
            }
            None => {
                verdict.orphans.insert((*t, name.clone()));
            }
        }
    }
    let seen = contexts(entries);
    for ((t, name), row) in &rows {
        if !verdict.orphans.contains(&(*t, name.clone())) {
            lost_of(*t, name, row, &verdict.visible, &seen, &mut verdict.lost);
        }
    }
    Ok(verdict)
}

fn gather(entry: &Entry, rows: &mut Rows, written: &mut BTreeSet<u64>) -> Result<(), Malformed> {
    let h = &entry.header;
    let raw = unpack(&entry.body)?;
    let body = Body::read(&raw, h.author)?;
    let mut sections = body.sections();
    while let Some(mut section) = sections.next()? {
        let t = schema::by_id(&section.table).ok_or(Malformed::Rule("an unknown table"))?;
        let all = schema::columns(t);
        let columns: Vec<usize> = section.columns.iter().filter_map(|id| all.iter().position(|c| c == id)).collect();
        let (kind, is_auto) = (section.kind, section.is_auto);
        let mut op = RowOp::default();
        while section.next_row(&mut op)? {
            let stamp = Stamp { clock: h.clock, author: h.author, seq: h.seq, op: op.op };
            let cells: Vec<(usize, Value)> =
                columns.iter().zip(&op.cells).filter_map(|(c, cell)| Some((*c, cell.to_value()?))).collect();
            written.extend(cells.iter().filter_map(|(_, v)| crate::workload::number(v)));
            let name = match &op.name {
                Some(name) => RowName::from(name),
                None => born(t, &stamp, &op.cells),
            };
            let row = rows.entry((t, name.clone())).or_default();
            take(kind, is_auto, stamp, &name, &op, cells, row);
        }
    }
    Ok(())
}

/// R2.
fn born(t: usize, stamp: &Stamp, cells: &[Cell<'_>]) -> RowName {
    if schema::is_alias(t) {
        return RowName::Dot(stamp.dot());
    }
    let key = cells.first().and_then(Cell::to_value).unwrap_or(Value::Null);
    RowName::from(&key_name([(&key, Default::default())]))
}

fn take(
    kind: Kind,
    is_auto: bool,
    stamp: Stamp,
    name: &RowName,
    op: &RowOp<'_>,
    cells: Vec<(usize, Value)>,
    row: &mut Row,
) {
    let implied = match name {
        RowName::Dot(dot) => vec![*dot],
        RowName::Key(_) => Vec::new(),
    };
    let seen = op.seen.clone().unwrap_or(if kind == Kind::Insert { Vec::new() } else { implied });
    match kind {
        // R7, R9: an insert adds an incarnation and removes those it replaces.
        Kind::Insert => {
            row.tokens.insert(stamp.dot(), stamp);
            row.dead.extend(seen);
            let tokens = BTreeSet::from([stamp.dot()]);
            for (column, value) in cells {
                row.writes[column].push(Write { stamp, value, tokens: tokens.clone() });
            }
        }
        Kind::Update => {
            let tokens: BTreeSet<Dot> = seen.into_iter().collect();
            for (column, value) in cells {
                row.writes[column].push(Write { stamp, value, tokens: tokens.clone() });
            }
        }
        Kind::Delete => {
            row.dead.extend(seen);
            if !is_auto {
                row.deletes.push(stamp);
            }
        }
        Kind::Settle => {
            let (Some(at), Some((column, value))) = (op.at, cells.into_iter().next()) else { return };
            let settle = row.settles.entry((column, at)).or_insert((stamp, value.clone()));
            if order(&settle.0) < order(&stamp) {
                *settle = (stamp, value);
            }
        }
        Kind::Define | Kind::Part | Kind::Unseen | Kind::Alter => {}
    }
}

/// P2, as far as it is here: a row is shown while it and the row it refers to are alive.
fn is_visible(rows: &Rows, row: &Row) -> bool {
    let is_alive = |name: &Name| rows.get(&(ITEM, RowName::from(name))).is_some_and(|r| !r.alive().is_empty());
    let refers = (0..COLUMNS).filter_map(|c| row.cell(c)).find_map(|c| match c.value {
        Value::Ref(name) => Some(is_alive(name)),
        _ => None,
    });
    !row.alive().is_empty() && refers.unwrap_or(true)
}

/// P4: each id goes to the earliest claim, a loser gets one derived from its name.
fn show_ids(rows: &Rows) -> BTreeMap<(usize, Dot), i64> {
    let mut shown = BTreeMap::new();
    for t in (0..TABLES).filter(|t| schema::is_alias(*t)) {
        let mut claims = Vec::new();
        for ((_, name), row) in rows.iter().filter(|((of, _), row)| *of == t && is_visible(rows, row)) {
            if let (RowName::Dot(dot), Some(cell)) = (name, row.cell(0))
                && let Value::Integer(id) = cell.value
            {
                claims.push((order(&cell.claim), *dot, *id));
            }
        }
        claims.sort_unstable_by_key(|c| (c.0, (c.1.author.0, c.1.seq.0, c.1.op)));
        let wanted: BTreeSet<i64> = claims.iter().map(|c| c.2).collect();
        let mut taken = BTreeSet::new();
        let (winners, losers): (Vec<_>, Vec<_>) = claims.into_iter().partition(|c| taken.insert(c.2));
        shown.extend(winners.into_iter().map(|(_, dot, id)| ((t, dot), id)));
        for (_, dot, _) in losers {
            let free = (0..16).map(|i| derived_id(&dot, i)).find(|id| !wanted.contains(id) && !taken.contains(id));
            if let Some(id) = free {
                taken.insert(id);
                shown.insert((t, dot), id);
            }
        }
    }
    shown
}

/// The row as it is shown; none for an orphan.
fn show(t: usize, name: &RowName, row: &Row, ids: &BTreeMap<(usize, Dot), i64>) -> Option<Vec<Value>> {
    let mut values = Vec::with_capacity(COLUMNS);
    for column in 0..COLUMNS {
        let value = row.cell(column).map_or(Value::Null, |c| c.value.clone());
        values.push(match (value, name) {
            (_, RowName::Dot(dot)) if column == 0 => Value::Integer(*ids.get(&(t, *dot))?),
            (Value::Ref(parent), _) => match RowName::from(&*parent) {
                RowName::Dot(dot) => Value::Integer(*ids.get(&(ITEM, dot))?),
                RowName::Key(_) => return None,
            },
            (value, _) => value,
        });
    }
    debug_assert!(t == LINE || values.iter().all(|v| !matches!(v, Value::Ref(_))));
    Some(values)
}

type Seen = BTreeMap<(AuthorId, Seq), BTreeMap<AuthorId, Seq>>;

/// What each entry's author had seen: its entry before, and its deps with all that theirs had seen.
fn contexts(entries: &[Rc<Entry>]) -> Seen {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|e| (e.header.clock, e.header.author, e.header.seq));
    let places: BTreeMap<EntryId, (AuthorId, Seq)> =
        entries.iter().map(|e| (e.id, (e.header.author, e.header.seq))).collect();
    let mut all = Seen::new();
    for entry in sorted {
        let h = &entry.header;
        let mut seen = all.get(&(h.author, Seq(h.seq.0 - 1))).cloned().unwrap_or_default();
        for (author, seq) in h.deps.iter().filter_map(|dep| places.get(dep)) {
            let theirs = all.get(&(*author, *seq)).cloned().unwrap_or_default();
            for (other, s) in theirs.into_iter().chain([(*author, *seq)]) {
                let known = seen.entry(other).or_default();
                *known = s.max(*known);
            }
        }
        seen.insert(h.author, h.seq);
        all.insert((h.author, h.seq), seen);
    }
    all
}

/// R19, column by column; ids are claims and no losses.
fn lost_of(
    t: usize,
    name: &RowName,
    row: &Row,
    visible: &BTreeMap<(usize, RowName), Vec<Value>>,
    seen: &Seen,
    lost: &mut Vec<Lost>,
) {
    let saw = |later: &Stamp, earlier: &Stamp| {
        if (later.author, later.seq) == (earlier.author, earlier.seq) {
            return later.op > earlier.op;
        }
        let context = seen.get(&(later.author, later.seq));
        context.and_then(|c| c.get(&earlier.author)).is_some_and(|s| *s >= earlier.seq)
            && (later.author != earlier.author || later.seq > earlier.seq)
    };
    let shown = visible.get(&(t, name.clone()));
    for column in 1..COLUMNS {
        let writes = &row.writes[column];
        let is_lost = |w: &Write| {
            let is_deleted = row.deletes.iter().any(|d| saw(d, &w.stamp));
            let is_replaced = writes.iter().any(|other| saw(&other.stamp, &w.stamp));
            let is_shown =
                shown.is_some() && row.cell(column).is_some_and(|c| c.write == w.stamp || *c.value == w.value);
            !is_deleted && !is_replaced && !is_shown
        };
        for w in writes.iter().filter(|w| w.value != Value::Null && is_lost(w)) {
            // Two who wrote the same lost nothing where one of them, or one who saw either, let go of it.
            if writes.iter().all(|twin| twin.value != w.value || is_lost(twin)) {
                lost.push(Lost { t, row: name.clone(), column, value: w.value.clone(), stamp: w.stamp });
            }
        }
    }
}
