//! Random schemas: 14 kinds of keys, every kind of unique index, foreign keys, triggers of the user.

use crate::Options;
use crate::random::Random;
use rusqlite::Connection;

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) rest: String,
}

pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Columns that can be written.
    pub(crate) data: Vec<Column>,
    pub(crate) ddl: Vec<String>,
    pub(crate) without_rowid: bool,
}

pub(crate) fn q(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const KINDS: [&str; 14] = [
    "int", "auto", "text", "textnn", "nocase", "blobpk", "comp", "wr", "wrcomp", "none", "intdesc", "strict",
    "rowidcol", "realpk",
];

/// A schema that SQLite takes, and the user's triggers on it.
pub(crate) fn legal(r: &mut Random, options: Options) -> (Vec<Table>, Vec<String>) {
    loop {
        let (tables, triggers) = any(r, options);
        let conn = Connection::open_in_memory().unwrap();
        let all = tables.iter().flat_map(|t| &t.ddl).chain(&triggers);
        if all.into_iter().all(|sql| conn.execute_batch(sql).is_ok()) {
            return (tables, triggers);
        }
    }
}

fn any(r: &mut Random, options: Options) -> (Vec<Table>, Vec<String>) {
    let mut tables: Vec<Table> = Vec::new();
    for i in 0..*r.of(&[1, 2, 2, 3]) {
        let table = table(r, i, options, &tables);
        tables.push(table);
    }
    let mut triggers = Vec::new();
    if options.triggers {
        for i in 0..r.below(3) {
            triggers.push(trigger(r, i, options, &tables));
        }
    }
    (tables, triggers)
}

fn column(name: &str, declared: &str, rest: &str) -> Column {
    Column { name: name.into(), declared: declared.into(), rest: rest.into() }
}

fn key(r: &mut Random, kind: &str) -> (Vec<Column>, &'static str, &'static str) {
    let not_null = if r.half() { "NOT NULL" } else { "" };
    let conflict = *r.of(&["", "", "", " ON CONFLICT REPLACE"]);
    match kind {
        "int" | "strict" => (
            vec![column("id", "INTEGER", &format!("PRIMARY KEY{conflict}"))],
            "",
            if kind == "strict" { "STRICT" } else { "" },
        ),
        "auto" => (vec![column("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT")], "", ""),
        "intdesc" => (vec![column("id", "INTEGER", "PRIMARY KEY DESC")], "", ""),
        "text" => (vec![column("k", "TEXT", &format!("PRIMARY KEY{conflict}"))], "", ""),
        "textnn" => (vec![column("k", "TEXT", "NOT NULL PRIMARY KEY")], "", ""),
        "nocase" => (
            vec![column("k", "TEXT", &format!("COLLATE {} {not_null} PRIMARY KEY", r.of(&["NOCASE", "RTRIM"])))],
            "",
            "",
        ),
        "blobpk" => (vec![column("k", "BLOB", &format!("{not_null} PRIMARY KEY"))], "", ""),
        "realpk" => (vec![column("k", "REAL", &format!("{not_null} PRIMARY KEY"))], "", ""),
        "comp" => (vec![column("k1", "TEXT", not_null), column("k2", "INT", not_null)], "PRIMARY KEY(k2, k1)", ""),
        "wr" => {
            let declared = r.of(&["TEXT", "INTEGER", ""]);
            (vec![column("k", declared, &format!("PRIMARY KEY{conflict}"))], "", "WITHOUT ROWID")
        }
        "wrcomp" => (
            vec![column("k1", "TEXT", "COLLATE NOCASE"), column("k2", "INT", "")],
            "PRIMARY KEY(k1, k2)",
            "WITHOUT ROWID",
        ),
        "rowidcol" => (vec![column("rowid", "TEXT", "")], "", ""),
        _ => (Vec::new(), "", ""),
    }
}

fn table(r: &mut Random, i: usize, options: Options, before: &[Table]) -> Table {
    let kind = *r.of(&KINDS);
    let name = r.of(&[format!("t{i}"), format!("we\"ird {i}"), format!("select{i}"), format!("ünï{i}")]).clone();
    let (mut data, constraint, tail) = key(r, kind);
    let types: &[&str] = match kind {
        "strict" => &["INTEGER", "TEXT", "REAL", "BLOB", "ANY"],
        _ => &["", "INT", "TEXT", "REAL", "NUMERIC", "BLOB", "TEXT COLLATE NOCASE", "TEXT COLLATE RTRIM"],
    };
    let width = if r.chance(5) { 70 } else { 1 + r.below(4) };
    for j in 0..width {
        let declared = *r.of(types);
        let name = r.of(&["c", "q\"", "order"]).to_string() + &j.to_string();
        let mut rest = String::new();
        if r.chance(15) {
            let default = if declared.starts_with('T') {
                "''"
            } else if declared == "BLOB" {
                "x'00'"
            } else {
                "7"
            };
            rest += &format!(" NOT NULL DEFAULT {default}");
        }
        if r.chance(25) {
            rest += " UNIQUE";
            rest += *r.of(&["", "", " ON CONFLICT REPLACE", " ON CONFLICT IGNORE", " ON CONFLICT FAIL"]);
        }
        data.push(column(&name, declared, &rest));
    }
    if options.foreign_keys && !before.is_empty() && kind != "strict" && r.chance(60) {
        reference(r, &mut data, before);
    }
    let mut parts: Vec<String> = data.iter().map(|c| format!("{} {} {}", q(&c.name), c.declared, c.rest)).collect();
    if r.chance(20) && kind != "strict" {
        let (last, stored) = (q(&data[data.len() - 1].name), r.of(&["VIRTUAL", "STORED"]));
        parts.push(format!("g GENERATED ALWAYS AS ({last} || 'g') {stored}{}", r.of(&["", " UNIQUE"])));
    }
    parts.extend((!constraint.is_empty()).then(|| constraint.to_string()));
    let mut ddl = vec![format!("CREATE TABLE {}({}) {tail}", q(&name), parts.join(", "))];
    for j in 0..*r.of(&[0, 0, 1, 1, 2]) {
        ddl.push(index(r, &format!("ix {i}{j}"), &name, &data));
    }
    Table { name, kind, data, ddl, without_rowid: tail.starts_with("WITHOUT") }
}

fn reference(r: &mut Random, data: &mut Vec<Column>, before: &[Table]) {
    let parent = r.of(before);
    let keys: Vec<&Column> = parent.data.iter().filter(|c| c.rest.contains("PRIMARY")).collect();
    let [key] = keys[..] else { return };
    let rest = format!(
        "REFERENCES {}({}) ON DELETE {} ON UPDATE {}{}",
        q(&parent.name),
        q(&key.name),
        r.of(&["CASCADE", "SET NULL", "NO ACTION", "SET DEFAULT"]),
        r.of(&["CASCADE", "SET NULL", "NO ACTION"]),
        r.of(&["", " DEFERRABLE INITIALLY DEFERRED"])
    );
    data.push(column("fk", &key.declared.clone(), &rest));
}

fn index(r: &mut Random, name: &str, table: &str, data: &[Column]) -> String {
    let n = *r.of(&[1, 1, 2]);
    let picked: Vec<String> = r.sample(data, n).iter().map(|c| q(&c.name)).collect();
    let form = *r.of(&["plain", "partial", "expr", "coll", "exprpartial"]);
    let first = &picked[0];
    let terms = match form {
        "expr" => format!("lower({first}){}", r.of(&["", " DESC"])),
        "coll" => format!("{first} COLLATE NOCASE"),
        "exprpartial" => format!("coalesce({first}, 'z') || 'x', {} desc", picked[picked.len() - 1]),
        _ => picked.join(", "),
    };
    let filter = if form.ends_with("partial") {
        format!(" WHERE {} {}", q(&r.of(data).name), r.of(&["IS NOT NULL", "> 1", "= 'a'"]))
    } else {
        String::new()
    };
    format!("CREATE UNIQUE INDEX {} ON {}({terms}){filter}", q(name), q(table))
}

fn trigger(r: &mut Random, i: usize, options: Options, tables: &[Table]) -> String {
    let (t, u) = (r.of(tables), r.of(tables));
    let event = *r.of(&["INSERT", "UPDATE", "DELETE"]);
    let when = *r.of(&["BEFORE", "AFTER", "AFTER"]);
    let row = if event == "DELETE" { "OLD" } else { "NEW" };
    let (there, here) = (q(&r.of(&u.data).name), q(&r.of(&t.data).name));
    let (other, first) = (q(&r.of(&t.data).name), q(&t.data[0].name));
    let value = r.of(&["1".to_string(), "'z'".to_string(), format!("{row}.{other}")]).clone();
    let (tn, un) = (q(&t.name), q(&u.name));
    let same = format!("UPDATE {tn} SET {here} = {value} WHERE {first} IS {row}.{first};");
    let mut bodies = vec![
        format!("UPDATE OR IGNORE {un} SET {there} = {row}.{here};"),
        format!("INSERT OR IGNORE INTO {un}({there}) VALUES({row}.{here});"),
        format!("DELETE FROM {un} WHERE {there} = {row}.{here};"),
        same.clone(),
        same,
        format!("REPLACE INTO {un}({there}) VALUES({row}.{here});"),
    ];
    if options.raise_ignore {
        bodies.push(format!("SELECT RAISE(IGNORE) WHERE {row}.{here} = 1;"));
        bodies.push(format!("SELECT RAISE(IGNORE) WHERE {row}.{here} > 1;"));
    }
    let body = r.of(&bodies);
    let condition = r.of(&[String::new(), format!("WHEN {row}.{here} IS NOT NULL")]).clone();
    format!("CREATE TRIGGER u{i} {when} {event} ON {tn} {condition} BEGIN {body} END")
}
