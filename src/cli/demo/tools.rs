//! What the demo needs from this machine: the shared library and a shell that can load it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Failure;

/// The shell and the library, tried.
pub(super) struct Tools {
    pub(super) shell: PathBuf,
    pub(super) extension: PathBuf,
    /// Which shell that is, for people.
    pub(super) about: String,
}

impl Tools {
    /// Finds both, and loads the one into the other.
    pub(super) fn find(extension: Option<&Path>, shell: &Path) -> Result<Self, Failure> {
        let extension = match extension {
            Some(path) => path.canonicalize().map_err(|why| {
                Failure::new(format!("{}: {why}; --extension names the shared library", path.display()))
            })?,
            None => beside_this_program()?,
        };
        let version = ask(shell, "SELECT 'SQLite ' || sqlite_version();").map_err(|why| missing(shell, &why))?;
        let load = format!(".load {}\nSELECT 'P2PDB ' || p2p_version();", quoted(&extension)?);
        let loaded = ask(shell, &load).map_err(|why| missing(shell, &why))?;
        if loaded.contains("unknown command") || loaded.contains("not authorized") {
            return Err(Failure::new(format!(
                "{} was built without loading extensions; --sqlite3 names another one, on Debian: apt-get install sqlite3",
                shell.display()
            )));
        }
        let Some(ours) = loaded.lines().find(|l| l.starts_with("P2PDB ")) else {
            return Err(Failure::new(format!(
                "{} can't load {}: {loaded}; build it anew with cargo build --release -p p2pdb-ext",
                shell.display(),
                extension.display()
            )));
        };
        let about = format!("{} in the shell {}, {ours}", version.trim(), shell.display());
        Ok(Self { shell: shell.to_owned(), extension, about })
    }
}

fn missing(shell: &Path, why: &str) -> Failure {
    Failure::new(format!(
        "the SQLite shell {} can't be run: {why}; on Debian: apt-get install sqlite3, elsewhere: --sqlite3 PATH",
        shell.display()
    ))
}

/// Under its own name, or as cargo builds it.
fn beside_this_program() -> Result<PathBuf, Failure> {
    let name = format!("{}p2pdb{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let program = std::env::current_exe().map_err(|why| Failure::new(format!("where this program is: {why}")))?;
    let folder = program.parent().unwrap_or(Path::new("."));
    let places = [folder.join(&name), folder.join("../lib").join(&name)];
    places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        Failure::new(format!(
            "{} is not there; build it with cargo build -p p2pdb-ext (with --release if this program is), or name it with \
             --extension",
            places[0].display()
        ))
    })
}

/// Runs a few lines in the shell, in memory. Gives all that it prints.
fn ask(shell: &Path, lines: &str) -> Result<String, String> {
    let none = Path::new(if cfg!(windows) { "NUL" } else { "/dev/null" });
    let child = Command::new(shell)
        .args(["-batch", "-init"])
        .arg(none)
        .arg(":memory:")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        use std::io::Write as _;
        // A program that is no shell may not read: what it prints tells.
        if let Err(why) = writeln!(stdin, "{lines}") {
            tracing::debug!(%why, "the shell does not read");
        }
    }
    let told = child.wait_with_output().map_err(|e| e.to_string())?;
    let (out, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    Ok(format!("{out}{errors}").trim().to_owned())
}

/// A path as the shell's own commands take it. It knows no way to write a quote within quotes.
pub(super) fn quoted(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.contains(['\'', '"', '\\', '\n']) => Ok(format!("'{text}'")),
        _ => Err(Failure::new(format!(
            "{}: the shell can't be given this path; put it where the path has no quotes",
            path.display()
        ))),
    }
}
