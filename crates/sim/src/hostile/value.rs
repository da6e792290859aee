//! The smallest parts: values, names and dots as they stand in canonical keys, cells and stamps as they stand in bodies.

use super::{KIB, Target, key};
use p2pdb_core::body::{Authors, Cell, Coder};
use p2pdb_core::clock::{Clock, Stamp};
use p2pdb_core::codec::{Malformed, Reader};
use p2pdb_core::id::{AuthorId, Dot, Seq};
use p2pdb_core::name::{Collation, Name, key_name, key_values};
use p2pdb_core::value::Value;

/// Values: [`Value::read`], [`Name::read`], [`Dot::read`], [`key_values`] and the readers of [`Coder`].
pub const TARGET: Target = Target {
    name: "value",
    claim,
    valid,
    kept: include_str!("kept/value.hex"),
    memory_base: 64 * KIB,
    memory_per_byte: 160,
};

fn claim(bytes: &[u8]) {
    one_encoding(bytes, "value", Value::read, Value::write);
    one_encoding(bytes, "name", Name::read, Name::write);
    one_encoding(bytes, "dot", Dot::read, Dot::write);
    key_has_one_encoding(bytes);
    coded_parts_have_one_encoding(bytes);
}

/// Reads one thing after the other while they read, and compares the bytes of each with what it is written as.
fn one_encoding<T>(
    bytes: &[u8],
    what: &str,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
    write: impl Fn(&T, &mut Vec<u8>),
) {
    let mut r = Reader::new(bytes);
    while !r.is_empty() {
        let before = r.rest();
        let Ok(thing) = read(&mut r) else { return };
        let mut again = Vec::new();
        write(&thing, &mut again);
        assert_eq!(again, before[..before.len() - r.rest().len()], "a {what} has one encoding");
    }
}

fn key_has_one_encoding(bytes: &[u8]) {
    let Ok(values) = key_values(bytes) else { return };
    let mut again = Vec::new();
    values.iter().for_each(|v| v.write(&mut again));
    assert_eq!(again, bytes, "the values of a key are its bytes");
}

/// Cells, names, dots and stamps by turns, by one coder: each is a difference to what came before.
fn coded_parts_have_one_encoding(bytes: &[u8]) {
    let mut authors = Authors::new(key(1).public().author());
    let (mut reader, mut writer) = (Coder::default(), Coder::default());
    let mut r = Reader::new(bytes);
    while !r.is_empty() {
        let before = r.rest();
        let mut again = Vec::new();
        let Ok(cell) = reader.read_cell(&mut r, &authors) else { return };
        writer.write_cell(&cell, &mut authors, &mut again);
        if r.rest().len() % 3 == 0 {
            let Ok(stamp) = reader.read_stamp(&mut r, &authors) else { return };
            writer.write_stamp(&stamp, &mut authors, &mut again);
        }
        if r.rest().len() % 5 == 0 {
            let Ok(name) = reader.read_name(&mut r, &authors) else { return };
            writer.write_name(&name, &mut authors, &mut again);
        }
        assert_eq!(again, before[..before.len() - r.rest().len()], "a coded part has one encoding");
    }
}

fn valid() -> Vec<Vec<u8>> {
    let own = key(1).public().author();
    let dot = |op| Dot { author: own, seq: Seq(7), op };
    let born = Name::Born { dot: dot(3), id: -5 };
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(0.1),
        Value::Real(-0.0),
        Value::Text(b"t\xff\0".to_vec()),
        Value::Blob(b"blob".to_vec()),
        Value::Ref(Box::new(born.clone())),
    ];
    let mut plain = Vec::new();
    values.iter().for_each(|v| v.write(&mut plain));
    let key = key_name(values.iter().map(|v| (v, Collation::RTrim)));
    let mut names = Vec::new();
    born.write(&mut names);
    key.write(&mut names);
    let Name::Key(key_bytes) = &key else { return Vec::new() };
    vec![plain, names, key_bytes.to_vec(), dots(&dot(0)), coded(own, &values, &key)]
}

fn dots(dot: &Dot) -> Vec<u8> {
    let mut out = Vec::new();
    for seq in [1, 300, u64::MAX >> 1] {
        Dot { author: AuthorId([9; 16]), seq: Seq(seq), op: u32::MAX }.write(&mut out);
        dot.write(&mut out);
    }
    out
}

/// Everything a coder writes, as [`coded_parts_have_one_encoding`] may read it or not: that hangs on lengths.
fn coded(own: AuthorId, values: &[Value], name: &Name) -> Vec<u8> {
    let (mut coder, mut authors, mut out) = (Coder::default(), Authors::new(own), Vec::new());
    for value in values {
        coder.write_cell(&Cell::from(value), &mut authors, &mut out);
    }
    coder.write_cell(&Cell::Long { is_text: true, part: 3, bytes: 100_000 }, &mut authors, &mut out);
    coder.write_cell(&Cell::Ref(name.clone()), &mut authors, &mut out);
    let stamp = Stamp { clock: Clock::from_ms(1_750_000_000_000), author: own, seq: Seq(2), op: 1 };
    coder.write_stamp(&stamp, &mut authors, &mut out);
    out
}
