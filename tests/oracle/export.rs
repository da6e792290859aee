//! Entries as the model reads them.

use p2pdb_core::body::{Body, Cell, ColumnId, Kind, RowOp, unpack};
use p2pdb_core::claim::derived_id;
use p2pdb_core::clock::Stamp;
use p2pdb_core::entry::Entry;
use p2pdb_core::id::{AuthorId, Dot, EntryId, TableId};
use p2pdb_core::name::{Collation, Name, key_name, key_values};
use p2pdb_core::unique;
use p2pdb_core::value::Value as Core;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::replica::hex;
use super::schema::Table;

/// What is known of the schema and the entries so far.
pub(crate) struct Export<'a> {
    pub tables: &'a [Table],
    /// The id in the log of each table.
    pub ids: BTreeMap<[u8; 8], usize>,
    pub heads: BTreeMap<EntryId, (AuthorId, u64)>,
}

impl Export<'_> {
    /// One entry as a line.
    pub(crate) fn entry(&mut self, bytes: &[u8]) -> String {
        let entry = Entry::from_bytes(bytes).unwrap();
        let h = &entry.header;
        self.heads.insert(entry.id, (h.author, h.seq.0));
        let deps: Map<String, Value> = h
            .deps
            .iter()
            .map(|dep| {
                let (author, seq) = self.heads[dep];
                (author.to_string(), json!(seq))
            })
            .collect();
        let raw = unpack(&entry.body).unwrap();
        let body = Body::read(&raw, h.author).unwrap();
        let mut ops = Vec::new();
        let mut sections = body.sections();
        while let Some(mut section) = sections.next().unwrap() {
            if !section.kind.has_rows() {
                ops.push(json!({"op": "nop"}));
                continue;
            }
            let table = &self.tables[self.ids[&section.table.0]];
            let columns = column_names(table, &section.columns);
            let mut row = RowOp::default();
            while section.next_row(&mut row).unwrap() {
                let dot = Dot { author: h.author, seq: h.seq, op: row.op };
                ops.push(self.op(table, section.kind, section.is_auto, &columns[..section.written], &row, dot));
            }
        }
        json!({"a": h.author.to_string(), "s": h.seq.0, "h": h.clock.0, "deps": deps, "ops": ops}).to_string()
    }

    fn op(&self, table: &Table, kind: Kind, is_auto: bool, columns: &[&str], row: &RowOp<'_>, dot: Dot) -> Value {
        let cells: Map<String, Value> =
            columns.iter().zip(&row.cells).map(|(c, cell)| ((*c).to_owned(), self.cell(table, c, cell))).collect();
        let dots = |dots: &[Dot]| dots.iter().map(Dot::to_string).collect::<Vec<_>>();
        let name = row.name.as_ref().map(|name| self.name(table, name));
        let seen = row.seen.clone().or_else(|| match &row.name {
            Some(Name::Born { dot, .. }) => Some(vec![*dot]),
            _ => None,
        });
        let seen = dots(&seen.unwrap_or_default());
        match kind {
            Kind::Insert if table.is_alias => {
                assert!(row.name.is_none() && row.seen.is_none());
                let ids: Vec<_> = (0..16).map(|i| derived_id(&dot, i)).collect();
                let Some(Cell::Integer(id)) = columns.iter().position(|c| *c == table.key[0]).map(|at| &row.cells[at])
                else {
                    panic!("an id is an integer");
                };
                let derived = self.derived(table, &Name::Born { dot, id: *id });
                json!({"op": "ins", "t": table.name, "c": cells, "ids": ids, "derived": derived})
            }
            Kind::Insert if table.is_nameless(columns, &row.cells) => {
                assert!(row.name.is_none() && row.seen.is_none());
                let derived = self.derived(table, &Name::Born { dot, id: 0 });
                json!({"op": "ins", "t": table.name, "c": cells, "derived": derived})
            }
            Kind::Insert => {
                let key: Vec<_> =
                    table.key.iter().map(|k| &row.cells[columns.iter().position(|c| c == k).unwrap()]).collect();
                let values: Vec<Core> = key.iter().map(|cell| cell.to_value().unwrap()).collect();
                let name = key_name(values.iter().map(|v| (v, Collation::Binary)));
                let derived = self.derived(table, &name);
                let key = key.iter().zip(&table.key).map(|(cell, column)| self.cell(table, column, cell));
                let name = format!("{}|{}", table.name, Value::from(key.collect::<Vec<_>>()));
                json!({"op": "ins", "t": table.name, "row": name, "c": Self::without_key(table, cells), "over": dots(row.seen.as_deref().unwrap_or_default()), "derived": derived})
            }
            Kind::Update => {
                let cells = match row.name {
                    Some(Name::Key(_)) => Self::without_key(table, cells),
                    _ => cells,
                };
                json!({"op": "upd", "t": table.name, "row": name, "tok": seen, "c": cells})
            }
            Kind::Delete => json!({"op": "del", "t": table.name, "row": name, "tok": seen, "auto": u8::from(is_auto)}),
            Kind::Settle => {
                let value = &cells[columns[0]];
                json!({"op": "set", "t": table.name, "row": name, "col": columns[0], "at": stamp(&row.at.unwrap()), "v": value})
            }
            Kind::Define | Kind::Part | Kind::Unseen | Kind::Alter => unreachable!(),
        }
    }

    /// What the product derives from a row's name, by column: hexadecimal digits, and integers.
    fn derived(&self, table: &Table, name: &Name) -> Value {
        let at = self.tables.iter().position(|t| t.name == table.name);
        let id = self.ids.iter().find(|(_, t)| Some(**t) == at).unwrap().0;
        let mut known: Vec<ColumnId> = Vec::new();
        for column in &table.columns {
            known.push(ColumnId::of(column, &known));
        }
        let of = |column: &'static str| {
            let number = table.columns.iter().position(|c| *c == column).unwrap();
            let all = (0..16u8).map(|i| {
                let hash = unique::derived(TableId(*id), known[number], name, i);
                let Core::Integer(n) = unique::derived_value(&Core::Integer(0), &hash, i) else { panic!() };
                json!([hex(&hash), n])
            });
            (column.to_owned(), Value::from(all.collect::<Vec<_>>()))
        };
        Value::Object(table.derived().map(of).collect())
    }

    fn without_key(table: &Table, mut cells: Map<String, Value>) -> Map<String, Value> {
        cells.retain(|c, _| !table.key.contains(&c.as_str()));
        cells
    }

    fn cell(&self, table: &Table, column: &str, cell: &Cell<'_>) -> Value {
        self.value(table, column, &cell.to_value().unwrap())
    }

    pub(crate) fn value(&self, table: &Table, column: &str, value: &Core) -> Value {
        match value {
            Core::Null => Value::Null,
            Core::Integer(i) => json!(i),
            Core::Real(r) => json!(format!("r{:016x}", r.to_bits())),
            Core::Text(t) => json!(format!("t{}", String::from_utf8_lossy(t))),
            Core::Blob(b) => json!(format!("b{}", hex(b))),
            Core::Ref(name) => {
                let to = table.refs.iter().find(|r| r.column == column).unwrap().to;
                let to = self.tables.iter().find(|t| t.name == to).unwrap();
                json!({"ref": self.name(to, name)})
            }
        }
    }

    pub(crate) fn name(&self, table: &Table, name: &Name) -> String {
        match name {
            Name::Born { dot, .. } => format!("{}@{dot}", table.name),
            Name::Key(bytes) => {
                let values = key_values(bytes).unwrap();
                let values = values.iter().zip(&table.key).map(|(v, column)| self.value(table, column, v));
                format!("{}|{}", table.name, Value::from(values.collect::<Vec<_>>()))
            }
        }
    }
}

pub(crate) fn stamp(s: &Stamp) -> Value {
    json!([s.clock.0, s.author.to_string(), s.seq.0, s.op])
}

fn column_names<'t>(table: &Table, ids: &[ColumnId]) -> Vec<&'t str>
where
    'static: 't,
{
    let mut known: Vec<ColumnId> = Vec::new();
    for column in &table.columns {
        known.push(ColumnId::of(column, &known));
    }
    ids.iter().map(|id| table.columns[known.iter().position(|k| k == id).unwrap()]).collect()
}
