//! Tickets: all that a database needs to join a group, as one line of text.
//!
//! `p2pdb1` and base32 of: flags, group id, secret, epoch, fields, check. A ticket is a bearer secret:
//! who reads it can read and write the group. Fields are tagged and sized, so that an older reader
//! skips those that it does not know. The check catches a slip of the pen, not a forger: the secret
//! proves itself at the first HELLO.

use crate::codec::{Malformed, Reader, Write};
use crate::id::GroupId;
use crate::key::Secret;
use crate::limit;
use data_encoding::{Encoding, Specification};
use std::fmt;
use std::sync::OnceLock;

/// How every ticket of this version starts.
pub const PREFIX: &str = "p2pdb1";

const FIELD_ADDRESS: u64 = 1;
const CHECK_BYTES: usize = 3;

/// What it takes to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The group.
    pub group: GroupId,
    /// Its secret.
    pub secret: Secret,
    /// The secret's epoch.
    pub epoch: u32,
    /// Where a member listens, as multiaddresses; empty where there is no network.
    pub addresses: Vec<String>,
}

/// Why a text is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not start as one.
    #[error("a ticket starts with {PREFIX}; ask for it with SELECT p2p_invite() on a database of the group")]
    Prefix,
    /// A letter that is not in the alphabet.
    #[error("the ticket has a character that no ticket has; copy it whole, without spaces inside")]
    Letters,
    /// The check does not fit.
    #[error("the ticket is damaged or cut short; copy it whole")]
    Check,
    /// It can't be read.
    #[error("the ticket can't be read: {0}")]
    Malformed(#[from] Malformed),
}

/// Crockford's alphabet in lower case, reading upper case and the letters that look alike as well.
fn base32() -> &'static Encoding {
    static BASE32: OnceLock<Encoding> = OnceLock::new();
    BASE32.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
        spec.translate.from.push_str("ABCDEFGHJKMNPQRSTVWXYZOoIiLl");
        spec.translate.to.push_str("abcdefghjkmnpqrstvwxyz001111");
        // The specification is a constant: that it is a valid one is tested below.
        spec.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
    })
}

impl Ticket {
    /// Reads one; white space around it does not matter.
    ///
    /// # Errors
    /// [`TicketError`], saying what to do.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let rest = text.trim().get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX));
        let rest = rest.and(text.trim().get(PREFIX.len()..)).ok_or(TicketError::Prefix)?;
        if rest.len() > limit::TICKET_CHARS_MAX {
            return Err(TicketError::Check);
        }
        // Crockford's alphabet leaves out one letter. A text of letters that can't be decoded has a length that none has.
        let is_letter = |b: u8| b.is_ascii_alphanumeric() && !b.eq_ignore_ascii_case(&b'u');
        if !rest.bytes().all(is_letter) {
            return Err(TicketError::Letters);
        }
        let bytes = base32().decode(rest.as_bytes()).map_err(|_| TicketError::Check)?;
        let at = bytes.len().checked_sub(CHECK_BYTES).ok_or(TicketError::Check)?;
        let (body, sum) = bytes.split_at(at);
        if check(body) != sum {
            return Err(TicketError::Check);
        }
        Ok(Self::read(body)?)
    }

    /// Reads what stands between prefix and check, decoded.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no ticket of this version.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(body);
        let flags = r.u8("ticket flags")?;
        if flags != 0 {
            return Err(Malformed::Unknown { what: "ticket flags", got: flags.into() });
        }
        let group = GroupId::read(&mut r)?;
        let secret = Secret(r.array("secret")?);
        let epoch = r.u32("epoch")?;
        let mut addresses = Vec::new();
        while !r.is_empty() {
            let tag = r.uvarint("field")?;
            let bytes = r.bytes("field", limit::ADDRESS_BYTES_MAX)?;
            if tag == FIELD_ADDRESS && addresses.len() < limit::TICKET_ADDRESSES_MAX {
                let address = std::str::from_utf8(bytes).map_err(|_| Malformed::Rule("an address is not text"))?;
                addresses.push(address.to_owned());
            }
        }
        Ok(Self { group, secret, epoch, addresses })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(96);
        out.u8(0);
        out.raw(&self.group.0);
        out.raw(&self.secret.0);
        out.u32(self.epoch);
        for address in self.addresses.iter().take(limit::TICKET_ADDRESSES_MAX) {
            out.uvarint(FIELD_ADDRESS);
            out.bytes(address.as_bytes());
        }
        let sum = check(&out);
        out.raw(&sum);
        write!(f, "{PREFIX}{}", base32().encode(&out))
    }
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut h = blake3::Hasher::new_derive_key("p2pdb 1 ticket");
    h.update(body);
    let [a, b, c, ..] = *h.finalize().as_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests;
