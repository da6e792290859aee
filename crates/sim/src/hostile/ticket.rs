//! A ticket's text: it comes by mail, by a photographed screen, from anybody.

use super::{GROUP, KIB, SECRET, Target};
use p2pdb_core::codec::Write;
use p2pdb_core::limit;
use p2pdb_core::ticket::Ticket;

/// Tickets: [`Ticket::parse`], and [`Ticket::read`] behind the check that no mutation passes.
pub const TARGET: Target = Target {
    name: "ticket",
    claim,
    valid,
    kept: include_str!("kept/ticket.hex"),
    memory_base: 32 * KIB,
    memory_per_byte: 16,
};

fn claim(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).ok();
    let parsed = text.and_then(|text| Ticket::parse(text).ok());
    parsed.into_iter().chain(Ticket::read(bytes)).for_each(says_itself);
}

fn says_itself(ticket: Ticket) {
    assert!(ticket.addresses.len() <= limit::TICKET_ADDRESSES_MAX);
    // Case, white space and fields of a later version are not kept: the content is.
    assert_eq!(Ticket::parse(&ticket.to_string()), Ok(ticket), "a ticket says what it was read from");
}

fn valid() -> Vec<Vec<u8>> {
    let ticket = |addresses: &[&str]| Ticket {
        group: GROUP,
        secret: SECRET,
        epoch: 3,
        addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
    };
    let long = "/dns4/".to_owned() + &"a".repeat(240);
    let bare = ticket(&[]).to_string();
    let full = ticket(&["/ip4/192.0.2.7/tcp/4001", "/ip6/::1/tcp/1", &long]).to_string();
    let texts = [format!(" {}\n", bare.to_uppercase()), bare, full].map(String::into_bytes);
    texts.into_iter().chain([decoded()]).collect()
}

/// What a text says once it is decoded: with two addresses, and a field of a later version between them.
fn decoded() -> Vec<u8> {
    let mut out = vec![0];
    out.raw(&GROUP.0);
    out.raw(&SECRET.0);
    out.u32(3);
    for (tag, field) in [(1, "/ip4/192.0.2.7/tcp/1"), (99, "later"), (1, "")] {
        out.uvarint(tag);
        out.bytes(field.as_bytes());
    }
    out
}
