//! Random statements of a user.

use super::rng::Rng;
use super::schema::Table;

pub(crate) fn random(rng: &mut Rng, table: &Table) -> Vec<String> {
    let (t, key) = (table.name, &table.key);
    let all = table.columns.join(", ");
    let values = |rng: &mut Rng| table.columns.iter().map(|c| value(rng, table, c)).collect::<Vec<_>>().join(", ");
    if table.has_nameless && (key.is_empty() || rng.chance(50)) {
        return nameless(rng, table);
    }
    let by_key =
        |rng: &mut Rng| key.iter().map(|k| format!("{k} = {}", value(rng, table, k))).collect::<Vec<_>>().join(" AND ");
    let others: Vec<_> = table.columns.iter().filter(|c| !key.contains(c)).collect();
    match rng.below(if table.is_alias { 14 } else { 11 }) {
        0 | 1 => vec![format!("INSERT INTO {t}({all}) VALUES({})", values(rng))],
        2 => {
            let conflict = rng.pick(&["REPLACE", "IGNORE", "REPLACE", "FAIL"]);
            vec![format!("INSERT OR {conflict} INTO {t}({all}) VALUES({})", values(rng))]
        }
        3 => vec![format!("DELETE FROM {t} WHERE {}", by_key(rng))],
        4..=6 => {
            let column = rng.pick(&others);
            let hows = ["", "", "", if table.unique.is_empty() { "" } else { "OR REPLACE " }, "OR IGNORE "];
            let how = rng.pick(&hows);
            vec![format!("UPDATE {how}{t} SET {column} = {} WHERE {}", value(rng, table, column), by_key(rng))]
        }
        7 => {
            let k = rng.pick(key);
            // Where a row may be deleted along with the one that its update evicts, only a BEFORE trigger could tell.
            let may_cascade = table.refs.iter().any(|r| r.to == t);
            let hows = ["", "", if may_cascade { "" } else { "OR REPLACE " }, "OR IGNORE "];
            let how = rng.pick(&hows);
            vec![format!("UPDATE {how}{t} SET {k} = {} WHERE {}", value(rng, table, k), by_key(rng))]
        }
        8 => {
            let condition = by_key(rng);
            let key = table.key.iter().map(|k| (*k, condition_value(&condition, k))).collect::<Vec<_>>();
            let row = table
                .columns
                .iter()
                .map(|c| key.iter().find(|(k, _)| k == c).map_or_else(|| value(rng, table, c), |(_, v)| v.clone()));
            let row = row.collect::<Vec<_>>().join(", ");
            vec![format!("DELETE FROM {t} WHERE {condition}"), format!("INSERT INTO {t}({all}) VALUES({row})")]
        }
        9 => {
            let set = others.iter().map(|c| format!("{c} = excluded.{c}")).collect::<Vec<_>>().join(", ");
            vec![format!(
                "INSERT INTO {t}({all}) VALUES({}) ON CONFLICT({}) DO UPDATE SET {set}",
                values(rng),
                key.join(", ")
            )]
        }
        10 => match rng.below(4) {
            0 => vec![format!("DELETE FROM {t} WHERE rowid % 3 = 1").replace("rowid", key[0])],
            1 => {
                let column = rng.pick(&others);
                vec![format!("UPDATE {t} SET {column} = {}", value(rng, table, column))]
            }
            2 => {
                let column = rng.pick(&others);
                vec![format!("UPDATE {t} SET {column} = {column}")]
            }
            _ => vec![format!("DELETE FROM {t} WHERE {}", by_key(rng))],
        },
        11 | 12 => {
            let (columns, row): (Vec<_>, Vec<_>) = others.iter().map(|c| (**c, value(rng, table, c))).unzip();
            vec![format!("INSERT INTO {t}({}) VALUES({})", columns.join(", "), row.join(", "))]
        }
        _ => {
            let (a, b) = (small(rng), small(rng));
            vec![
                format!("UPDATE {t} SET id = -77 WHERE id = {a}"),
                format!("UPDATE {t} SET id = {a} WHERE id = {b}"),
                format!("UPDATE {t} SET id = {b} WHERE id = -77"),
            ]
        }
    }
}

/// Of rows without a key, told by their rowid or by what they hold.
fn nameless(rng: &mut Rng, table: &Table) -> Vec<String> {
    let t = table.name;
    let all = table.columns.join(", ");
    let values = |rng: &mut Rng| table.columns.iter().map(|c| value(rng, table, c)).collect::<Vec<_>>().join(", ");
    let any = |rng: &mut Rng| format!("(SELECT rowid FROM {t} ORDER BY rowid LIMIT 1 OFFSET {})", rng.below(4));
    let column = rng.pick(&table.columns);
    match rng.below(14) {
        0 | 1 => vec![format!("INSERT INTO {t}({all}) VALUES({})", values(rng))],
        2 => {
            let row = values(rng);
            vec![format!("INSERT INTO {t}({all}) VALUES({row}), ({row})")]
        }
        3 => vec![format!("INSERT OR REPLACE INTO {t}(rowid, {all}) VALUES({}, {})", small(rng), values(rng))],
        4 => vec![format!("INSERT OR IGNORE INTO {t}({all}) SELECT {all} FROM {t} WHERE rowid = {}", any(rng))],
        5 | 6 => vec![format!("DELETE FROM {t} WHERE rowid = {}", any(rng))],
        7 => {
            // The rowid is handed out again.
            let last = format!("DELETE FROM {t} WHERE rowid = (SELECT max(rowid) FROM {t})");
            vec![last, format!("INSERT INTO {t}({all}) VALUES({})", values(rng))]
        }
        8 | 9 => {
            let how = rng.pick(&["", "OR IGNORE ", "OR REPLACE "]);
            vec![format!("UPDATE {how}{t} SET {column} = {} WHERE rowid = {}", value(rng, table, column), any(rng))]
        }
        10 => vec![format!("UPDATE {t} SET {column} = {} WHERE {column} IS NULL", value(rng, table, column))],
        11 => {
            let how = rng.pick(&["", "OR REPLACE "]);
            vec![format!("UPDATE {how}{t} SET rowid = {} WHERE rowid = {}", small(rng), any(rng))]
        }
        12 => vec![
            format!("UPDATE {t} SET rowid = -77 WHERE rowid = 1"),
            format!("UPDATE {t} SET rowid = 1 WHERE rowid = 2"),
            format!("UPDATE {t} SET rowid = 2 WHERE rowid = -77"),
        ],
        _ => vec![format!("DELETE FROM {t} WHERE {column} IS {}", value(rng, table, column))],
    }
}

fn condition_value(condition: &str, key: &str) -> String {
    let part = condition.split(" AND ").find_map(|p| p.strip_prefix(&format!("{key} = ")));
    part.unwrap_or("NULL").to_owned()
}

fn small(rng: &mut Rng) -> usize {
    1 + rng.below(6)
}

/// A value that often meets one that is there.
fn value(rng: &mut Rng, table: &Table, column: &str) -> String {
    if let Some(to) = table.refs.iter().find(|r| r.column == column).map(|r| r.to) {
        let any = format!(
            "(SELECT {} FROM {to} ORDER BY 1 LIMIT 1 OFFSET {})",
            if to == "e" { "pid" } else { "id" },
            rng.below(5)
        );
        return match rng.below(8) {
            0 if table.has_nameless || !table.key.contains(&column) => "NULL".into(),
            0 | 1 => small(rng).to_string(),
            2 => format!("coalesce({any}, 1)"),
            _ => any,
        };
    }
    if table.is_alias && column == "id" {
        return match rng.below(5) {
            0 => format!("(SELECT id FROM {} ORDER BY id DESC LIMIT 1 OFFSET {})", table.name, rng.below(2)),
            _ => small(rng).to_string(),
        };
    }
    match (table.name, column) {
        ("t", "k") | ("m", "k1") => (*rng.pick(&["'a'", "'b'", "'c'", "'d'"])).into(),
        ("k", "k") => (*rng.pick(&["NULL", "NULL", "'a'", "'b'", "'c'"])).into(),
        ("h", "no") => (*rng.pick(&["NULL", "1", "2"])).into(),
        ("b", "k") => (*rng.pick(&["x'00'", "x'01ff'", "x'02'"])).into(),
        ("w", "k") => (*rng.pick(&["'a'", "'b'", "'c'", "'d'", "'e'"])).into(),
        (_, "code") => (*rng.pick(&["NULL", "'x'", "'x'", "'X'", "'y'", "'z'"])).into(),
        (_, "n") => (*rng.pick(&["NULL", "1", "2", "2", "3"])).into(),
        (_, "no" | "k2") => rng.below(3).to_string(),
        _ => (*rng.pick(&[
            "NULL",
            "1",
            "2",
            "2.5",
            "'x'",
            "'y'",
            "'ÿ''\"'",
            "x'0a'",
            "-0.0",
            "9e999",
            "9223372036854775807",
        ]))
        .into(),
    }
}
