//! A copy of the user's database to play with.

use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

use super::Failure;

/// Copies the file and what belongs to it, byte by byte: opening the original, even for reading, could leave files beside it.
///
/// # Errors
/// Where it can't be read, is no database, or changed while it was copied.
pub(super) fn copy(from: &Path, to: PathBuf) -> Result<(), Failure> {
    let failed =
        |why: &dyn std::fmt::Display, remedy: &str| Failure::new(format!("{}: {why}; {remedy}", from.display()));
    if !from.is_file() {
        return Err(failed(&"there is no such file", "name a database file that is there"));
    }
    // The log before the database: a checkpoint in between then shows as damage below, not as lost rows.
    for suffix in ["-wal", "-journal", ""] {
        let [source, target] = [from, to.as_path()].map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        if source.is_file()
            && let Err(why) = std::fs::copy(&source, &target)
        {
            return Err(failed(
                &why,
                "check that you may read it, and that there is room in the folder for temporary files",
            ));
        }
    }
    let conn = Connection::open_with_flags(&to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let checked = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match checked {
        Ok(ok) if ok == "ok" => Ok(()),
        Ok(why) => {
            Err(failed(&why, "it is damaged, or was written while it was copied: try again while nobody writes it"))
        }
        Err(why) => Err(failed(&why, "name an SQLite file")),
    }
}
