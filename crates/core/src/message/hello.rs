//! HELLO: the proof of membership (DESIGN §6.2).
//!
//! Bytes: `01 | minor u8 | features uvarint | epoch u32 | tag 16 | (later fields) | mac 32`. The tag names the group to
//! one who holds its secret and to nobody else; the MAC covers all bytes before it, the transport keys of both ends
//! and the role, so that it proves nothing on another connection or in the other direction.

use crate::codec::{Malformed, Reader, Write};
use crate::id::GroupId;
use crate::key::{self, Mac, Secret};
use crate::limit;

/// This version's minor number. A higher one may append fields before the MAC, which are hashed and skipped.
pub const MINOR: u8 = 0;

const MAC_BYTES: usize = 32;

/// A HELLO as read or to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's minor version.
    pub minor: u8,
    /// Feature bits; both sides use what both offer.
    pub features: u64,
    /// The epoch of the secret it is made with.
    pub epoch: u32,
    /// [`Secret::hello_tag`].
    pub tag: [u8; 16],
    /// Fields of a later minor version, as they stand.
    pub later: Vec<u8>,
    /// [`Secret::hello_mac`] over all bytes before it.
    pub mac: Mac,
}

/// Which end of which connection speaks.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The transport key of the one who dialed.
    pub dialer: &'a [u8],
    /// The transport key of the other.
    pub listener: &'a [u8],
}

impl Hello {
    /// The HELLO of one end.
    pub fn new(group: GroupId, secret: &Secret, epoch: u32, features: u64, ends: Ends<'_>, is_dialer: bool) -> Self {
        let tag = secret.hello_tag(group, ends.dialer, ends.listener);
        let mut hello = Self { minor: MINOR, features, epoch, tag, later: Vec::new(), mac: [0; MAC_BYTES] };
        hello.mac = secret.hello_mac(is_dialer, ends.dialer, ends.listener, &hello.hashed());
        hello
    }

    /// Reads a whole frame, type byte included. Says nothing yet about membership.
    ///
    /// # Errors
    /// [`Malformed`] if it is none; a stranger must not learn which.
    pub fn read(frame: &[u8]) -> Result<Self, Malformed> {
        if frame.len() > limit::HELLO_BYTES_MAX {
            let (got, max) = (frame.len() as u64, limit::HELLO_BYTES_MAX as u64);
            return Err(Malformed::OverLimit { what: "HELLO length", got, max });
        }
        let mut r = Reader::new(frame);
        if r.u8("frame type")? != super::HELLO {
            return Err(Malformed::Rule("the first frame is not HELLO"));
        }
        let minor = r.u8("minor version")?;
        let features = r.uvarint("features")?;
        let epoch = r.u32("epoch")?;
        let tag = r.array("tag")?;
        let later_bytes = r.rest().len().checked_sub(MAC_BYTES).ok_or(Malformed::Truncated("MAC"))?;
        if minor == MINOR && later_bytes > 0 {
            return Err(Malformed::Trailing(later_bytes));
        }
        let later = r.raw(later_bytes, "later fields")?.to_vec();
        let mac = r.array("MAC")?;
        Ok(Self { minor, features, epoch, tag, later, mac })
    }

    /// The frame's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.raw(&self.hashed());
        out.raw(&self.mac);
    }

    /// Does the sender hold the group's secret, and does it speak on this very connection?
    pub fn proves(&self, group: GroupId, secret: &Secret, ends: Ends<'_>, is_dialer: bool) -> bool {
        let mac = secret.hello_mac(is_dialer, ends.dialer, ends.listener, &self.hashed());
        let tag = secret.hello_tag(group, ends.dialer, ends.listener);
        // Both are computed and compared whatever the first says: the time tells nothing.
        key::equal(&mac, &self.mac) & key::equal(&widen(&tag), &widen(&self.tag))
    }

    fn hashed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.u8(super::HELLO);
        out.u8(self.minor);
        out.uvarint(self.features);
        out.u32(self.epoch);
        out.raw(&self.tag);
        out.raw(&self.later);
        out
    }
}

/// Which of `groups` a dialer's HELLO is for, by its place; none if it is for none of them. A listener with several groups,
/// or several epochs of one, calls this before it starts a session.
pub fn find_group<'s>(
    hello: &Hello,
    ends: Ends<'_>,
    groups: impl IntoIterator<Item = (GroupId, &'s Secret)>,
) -> Option<usize> {
    // All are tried: how long the answer takes tells nothing of which one it was.
    let mut found = None;
    for (at, (group, secret)) in groups.into_iter().enumerate() {
        if hello.proves(group, secret, ends, true) {
            found = Some(at);
        }
    }
    found
}

fn widen(tag: &[u8; 16]) -> Mac {
    let mut wide = [0; MAC_BYTES];
    wide[..16].copy_from_slice(tag);
    wide
}
