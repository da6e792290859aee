//! Stand-in until the structured definition is merged.
use p2pdb_core::name::Collation;
use rusqlite::Connection;

pub(crate) struct Def {
    key: Vec<(String, Collation)>,
    alias: bool,
    pub(crate) sql: String,
}

pub(crate) fn read_names(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

pub(crate) fn read_definition(bytes: &[u8]) -> Result<Option<Def>, rusqlite::Error> {
    let sql = String::from_utf8_lossy(bytes).to_string();
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(&sql)?;
    let name: String = conn.query_row("SELECT name FROM sqlite_schema WHERE type='table'", [], |r| r.get(0))?;
    let mut s = conn.prepare("SELECT name, type FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")?;
    let key: Vec<(String, String)> = s.query_map([&name], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
    let has_ix: bool = conn.query_row("SELECT count(*) > 0 FROM pragma_index_list(?1) WHERE origin = 'pk'", [&name], |r| r.get(0))?;
    let is_fk: bool = conn.query_row("SELECT count(*) > 0 FROM pragma_foreign_key_list(?1) WHERE \"from\" = ?2", [&name, &key.first().map(|k| k.0.clone()).unwrap_or_default()], |r| r.get(0))?;
    let alias = key.len() == 1 && key[0].1.eq_ignore_ascii_case("integer") && !has_ix && !is_fk;
    Ok(Some(Def { key: key.into_iter().map(|k| (k.0, Collation::Binary)).collect(), alias, sql }))
}

impl Def {
    pub(crate) fn key_columns(&self) -> Vec<(String, Collation)> {
        self.key.clone()
    }
    pub(crate) fn is_alias(&self) -> bool {
        self.alias
    }
    pub(crate) fn check_groups_by_name(&self) -> Vec<Vec<String>> {
        Vec::new()
    }
}
