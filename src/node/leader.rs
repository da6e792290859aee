//! The lock file: of all processes with a database open, one runs its node.
//!
//! `<database>-p2pdb.lock`, locked as a POSIX record lock: a forked child does not inherit it, and it goes with its process,
//! however that ends. Nobody else opens the file, so nothing closes the lock by accident.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Leader {
    _file: File,
}

impl Leader {
    fn path(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push("-p2pdb.lock");
        PathBuf::from(name)
    }

    /// Tries to become the one that runs the node.
    ///
    /// # Errors
    /// The file system's. None: another process is.
    pub(super) fn attempt(database: &Path) -> io::Result<Option<Self>> {
        let path = Self::path(database);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match lock(&file) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::PermissionDenied) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

#[cfg(unix)]
fn lock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_lock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?)
}

#[cfg(not(unix))]
fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(io::Error::from)
}
