//! Random statements.

use crate::random::Random;
use crate::schema::{Column, Table, q};
use rusqlite::types::Value;

type Statement = (String, Vec<Value>);

fn value(r: &mut Random, declared: &str) -> Value {
    let declared = declared.to_ascii_uppercase();
    let text = |t: &str| Value::Text(t.into());
    if declared.contains("INT") && r.chance(90) {
        return match r.below(7) {
            0 => Value::Null,
            n => Value::Integer(n as i64 - 1),
        };
    }
    if declared.starts_with("TEXT") && r.chance(90) {
        let all = [Value::Null, text("a"), text("A"), text("b"), text("B"), text("a "), text("c"), text("")];
        return r.of(&all).clone();
    }
    let all = [
        Value::Null,
        Value::Integer(0),
        Value::Integer(1),
        Value::Integer(2),
        Value::Integer(3),
        Value::Real(1.0),
        Value::Real(2.0),
        Value::Real(2.5),
        Value::Real(-0.5),
        Value::Real(-0.0),
        text("a"),
        text("A"),
        text("b"),
        text("B"),
        text("a "),
        text("1"),
        text("1.0"),
        text(""),
        Value::Blob(b"a".to_vec()),
        Value::Blob(Vec::new()),
        text(&"x".repeat(20)),
        Value::Integer((1 << 53) + 1),
        Value::Real((1u64 << 53) as f64),
        Value::Integer(i64::MIN),
        Value::Real(i64::MIN as f64),
    ];
    r.of(&all).clone()
}

fn condition<'t>(r: &mut Random, table: &'t Table) -> (String, &'t Column) {
    let c = r.of(&table.data);
    let name = q(&c.name);
    let all = [
        String::new(),
        format!(" WHERE {name} IS ?"),
        format!(" WHERE {name} = ?"),
        format!(" WHERE {name} > ?"),
        format!(" WHERE {name} IS NOT ?"),
        format!(" WHERE {} IS ?", q(&table.data[0].name)),
    ];
    (r.of(&all).clone(), c)
}

const OR: [&str; 8] = ["", "", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ROLLBACK ", "OR ABORT "];

pub(crate) fn any(r: &mut Random, tables: &[Table]) -> Statement {
    let table = r.of(tables);
    match r.percent() {
        0..45 => insert(r, table),
        45..50 => insert_select(r, table),
        50..85 => update(r, table),
        _ => {
            let (filter, c) = condition(r, table);
            let args = filter.contains('?').then(|| value(r, &c.declared)).into_iter().collect();
            (format!("DELETE FROM {}{filter}", q(&table.name)), args)
        }
    }
}

fn has_free_rowid(table: &Table) -> bool {
    !table.without_rowid && table.kind != "rowidcol"
}

fn insert(r: &mut Random, table: &Table) -> Statement {
    let or = *r.of(&OR);
    let all = table.data.len();
    let least = all.saturating_sub(2).max(1);
    let n = least + r.below(all - least + 1);
    let columns = r.sample(&table.data, n);
    let mut names: Vec<String> = columns.iter().map(|c| q(&c.name)).collect();
    let has_rowid = has_free_rowid(table) && r.chance(20);
    if has_rowid {
        names.push("_rowid_".into());
    }
    let rows = *r.of(&[1, 1, 1, 3]);
    let mut args = Vec::new();
    for _ in 0..rows {
        args.extend(columns.iter().map(|c| value(r, &c.declared)));
        if has_rowid {
            args.push(Value::Integer(*r.of(&[-2, 1, 2, 3, 4, 5])));
        }
    }
    let marks = format!("({})", vec!["?"; names.len()].join(","));
    let mut sql =
        format!("INSERT {or}INTO {}({}) VALUES{}", q(&table.name), names.join(","), vec![marks; rows].join(","));
    if or.is_empty() && r.chance(20) {
        let c = r.of(&table.data);
        sql += &format!(" ON CONFLICT DO UPDATE SET {} = ?", q(&c.name));
        args.push(value(r, &c.declared));
        if r.half() {
            sql += &format!(" WHERE {} IS NOT excluded.{}", q(&r.of(&table.data).name), q(&c.name));
        }
    }
    if r.chance(20) {
        sql += " RETURNING *";
    }
    (sql, args)
}

fn insert_select(r: &mut Random, table: &Table) -> Statement {
    let names = table.data.iter().map(|c| q(&c.name)).collect::<Vec<_>>().join(",");
    let (or, table) = (r.of(&OR), q(&table.name));
    (format!("INSERT {or}INTO {table}({names}) SELECT {names} FROM {table} LIMIT 2"), Vec::new())
}

fn update(r: &mut Random, table: &Table) -> Statement {
    let (mut sql, mut args) = set(r, table);
    if r.chance(10) {
        sql += " FROM (SELECT 1 AS zz)";
    }
    let (filter, c) = condition(r, table);
    if filter.contains('?') {
        args.push(value(r, &c.declared));
    }
    (sql + &filter, args)
}

/// An update of at most one row.
pub(crate) fn update_one(r: &mut Random, table: &Table) -> Statement {
    let (sql, args) = set(r, table);
    let keys: Vec<String> = match (table.without_rowid, table.kind) {
        (false, "rowidcol") => vec!["_rowid_".into()],
        (false, _) => vec!["rowid".into()],
        (true, kind) => table.data[..if kind == "wrcomp" { 2 } else { 1 }].iter().map(|c| q(&c.name)).collect(),
    };
    let (keys, name, at) = (keys.join(", "), q(&table.name), r.below(4));
    (format!("{sql} WHERE ({keys}) = (SELECT {keys} FROM {name} ORDER BY {keys} LIMIT 1 OFFSET {at})"), args)
}

/// `UPDATE … SET …`
fn set(r: &mut Random, table: &Table) -> Statement {
    let or = *r.of(&OR);
    let n = 1 + r.below(table.data.len().min(3));
    let (mut sets, mut args) = (Vec::new(), Vec::new());
    for c in r.sample(&table.data, n) {
        let name = q(&c.name);
        match r.percent() {
            0..60 => {
                sets.push(format!("{name} = ?"));
                args.push(value(r, &c.declared));
            }
            60..80 => sets.push(format!("{name} = {}", q(&r.of(&table.data).name))),
            _ => {
                sets.push(format!("{name} = CASE {name} WHEN 1 THEN 2 WHEN 2 THEN 1 WHEN 'a' THEN 'A' ELSE {name} END"))
            }
        }
    }
    if has_free_rowid(table) && r.chance(8) {
        sets.push(format!("_rowid_ = {}", r.of(&["_rowid_ + 10", "3", "-2"])));
    }
    (format!("UPDATE {or}{} SET {}", q(&table.name), sets.join(", ")), args)
}
