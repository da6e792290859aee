//! Keys: an author's signing key, a group's secret, and the proofs made of them.
//!
//! The author key signs entries. The group secret never leaves members: from it come, each by its own
//! BLAKE3 derivation context, the MAC in an author's first entry (write right), the MAC in HELLO
//! (membership) and the blinded tag by which a peer names the group to a peer that knows it already.

use crate::id::{AuthorId, EntryId, GroupId};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use std::fmt;

/// A group's secret of one epoch, 32 random bytes. Never printed, logged, stored in a database, or sent but in a ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A keyed BLAKE3 hash.
pub type Mac = [u8; 32];

impl Secret {
    fn derive(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }

    /// The right to write: binds `author_key` to `group`.
    pub fn author_mac(&self, group: GroupId, author_key: &PublicKey) -> Mac {
        let mut h = blake3::Hasher::new_keyed(&self.derive("p2pdb 1 author"));
        h.update(&group.0).update(&author_key.0);
        *h.finalize().as_bytes()
    }

    /// The name of `group` that only its members can recognise, bound to one pair of transport keys.
    pub fn hello_tag(&self, group: GroupId, dialer: &[u8], listener: &[u8]) -> [u8; 16] {
        let mut h = blake3::Hasher::new_keyed(&self.derive("p2pdb 1 hello tag"));
        update_sized(h.update(&group.0), &[dialer, listener]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&h.finalize().as_bytes()[..16]);
        tag
    }

    /// Where the processes of one host that share `group` find each other: tells nothing to who lacks the secret.
    pub fn host_tag(&self, group: GroupId) -> String {
        let mut h = blake3::Hasher::new_keyed(&self.derive("p2pdb 1 host tag"));
        h.update(&group.0);
        h.finalize().to_hex()[..32].to_owned()
    }

    /// Membership: who says it (`is_dialer`), between which transport keys, over which HELLO bytes.
    pub fn hello_mac(&self, is_dialer: bool, dialer: &[u8], listener: &[u8], hello: &[u8]) -> Mac {
        let mut h = blake3::Hasher::new_keyed(&self.derive("p2pdb 1 hello"));
        update_sized(h.update(&[u8::from(is_dialer)]), &[dialer, listener, hello]);
        *h.finalize().as_bytes()
    }
}

fn update_sized(h: &mut blake3::Hasher, parts: &[&[u8]]) {
    for part in parts {
        h.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
}

/// Are the two equal? Takes the same time whatever they hold.
pub fn equal(a: &Mac, b: &Mac) -> bool {
    // BLAKE3's own comparison is constant-time.
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

/// An author's public key, Ed25519, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// `blake3(key)[..16]`.
    pub fn author(&self) -> AuthorId {
        let mut id = [0; AuthorId::BYTES];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..AuthorId::BYTES]);
        AuthorId(id)
    }

    /// Did this key sign that entry? Strict: no malleable signature, no weak key.
    pub fn verifies(&self, entry: &EntryId, signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(&signed(entry), &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
        })
    }
}

/// An author's signing key.
#[derive(Clone)]
pub struct AuthorKey(SigningKey);

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorKey({})", self.public().author())
    }
}

impl AuthorKey {
    /// From 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The bytes it was made from, for the sidecar.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs an entry's id.
    pub fn sign(&self, entry: &EntryId) -> [u8; 64] {
        self.0.sign(&signed(entry)).to_bytes()
    }
}

fn signed(entry: &EntryId) -> [u8; 45] {
    let mut message = [0; 45];
    message[..13].copy_from_slice(b"p2pdb entry 1");
    message[13..].copy_from_slice(&entry.0);
    message
}

/// `blake3(nonce, founder's key)[..16]`.
pub fn found_group(nonce: &[u8; 32], founder: &PublicKey) -> GroupId {
    let mut h = blake3::Hasher::new_derive_key("p2pdb 1 group");
    h.update(nonce).update(&founder.0);
    let mut id = [0; GroupId::BYTES];
    id.copy_from_slice(&h.finalize().as_bytes()[..GroupId::BYTES]);
    GroupId(id)
}
