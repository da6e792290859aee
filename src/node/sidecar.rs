//! The sidecar: what must not stand in the database, because a copy of the database must not have it.
//!
//! `<database>-p2pdb`, mode 0600: the group and its secret, this copy's author key, the
//! configuration, remembered peers. A database copied without it is a new device that has not joined yet; its
//! writes are captured all the same. The file is local, never hashed and never sent, so bincode serves; a
//! limit bounds what a damaged file can make us allocate.

use bincode::{Decode, Encode};
use p2pdb_core::id::GroupId;
use p2pdb_core::key::{AuthorKey, Secret, found_group};
use p2pdb_core::limit;
use p2pdb_core::ticket::Ticket;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::store::Identity;

/// What the sidecar holds.
#[derive(Clone, Encode, Decode)]
pub struct Sidecar {
    group: [u8; 16],
    secret: [u8; 32],
    epoch: u32,
    author_seed: [u8; 32],
    /// Is there a group? Configuration may be set before a table is tracked or a ticket taken.
    pub has_group: bool,
    /// May the network be used? Only after an invitation was made or taken.
    pub is_joined: bool,
    /// Values set by `p2p_config`.
    pub config: BTreeMap<String, String>,
    /// Addresses of peers: from tickets, `p2p_connect`, and good ones of the past.
    pub peers: Vec<String>,
    /// When the database file was made that it belongs to, in nanoseconds since 1970; none where that is not known.
    born: Option<u64>,
}

/// Why the sidecar can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The file system refused.
    #[error("{path}: {source}; the database's folder must be writable, for its keys stand beside it")]
    Io {
        /// The sidecar's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged or of a later version.
    #[error("{0} is damaged or was written by a newer version; move it away and join again with a ticket")]
    Damaged(PathBuf),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

const VERSION: u8 = 2;
/// It did not say yet when the database file was made.
const VERSION_WITHOUT_BIRTH: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
/// Bytes of a sidecar: keys are few; configuration and peers are bounded where they are set.
const SIDECAR_BYTES_MAX: usize = 256 * 1024;

impl Sidecar {
    /// Where the sidecar of a database stands.
    pub fn path(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push("-p2pdb");
        PathBuf::from(name)
    }

    /// A new group with this database as its founder.
    ///
    /// # Errors
    /// [`SidecarError::Random`].
    pub fn found() -> Result<Self, SidecarError> {
        let author_seed = random()?;
        let group = found_group(&random()?, &AuthorKey::from_seed(&author_seed).public());
        let (config, peers) = Default::default();
        Ok(Self {
            group: group.0,
            secret: random()?,
            epoch: 0,
            author_seed,
            has_group: true,
            is_joined: false,
            config,
            peers,
            born: None,
        })
    }

    /// A member by ticket, with an author key of its own.
    ///
    /// # Errors
    /// [`SidecarError::Random`].
    pub fn join(ticket: &Ticket) -> Result<Self, SidecarError> {
        Ok(Self {
            group: ticket.group.0,
            secret: ticket.secret.0,
            epoch: ticket.epoch,
            author_seed: random()?,
            has_group: true,
            is_joined: true,
            config: BTreeMap::new(),
            peers: ticket.addresses.clone(),
            born: None,
        })
    }

    /// The same member with a new author key.
    ///
    /// # Errors
    /// [`SidecarError::Random`].
    pub fn with_new_author(self) -> Result<Self, SidecarError> {
        Ok(Self { author_seed: random()?, born: None, ..self })
    }

    /// Was it copied along with its database? A copy is a file of its own, made at another time: the inode would not do, which
    /// some file systems give anew at each mount.
    pub fn is_copied(&self, database: &Path) -> bool {
        matches!((self.born, born(database)), (Some(noted), Some(born)) if noted != born)
    }

    /// Does it not know yet which database file it belongs to?
    pub fn is_homeless(&self) -> bool {
        self.born.is_none()
    }

    /// Who writes here, and for whom.
    pub fn identity(&self) -> Identity {
        let key = AuthorKey::from_seed(&self.author_seed);
        Identity { group: GroupId(self.group), secret: Secret(self.secret), epoch: self.epoch, key }
    }

    /// A ticket to this group.
    pub fn ticket(&self, addresses: Vec<String>) -> Ticket {
        Ticket { group: GroupId(self.group), secret: Secret(self.secret), epoch: self.epoch, addresses }
    }

    /// Remembers an address, the newest last, the oldest forgotten where there are too many.
    pub fn remember(&mut self, address: &str) {
        if address.len() > limit::ADDRESS_BYTES_MAX {
            return;
        }
        self.peers.retain(|p| p != address);
        self.peers.push(address.to_owned());
        let over = self.peers.len().saturating_sub(limit::PEERS_REMEMBERED_MAX);
        self.peers.drain(..over);
    }

    /// The sidecar of a database, if it has one.
    ///
    /// # Errors
    /// [`SidecarError`] if it is there and can't be read.
    pub fn load(database: &Path) -> Result<Option<Self>, SidecarError> {
        let path = Self::path(database);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SidecarError::Io { path, source }),
        };
        match read(&bytes) {
            Some(sidecar) => Ok(Some(sidecar)),
            None => Err(SidecarError::Damaged(path)),
        }
    }

    /// Writes it in place of the one before: whole, durable, for its owner's eyes only.
    ///
    /// # Errors
    /// [`SidecarError::Io`].
    pub fn save(&self, database: &Path) -> Result<(), SidecarError> {
        let path = Self::path(database);
        let mut bytes = vec![VERSION];
        let homed = Self { born: self.born.or_else(|| born(database)), ..self.clone() };
        match bincode::encode_to_vec(homed, codec()) {
            Ok(body) => {
                bytes.extend(&body);
                bytes.extend(checksum(&body));
            }
            Err(_) => return Err(SidecarError::Damaged(path)),
        }
        write_private(&path, &bytes).map_err(|source| SidecarError::Io { path, source })
    }

    /// Puts it aside, for what follows may fail: [`SetAside::put_back`] or [`SetAside::remove`]. None if there is none, nor one
    /// that was put aside when a process died.
    ///
    /// # Errors
    /// [`SidecarError::Io`].
    pub fn set_aside(database: &Path) -> Result<Option<SetAside>, SidecarError> {
        let path = Self::path(database);
        let mut aside = path.as_os_str().to_owned();
        aside.push(".left");
        let aside = PathBuf::from(aside);
        match fs::rename(&path, &aside) {
            Ok(()) => Ok(Some(SetAside { path, aside })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(aside.exists().then_some(SetAside { path, aside })),
            Err(source) => Err(SidecarError::Io { path, source }),
        }
    }
}

/// A sidecar under another name.
#[derive(Debug)]
pub struct SetAside {
    path: PathBuf,
    aside: PathBuf,
}

impl SetAside {
    /// All is as it was.
    ///
    /// # Errors
    /// [`SidecarError::Io`].
    pub fn put_back(self) -> Result<(), SidecarError> {
        fs::rename(&self.aside, &self.path).map_err(|source| SidecarError::Io { path: self.aside, source })
    }

    /// Takes it away for good.
    ///
    /// # Errors
    /// [`SidecarError::Io`].
    pub fn remove(self) -> Result<(), SidecarError> {
        fs::remove_file(&self.aside).map_err(|source| SidecarError::Io { path: self.aside, source })
    }
}

fn read(bytes: &[u8]) -> Option<Sidecar> {
    let (version, rest) = bytes.split_first()?;
    let (body, _) = rest.split_last_chunk().filter(|(body, sum)| checksum(body) == **sum)?;
    let mut body = body.to_vec();
    match *version {
        VERSION => {}
        VERSION_WITHOUT_BIRTH => body.extend(bincode::encode_to_vec(None::<u64>, codec()).ok()?),
        _ => return None,
    }
    Some(bincode::decode_from_slice(&body, codec()).ok()?.0)
}

/// When a file was made, where the file system tells.
fn born(file: &Path) -> Option<u64> {
    let made = file.metadata().ok()?.created().ok()?;
    u64::try_from(made.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// A flipped bit in a key is no valid key, nor is it seen: entries signed with it would be refused by every peer.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&blake3::hash(body).as_bytes()[..CHECKSUM_BYTES]);
    sum
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<SIDECAR_BYTES_MAX>()
}

/// 32 random bytes from the system.
pub(crate) fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(name);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let outcome = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if outcome.is_err() {
        fs::remove_file(&new)?;
    }
    outcome?;
    // The rename itself is durable once the folder is.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
