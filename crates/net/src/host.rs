//! Processes of one user on one host find each other by files in a folder.
//!
//! The one idea: loopback addresses mean something only on the host, and whoever may read the folder is the
//! user, so a file per process and group is announcement enough. The folder is
//! `$P2PDB_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/p2pdb`, else `p2pdb-<user>` in the folder for temporary
//! files; it must be the user's own and closed to all others. A file is named `<tag>.<process>`, holds an
//! address a line, and is removed by whoever finds that its process is gone.
//!
//! It does not know what a tag stands for (the caller gives one that tells a reader nothing), nor does it
//! dial. A file whose process number was given to another program looks alive; the dial will tell.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::os;

/// Characters of a tag: a hash in any spelling.
pub const TAG_CHARS_MAX: usize = 64;

/// Addresses of one process: its interfaces, more than which no dialler would try.
pub const ADDRESSES_MAX: usize = 16;

/// Bytes of an announcement read: [`ADDRESSES_MAX`] of the longest addresses and their line ends.
pub const FILE_BYTES_MAX: u64 = 9 * 1024;

/// Files looked at for one answer: more processes of one user than share a database.
pub const FILES_MAX: usize = 1024;

/// What stands in the way of finding others. Sync goes on without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The folder belongs to someone else, or others can look into it.
    #[error("{path} {why}; remove it or set P2PDB_RUNTIME_DIR to a folder of your own")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A tag that can not be part of a file name.
    #[error("tag {0:?} is not 1 to {TAG_CHARS_MAX} letters, digits or dashes")]
    Tag(String),
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
}

/// The folder, and who we are in it.
#[derive(Clone, Debug)]
pub struct Host {
    folder: PathBuf,
    process: u32,
}

impl Host {
    /// Opens the registry, in that folder or the usual one, and makes the folder where it is missing.
    ///
    /// # Errors
    /// [`HostError::Folder`] and [`HostError::File`].
    pub fn open(folder: Option<&Path>) -> Result<Host, HostError> {
        let folder = folder.map_or_else(|| usual_folder(|name| env::var_os(name)), Path::to_path_buf);
        make_private(&folder)?;
        Ok(Host { folder, process: std::process::id() })
    }

    /// Tells the others under which addresses this process can be reached, instead of what was told before.
    /// Addresses beyond [`ADDRESSES_MAX`] are left out, and such as are not one line.
    ///
    /// # Errors
    /// [`HostError::Tag`] and [`HostError::File`].
    pub fn announce(&self, tag: &str, addresses: &[String]) -> Result<(), HostError> {
        let path = self.file(tag)?;
        let mut text = String::new();
        for address in addresses.iter().filter(|address| is_line(address)).take(ADDRESSES_MAX) {
            text.push_str(address);
            text.push('\n');
        }
        // Whole or not at all: a reader must not meet half of an address.
        let fresh = path.with_extension(format!("{}~", self.process));
        let written = write_private(&fresh, text.as_bytes()).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|source| HostError::File { path, source })
    }

    /// Takes the announcement back.
    ///
    /// # Errors
    /// [`HostError::Tag`] and [`HostError::File`].
    pub fn withdraw(&self, tag: &str) -> Result<(), HostError> {
        // A forked child must not take back what its parent announced.
        if self.process != std::process::id() {
            return Ok(());
        }
        let path = self.file(tag)?;
        remove(&path).map_err(|source| HostError::File { path, source })
    }

    /// The addresses of the other processes that announced this tag. Files of processes that have ended are
    /// removed on the way; files that can not be read are passed over.
    ///
    /// # Errors
    /// [`HostError::Tag`] and [`HostError::File`].
    pub fn others(&self, tag: &str) -> Result<Vec<String>, HostError> {
        check_tag(tag)?;
        let listing = fs::read_dir(&self.folder);
        let listing = listing.map_err(|source| HostError::File { path: self.folder.clone(), source })?;
        let mut addresses = Vec::new();
        for file in listing.take(FILES_MAX).flatten() {
            let Some((of, process)) = announcer(&file.file_name()) else { continue };
            let path = file.path();
            if !os::is_alive(process) {
                if let Err(error) = remove(&path) {
                    tracing::debug!(%error, "a stale announcement could not be removed");
                }
            } else if of == tag && process != std::process::id() {
                match read(&path) {
                    Ok(text) => {
                        addresses.extend(text.lines().take(ADDRESSES_MAX).filter(|l| is_line(l)).map(str::to_owned))
                    }
                    Err(error) => tracing::debug!(%error, "an announcement could not be read"),
                }
            }
        }
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }

    fn file(&self, tag: &str) -> Result<PathBuf, HostError> {
        check_tag(tag)?;
        Ok(self.folder.join(format!("{tag}.{}", self.process)))
    }
}

/// The folder that processes agree on without being told.
fn usual_folder(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("P2PDB_RUNTIME_DIR") {
        return folder;
    }
    // The standard says to ignore a relative path.
    match set("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute()) {
        Some(folder) => folder.join("p2pdb"),
        None => env::temp_dir().join(format!("p2pdb-{}", os::user())),
    }
}

/// Makes a folder for the user alone, or checks that it is one.
#[cfg(unix)]
fn make_private(folder: &Path) -> Result<(), HostError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let file_error = |source| HostError::File { path: folder.to_path_buf(), source };
    if let Err(source) = fs::DirBuilder::new().mode(0o700).create(folder)
        && source.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(file_error(source));
    }
    // Not following a link: in a shared folder anybody could have put one there.
    let found = fs::symlink_metadata(folder).map_err(file_error)?;
    let why = if !found.is_dir() {
        "is not a folder"
    } else if found.uid() != os::user() {
        "belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(HostError::Folder { path: folder.to_path_buf(), why })
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> Result<(), HostError> {
    fs::create_dir_all(folder).map_err(|source| HostError::File { path: folder.to_path_buf(), source })
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

fn read(path: &Path) -> io::Result<String> {
    // Not following a link, nor waiting for ever on a pipe.
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The tag and process of a file, if its name is one of ours. A trailing `~` marks one that is being written,
/// whose tag nobody asks for.
fn announcer(name: &std::ffi::OsStr) -> Option<(String, u32)> {
    let (tag, process) = name.to_str()?.rsplit_once('.')?;
    check_tag(tag).ok()?;
    match process.strip_suffix('~') {
        Some(process) => Some((String::new(), process.parse().ok()?)),
        None => Some((tag.to_owned(), process.parse().ok()?)),
    }
}

fn check_tag(tag: &str) -> Result<(), HostError> {
    let is_good = !tag.is_empty()
        && tag.len() <= TAG_CHARS_MAX
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_good { Ok(()) } else { Err(HostError::Tag(tag.chars().take(80).collect())) }
}

fn is_line(address: &str) -> bool {
    !address.is_empty()
        && address.len() <= crate::limit::ADDRESS_CHARS_MAX
        && !address.chars().any(|character| character.is_control())
}

#[cfg(all(test, unix))]
mod tests;
