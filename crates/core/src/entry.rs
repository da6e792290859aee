//! An entry: the signed, hash-chained record of one batch of committed transactions.
//!
//! Bytes: `header ‖ signature ‖ body`. The id is the hash of the header, the header holds the hash of
//! the stored body, so that a body can be pruned while the chain still verifies. An entry is valid if its
//! own signature verifies, or if a valid later entry of the same author has it in its chain: a run is
//! checked by its last signature. `docs/format.md` draws the bytes; golden vectors in the tests pin them.
//!
//! This module knows nothing of what a body means: see [`crate::body`].

use crate::clock::Clock;
use crate::codec::{Malformed, Reader, Write};
use crate::id::{AuthorId, EntryId, GroupId, Seq};
use crate::key::{self, AuthorKey, Mac, PublicKey, Secret};
use crate::limit;

/// The version byte that every entry starts with.
pub const VERSION: u8 = 1;

const FLAG_FIRST: u8 = 1;
const FLAG_CONTINUES: u8 = 2;
const FLAG_CERTIFICATE: u8 = 4;
const FLAGS_KNOWN: u8 = FLAG_FIRST | FLAG_CONTINUES | FLAG_CERTIFICATE;

const HEADER: Hasher = Hasher("p2pdb 1 entry");
const BODY: Hasher = Hasher("p2pdb 1 body");

struct Hasher(&'static str);

impl Hasher {
    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        let mut h = blake3::Hasher::new_derive_key(self.0);
        h.update(bytes);
        *h.finalize().as_bytes()
    }
}

/// What an author's first entry carries, so that others can check all later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The author's public key; its hash is the author id.
    pub key: PublicKey,
    /// The epoch of the secret that the MAC is made with.
    pub epoch: u32,
    /// [`Secret::author_mac`]: proves that the author holds the group's secret.
    pub mac: Mac,
}

/// Everything that is hashed into an entry's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The group it belongs to.
    pub group: GroupId,
    /// Who wrote it.
    pub author: AuthorId,
    /// Its place in the author's chain, from 1.
    pub seq: Seq,
    /// The author's entry before this one; zero at seq 1.
    pub prev: EntryId,
    /// Heads of *other* authors that changed since the author's last entry, in ascending order.
    pub deps: Vec<EntryId>,
    /// When: grows along causality.
    pub clock: Clock,
    /// Hash over the definitions of the author's tracked tables.
    pub schema: [u8; 16],
    /// The certificate that gives the author its role; zero until members exist.
    pub certificate: [u8; 32],
    /// At seq 1, and only there.
    pub first: Option<First>,
    /// Does the atomic group that this entry is part of go on in the author's next entry?
    pub continues: bool,
    /// Bytes of the stored body.
    pub body_bytes: u32,
    /// Hash of the stored body.
    pub body_hash: [u8; 32],
}

impl Header {
    /// Canonical bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let has_certificate = self.certificate != [0; 32];
        out.u8(VERSION);
        out.u8((if self.first.is_some() { FLAG_FIRST } else { 0 })
            | (if self.continues { FLAG_CONTINUES } else { 0 })
            | (if has_certificate { FLAG_CERTIFICATE } else { 0 }));
        out.raw(&self.group.0);
        out.raw(&self.author.0);
        out.uvarint(self.seq.0);
        match &self.first {
            Some(first) => {
                out.raw(&first.key.0);
                out.u32(first.epoch);
                out.raw(&first.mac);
            }
            None => out.raw(&self.prev.0),
        }
        out.uvarint(self.deps.len() as u64);
        for dep in &self.deps {
            out.raw(&dep.0);
        }
        out.u64(self.clock.0);
        out.raw(&self.schema);
        if has_certificate {
            out.raw(&self.certificate);
        }
        out.uvarint(self.body_bytes.into());
        out.raw(&self.body_hash);
    }

    /// Reads one, checking every rule that needs nothing else.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no header of this version.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = r.u8("entry version")?;
        if version != VERSION {
            return Err(Malformed::Unknown { what: "entry version", got: version.into() });
        }
        let flags = r.u8("entry flags")?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(Malformed::Unknown { what: "entry flags", got: flags.into() });
        }
        let group = GroupId::read(r)?;
        let author = AuthorId::read(r)?;
        let seq = Seq(r.uvarint("seq")?);
        if seq.0 == 0 || seq.0 > i64::MAX as u64 {
            return Err(Malformed::Rule("an entry's seq counts from 1 and stays below 2^63"));
        }
        if (flags & FLAG_FIRST != 0) != (seq.0 == 1) {
            return Err(Malformed::Rule("the author's key stands in its first entry and only there"));
        }
        let (first, prev) = if flags & FLAG_FIRST != 0 {
            let first = First { key: PublicKey(r.array("author key")?), epoch: r.u32("epoch")?, mac: r.array("MAC")? };
            if first.key.author() != author {
                return Err(Malformed::Rule("the author id is not the hash of the author key"));
            }
            (Some(first), EntryId::default())
        } else {
            (None, EntryId::read(r)?)
        };
        let deps = read_deps(r)?;
        let clock = Clock(r.u64("clock")?);
        let schema = r.array("schema hash")?;
        let certificate = if flags & FLAG_CERTIFICATE != 0 { r.array("certificate")? } else { [0; 32] };
        if flags & FLAG_CERTIFICATE != 0 && certificate == [0; 32] {
            return Err(Malformed::Rule("an absent certificate is not written as zeros"));
        }
        let body_bytes = r.count("body length", limit::ENTRY_BYTES_MAX)? as u32;
        let body_hash = r.array("body hash")?;
        let continues = flags & FLAG_CONTINUES != 0;
        Ok(Self { group, author, seq, prev, deps, clock, schema, certificate, first, continues, body_bytes, body_hash })
    }

    /// The hash that names the entry.
    pub fn id(&self) -> EntryId {
        let mut bytes = Vec::with_capacity(256);
        self.write(&mut bytes);
        EntryId(HEADER.hash(&bytes))
    }
}

fn read_deps(r: &mut Reader<'_>) -> Result<Vec<EntryId>, Malformed> {
    let n = r.count("deps", limit::DEPS_MAX)?;
    let mut deps = Vec::with_capacity(n.min(r.rest().len() / EntryId::BYTES));
    for _ in 0..n {
        let dep = EntryId::read(r)?;
        if deps.last().is_some_and(|last| *last >= dep) {
            return Err(Malformed::Rule("deps stand in ascending order, each once"));
        }
        deps.push(dep);
    }
    Ok(deps)
}

/// A whole entry as it is stored and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The hash of the header.
    pub id: EntryId,
    /// The header.
    pub header: Header,
    /// Ed25519 over the id.
    pub signature: [u8; 64],
    /// The body as stored: codec byte, raw length, payload.
    pub body: Vec<u8>,
}

impl Entry {
    /// Fills in the header's fields on the body, hashes and signs.
    pub fn seal(mut header: Header, body: Vec<u8>, key: &AuthorKey) -> Self {
        header.body_bytes = body.len() as u32;
        header.body_hash = BODY.hash(&body);
        let id = header.id();
        Self { id, header, signature: key.sign(&id), body }
    }

    /// `header ‖ signature ‖ body`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(320 + self.body.len());
        self.header.write(&mut out);
        out.raw(&self.signature);
        out.raw(&self.body);
        out
    }

    /// Reads an entry and checks all that it can say about itself: form, bounds, body hash. Its
    /// signature, chain and group are the receiver's to check.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > limit::ENTRY_BYTES_MAX {
            let (got, max) = (bytes.len() as u64, limit::ENTRY_BYTES_MAX as u64);
            return Err(Malformed::OverLimit { what: "entry length", got, max });
        }
        let mut r = Reader::new(bytes);
        let header = Header::read(&mut r)?;
        // The header's own bytes are hashed as received, never a re-encoding.
        let id = EntryId(HEADER.hash(&bytes[..bytes.len() - r.rest().len()]));
        let signature = r.array("signature")?;
        let body = r.raw(header.body_bytes as usize, "body")?;
        r.end()?;
        if BODY.hash(body) != header.body_hash {
            return Err(Malformed::Rule("the body does not match its hash"));
        }
        Ok(Self { id, header, signature, body: body.to_vec() })
    }

    /// Did the author's key sign it?
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(&self.id, &self.signature)
    }
}

/// What an author's first entry says, once checked against the group's secret.
///
/// # Errors
/// [`Malformed::Rule`] if the MAC is not the group's: the author never held the secret.
pub fn check_first(header: &Header, secret: &Secret) -> Result<PublicKey, Malformed> {
    let first = header.first.as_ref().ok_or(Malformed::Rule("an author starts at seq 1"))?;
    if !key::equal(&secret.author_mac(header.group, &first.key), &first.mac) {
        return Err(Malformed::Rule("the author does not hold the group's secret; it is not a member"));
    }
    Ok(first.key)
}

#[cfg(test)]
mod tests;
