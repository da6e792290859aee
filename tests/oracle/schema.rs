//! Random schemas of the kinds of tables that the engine merges: integer keys that are only claims, keys that name,
//! and foreign keys into either.

use super::rng::Rng;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    pub sql: String,
    pub columns: Vec<&'static str>,
    pub key: Vec<&'static str>,
    pub is_alias: bool,
    /// Columns that are kept as references: (column, table).
    pub refs: Vec<(&'static str, &'static str)>,
}

impl Table {
    pub(crate) fn to_json(&self) -> Value {
        // Until constraints are projected, a row whose parent is gone is hidden, whatever the foreign key says.
        let fk = self.refs.iter().map(|(col, to)| json!({"col": col, "to": to, "del": "CASCADE"}));
        json!({"name": self.name, "cols": self.columns, "pk": self.key, "alias": self.is_alias,
               "fk": fk.collect::<Vec<_>>()})
    }
}

pub(crate) fn random(rng: &mut Rng) -> Vec<Table> {
    let mut tables = vec![parent(rng)];
    for make in [child, line, extension, text, blob, pair] {
        if rng.chance(60) {
            tables.push(make(rng));
        }
    }
    if tables.iter().any(|t| t.name == "e") && rng.chance(70) {
        tables.push(grandchild(rng));
    }
    tables
}

fn action(rng: &mut Rng) -> &'static str {
    rng.pick::<&str>(&[
        "ON DELETE CASCADE ON UPDATE CASCADE",
        "ON DELETE SET NULL ON UPDATE CASCADE",
        "ON UPDATE CASCADE",
        "",
    ])
}

fn parent(rng: &mut Rng) -> Table {
    let auto = rng.pick(&["", "", " AUTOINCREMENT"]);
    let up = rng.chance(50);
    let column = if up { format!(", up INTEGER REFERENCES p(id) {}", action(rng)) } else { String::new() };
    Table {
        name: "p",
        sql: format!("CREATE TABLE p(id INTEGER PRIMARY KEY{auto}, a TEXT, b{column})"),
        columns: if up { vec!["id", "a", "b", "up"] } else { vec!["id", "a", "b"] },
        key: vec!["id"],
        is_alias: true,
        refs: if up { vec![("up", "p")] } else { vec![] },
    }
}

fn child(rng: &mut Rng) -> Table {
    Table {
        name: "c",
        sql: format!("CREATE TABLE c(id INTEGER PRIMARY KEY, pid INTEGER REFERENCES p(id) {}, v)", action(rng)),
        columns: vec!["id", "pid", "v"],
        key: vec!["id"],
        is_alias: true,
        refs: vec![("pid", "p")],
    }
}

fn line(rng: &mut Rng) -> Table {
    let without = rng.pick(&["", " WITHOUT ROWID"]);
    let action = rng.pick(&["ON DELETE CASCADE ON UPDATE CASCADE", "ON UPDATE CASCADE"]);
    let key = rng.pick(&["pid, no", "no, pid"]);
    Table {
        name: "l",
        sql: format!(
            "CREATE TABLE l(pid INTEGER NOT NULL REFERENCES p(id) {action}, no INTEGER NOT NULL, note, PRIMARY KEY({key})){without}"
        ),
        columns: vec!["pid", "no", "note"],
        key: if *key == "pid, no" { vec!["pid", "no"] } else { vec!["no", "pid"] },
        is_alias: false,
        refs: vec![("pid", "p")],
    }
}

fn extension(rng: &mut Rng) -> Table {
    let action = rng.pick(&["ON DELETE CASCADE ON UPDATE CASCADE", "ON UPDATE CASCADE"]);
    Table {
        name: "e",
        sql: format!("CREATE TABLE e(pid INTEGER PRIMARY KEY REFERENCES p(id) {action}, z)"),
        columns: vec!["pid", "z"],
        key: vec!["pid"],
        is_alias: false,
        refs: vec![("pid", "p")],
    }
}

fn grandchild(rng: &mut Rng) -> Table {
    Table {
        name: "g",
        sql: format!("CREATE TABLE g(id INTEGER PRIMARY KEY, eid INTEGER REFERENCES e(pid) {}, w)", action(rng)),
        columns: vec!["id", "eid", "w"],
        key: vec!["id"],
        is_alias: true,
        refs: vec![("eid", "e")],
    }
}

fn text(rng: &mut Rng) -> Table {
    let without = rng.pick(&["", " WITHOUT ROWID"]);
    Table {
        name: "t",
        sql: format!("CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, x, y REAL){without}"),
        columns: vec!["k", "x", "y"],
        key: vec!["k"],
        is_alias: false,
        refs: vec![],
    }
}

fn blob(rng: &mut Rng) -> Table {
    let without = rng.pick(&["", " WITHOUT ROWID"]);
    Table {
        name: "b",
        sql: format!("CREATE TABLE b(k BLOB PRIMARY KEY NOT NULL, x INTEGER){without}"),
        columns: vec!["k", "x"],
        key: vec!["k"],
        is_alias: false,
        refs: vec![],
    }
}

fn pair(rng: &mut Rng) -> Table {
    let without = rng.pick(&["", " WITHOUT ROWID"]);
    Table {
        name: "m",
        sql: format!("CREATE TABLE m(k1 TEXT NOT NULL, k2 INTEGER NOT NULL, x, PRIMARY KEY(k1, k2)){without}"),
        columns: vec!["k1", "k2", "x"],
        key: vec!["k1", "k2"],
        is_alias: false,
        refs: vec![],
    }
}
