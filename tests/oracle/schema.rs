//! Random schemas of the kinds of tables that the engine merges: integer keys that are only claims, keys that name,
//! and foreign keys into either.

use super::rng::Rng;
use p2pdb_core::body::Cell;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    pub sql: String,
    pub columns: Vec<&'static str>,
    pub key: Vec<&'static str>,
    pub is_alias: bool,
    /// Rows without a key, or with NULL in it, are named by their birth.
    pub has_nameless: bool,
    /// Columns that are kept as references.
    pub refs: Vec<Ref>,
    /// Unique indexes, the key's not.
    pub unique: Vec<Unique>,
    pub not_null: Vec<&'static str>,
    /// Columns that compare without case.
    pub no_case: Vec<&'static str>,
}

/// A column that is a foreign key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ref {
    pub column: &'static str,
    /// The table that it refers to.
    pub to: &'static str,
    /// ON DELETE.
    pub on_delete: &'static str,
    /// What the SQL says behind REFERENCES.
    pub sql: &'static str,
}

/// A unique index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unique {
    pub columns: &'static [&'static str],
    /// Of `lower()` of its text.
    pub is_lower: bool,
    /// Of rows where this column is not NULL.
    pub when: Option<&'static str>,
}

/// One over columns as they are.
const fn plain(columns: &'static [&'static str]) -> Unique {
    Unique { columns, is_lower: false, when: None }
}

impl Unique {
    fn sql(&self, table: &str, number: usize) -> String {
        let term = |c: &&str| if self.is_lower && *c == "code" { format!("lower({c})") } else { (*c).to_owned() };
        let terms = self.columns.iter().map(term).collect::<Vec<_>>().join(", ");
        let when = self.when.map(|c| format!(" WHERE {c} IS NOT NULL")).unwrap_or_default();
        format!("; CREATE UNIQUE INDEX {table}_{number} ON {table}({terms}){when}")
    }
}

impl Default for Table {
    fn default() -> Self {
        let (sql, columns, key, refs, unique, not_null, no_case) = Default::default();
        Self { name: "", sql, columns, key, is_alias: false, has_nameless: false, refs, unique, not_null, no_case }
    }
}

impl Table {
    pub(crate) fn to_json(&self) -> Value {
        let fk = self.refs.iter().map(|r| {
            // Until needed rows are revived, a row whose parent is gone is hidden, whatever the foreign key says.
            let can_be_null = !self.key.contains(&r.column) && !self.not_null.contains(&r.column);
            let del = if r.on_delete == "SET NULL" && can_be_null { "SET NULL" } else { "CASCADE" };
            json!({"col": r.column, "to": r.to, "del": del})
        });
        // In canonical order: by the columns' positions, those of the condition last.
        let mut unique = self.unique.clone();
        let position = |c: &str| self.columns.iter().position(|column| *column == c);
        unique.sort_by_key(|u| u.columns.iter().copied().chain(u.when).map(position).collect::<Vec<_>>());
        let unique = unique.iter().map(|u| json!({"cols": u.columns, "lower": u.is_lower, "when": u.when}));
        let unique: Vec<_> = unique.collect();
        json!({"name": self.name, "cols": self.columns, "pk": self.key, "alias": self.is_alias, "birth": self.has_nameless,
               "fk": fk.collect::<Vec<_>>(), "unique": unique, "notnull": self.not_null, "nocase": self.no_case,
               "int": self.columns.iter().filter(|c| **c == "n").collect::<Vec<_>>()})
    }

    /// Has a row with these cells no key?
    pub(crate) fn is_nameless(&self, columns: &[&str], cells: &[Cell<'_>]) -> bool {
        let is_null = |k: &&str| columns.iter().zip(cells).any(|(c, cell)| c == k && *cell == Cell::Null);
        self.has_nameless && (self.key.is_empty() || self.key.iter().any(is_null))
    }

    /// Columns in which a later claim shows a derived value.
    pub(crate) fn derived(&self) -> impl Iterator<Item = &'static str> {
        let is_meant = |c: &&str| matches!(*c, "code" | "n") && self.unique.iter().any(|u| u.columns.contains(c));
        self.columns.iter().copied().filter(is_meant)
    }
}

pub(crate) fn random(rng: &mut Rng) -> Vec<Table> {
    let mut tables = vec![parent(rng)];
    for make in [child, line, extension, text, blob, pair, numbered, coded, only, log, link, listed, nullable, halves] {
        if rng.chance(50) {
            tables.push(make(rng));
        }
    }
    if tables.iter().any(|t| t.name == "e") && rng.chance(70) {
        tables.push(grandchild(rng));
    }
    tables
}

/// A foreign key with any action.
fn any(rng: &mut Rng, column: &'static str, to: &'static str) -> Ref {
    let (on_delete, sql) = *rng.pick::<(&str, &str)>(&[
        ("CASCADE", "ON DELETE CASCADE ON UPDATE CASCADE"),
        ("SET NULL", "ON DELETE SET NULL ON UPDATE CASCADE"),
        ("NO ACTION", "ON UPDATE CASCADE"),
        ("NO ACTION", ""),
        ("RESTRICT", "ON DELETE RESTRICT ON UPDATE CASCADE"),
    ]);
    Ref { column, to, on_delete, sql }
}

/// One that is part of a key.
fn keyed(rng: &mut Rng, column: &'static str, to: &'static str) -> Ref {
    let (on_delete, sql) = *rng.pick::<(&str, &str)>(&[
        ("CASCADE", "ON DELETE CASCADE ON UPDATE CASCADE"),
        ("NO ACTION", "ON UPDATE CASCADE"),
    ]);
    Ref { column, to, on_delete, sql }
}

fn parent(rng: &mut Rng) -> Table {
    let auto = rng.pick(&["", "", " AUTOINCREMENT"]);
    let up = rng.chance(50);
    let refs = if up { vec![any(rng, "up", "p")] } else { vec![] };
    let column = refs.first().map(|r| format!(", up INTEGER REFERENCES p(id) {}", r.sql)).unwrap_or_default();
    Table {
        name: "p",
        sql: format!("CREATE TABLE p(id INTEGER PRIMARY KEY{auto}, a TEXT, b{column})"),
        columns: if up { vec!["id", "a", "b", "up"] } else { vec!["id", "a", "b"] },
        key: vec!["id"],
        is_alias: true,
        refs,
        ..Table::default()
    }
}

fn child(rng: &mut Rng) -> Table {
    let parent = any(rng, "pid", "p");
    Table {
        name: "c",
        sql: format!("CREATE TABLE c(id INTEGER PRIMARY KEY, pid INTEGER REFERENCES p(id) {}, v)", parent.sql),
        columns: vec!["id", "pid", "v"],
        key: vec!["id"],
        is_alias: true,
        refs: vec![parent],
        ..Table::default()
    }
}

fn line(rng: &mut Rng) -> Table {
    let without = rng.pick(&["", " WITHOUT ROWID"]);
    let parent = keyed(rng, "pid", "p");
    let key = rng.pick(&["pid, no", "no, pid"]);
    Table {
        name: "l",
        sql: format!(
            "CREATE TABLE l(pid INTEGER NOT NULL REFERENCES p(id) {}, no INTEGER NOT NULL, note, PRIMARY KEY({key})){without}",
            parent.sql
        ),
        columns: vec!["pid", "no", "note"],
        key: if *key == "pid, no" { vec!["pid", "no"] } else { vec!["no", "pid"] },
        is_alias: false,
        refs: vec![parent],
        ..Table::default()
    }
}

fn extension(rng: &mut Rng) -> Table {
    let parent = keyed(rng, "pid", "p");
    Table {
        name: "e",
        sql: format!("CREATE TABLE e(pid INTEGER PRIMARY KEY REFERENCES p(id) {}, z)", parent.sql),
        columns: vec!["pid", "z"],
        key: vec!["pid"],
        is_alias: false,
        refs: vec![parent],
        ..Table::default()
    }
}

fn grandchild(rng: &mut Rng) -> Table {
    let parent = any(rng, "eid", "e");
    Table {
        name: "g",
        sql: format!("CREATE TABLE g(id INTEGER PRIMARY KEY, eid INTEGER REFERENCES e(pid) {}, w)", parent.sql),
        columns: vec!["id", "eid", "w"],
        key: vec!["id"],
        is_alias: true,
        refs: vec![parent],
        ..Table::default()
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
        ..Table::default()
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
        ..Table::default()
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
        ..Table::default()
    }
}

/// Unique indexes over `code` and `n`.
fn uniques(rng: &mut Rng) -> Vec<Unique> {
    const LOWER: Unique = Unique { is_lower: true, ..plain(&["code"]) };
    const CODED: Unique = Unique { when: Some("note"), ..plain(&["code"]) };
    const BOTH: Unique = Unique { is_lower: true, when: Some("note"), ..plain(&["n", "code"]) };
    let all: [&[Unique]; 10] = [
        &[plain(&["code"])],
        &[plain(&["n"])],
        &[plain(&["code"]), plain(&["n"])],
        &[plain(&["n", "code"])],
        &[plain(&["code"]), plain(&["n", "code"])],
        &[plain(&["n"]), plain(&["code", "n"])],
        &[LOWER],
        &[CODED],
        &[CODED, plain(&["n"])],
        &[BOTH, LOWER],
    ];
    rng.pick(&all).to_vec()
}

/// `code` and `n` with their constraints.
fn claimed(rng: &mut Rng, table: Table) -> Table {
    let unique = uniques(rng);
    let not_null: Vec<_> = ["code", "n"].into_iter().filter(|_| rng.chance(30)).collect();
    let no_case: Vec<_> = ["code"].into_iter().filter(|_| rng.chance(30)).collect();
    let null = |c: &str| if not_null.contains(&c) { " NOT NULL" } else { "" };
    let case = if no_case.is_empty() { "" } else { " COLLATE NOCASE" };
    // A plain one may be a constraint as well.
    let (constraints, indexes): (Vec<Unique>, Vec<Unique>) =
        unique.iter().partition(|u| !u.is_lower && u.when.is_none() && rng.chance(70));
    let constraints: String = constraints.iter().map(|u| format!(", UNIQUE({})", u.columns.join(", "))).collect();
    let indexes: String = indexes.iter().enumerate().map(|(number, u)| u.sql(table.name, number)).collect();
    let sql = table.sql.replace("{code}", &format!("code TEXT{}{case}, n INTEGER{}", null("code"), null("n")));
    Table { sql: sql.replace("{unique}", &constraints) + &indexes, unique, not_null, no_case, ..table }
}

fn numbered(rng: &mut Rng) -> Table {
    let table = Table {
        name: "u",
        sql: "CREATE TABLE u(id INTEGER PRIMARY KEY, {code}, note{unique})".into(),
        columns: vec!["id", "code", "n", "note"],
        key: vec!["id"],
        is_alias: true,
        ..Table::default()
    };
    claimed(rng, table)
}

fn coded(rng: &mut Rng) -> Table {
    let table = Table {
        name: "w",
        sql: "CREATE TABLE w(k TEXT PRIMARY KEY NOT NULL, {code}, note{unique})".into(),
        columns: vec!["k", "code", "n", "note"],
        key: vec!["k"],
        ..Table::default()
    };
    claimed(rng, table)
}

/// At most one for each row of another table.
fn only(rng: &mut Rng) -> Table {
    let not_null = rng.chance(50);
    let null = if not_null { "NOT NULL" } else { "" };
    let parent = any(rng, "pid", "p");
    Table {
        name: "o",
        sql: format!(
            "CREATE TABLE o(id INTEGER PRIMARY KEY, pid INTEGER {null} UNIQUE REFERENCES p(id) {}, v)",
            parent.sql
        ),
        columns: vec!["id", "pid", "v"],
        key: vec!["id"],
        is_alias: true,
        refs: vec![parent],
        unique: vec![plain(&["pid"])],
        not_null: if not_null { vec!["pid"] } else { vec![] },
        ..Table::default()
    }
}

/// No key at all.
fn log(_: &mut Rng) -> Table {
    Table {
        name: "n",
        sql: "CREATE TABLE n(a, b TEXT, c)".into(),
        columns: vec!["a", "b", "c"],
        has_nameless: true,
        ..Table::default()
    }
}

/// No key, and nothing but references.
fn link(rng: &mut Rng) -> Table {
    let parents = [any(rng, "pid", "p"), any(rng, "q", "p")];
    Table {
        name: "r",
        sql: format!(
            "CREATE TABLE r(pid INTEGER REFERENCES p(id) {}, q INTEGER REFERENCES p(id) {})",
            parents[0].sql, parents[1].sql
        ),
        columns: vec!["pid", "q"],
        has_nameless: true,
        refs: parents.to_vec(),
        ..Table::default()
    }
}

/// No key, and unique indexes.
fn listed(rng: &mut Rng) -> Table {
    let table = Table {
        name: "v",
        sql: "CREATE TABLE v({code}, note{unique})".into(),
        columns: vec!["code", "n", "note"],
        has_nameless: true,
        ..Table::default()
    };
    claimed(rng, table)
}

/// A key that may be NULL.
fn nullable(_: &mut Rng) -> Table {
    Table {
        name: "k",
        sql: "CREATE TABLE k(k TEXT PRIMARY KEY, x, y)".into(),
        columns: vec!["k", "x", "y"],
        key: vec!["k"],
        has_nameless: true,
        ..Table::default()
    }
}

/// A key of two columns that may be NULL, one of them a reference.
fn halves(rng: &mut Rng) -> Table {
    let key = rng.pick(&["pid, no", "no, pid"]);
    let parent = keyed(rng, "pid", "p");
    Table {
        name: "h",
        sql: format!(
            "CREATE TABLE h(pid INTEGER REFERENCES p(id) {}, no INTEGER, note, PRIMARY KEY({key}))",
            parent.sql
        ),
        columns: vec!["pid", "no", "note"],
        key: if *key == "pid, no" { vec!["pid", "no"] } else { vec!["no", "pid"] },
        has_nameless: true,
        refs: vec![parent],
        ..Table::default()
    }
}
