use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_number_has_one_encoding_and_reads_back(v: u64, s: i64) {
        let mut out = Vec::new();
        out.uvarint(v);
        out.varint(s);
        let mut r = Reader::new(&out);
        prop_assert_eq!(r.uvarint("v"), Ok(v));
        prop_assert_eq!(r.varint("s"), Ok(s));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let mut r = Reader::new(&bytes);
        while !r.is_empty() {
            if r.uvarint("x").is_err() || r.bytes("y", 16).is_err() {
                break;
            }
        }
    }
}

#[test]
fn a_padded_number_is_refused() {
    assert_eq!(Reader::new(&[0x80, 0x00]).uvarint("x"), Err(Malformed::Varint));
    assert_eq!(Reader::new(&[0xff; 10]).uvarint("x"), Err(Malformed::Varint));
}

#[test]
fn a_claim_the_bytes_cannot_hold_is_refused_before_it_allocates() {
    let mut out = Vec::new();
    out.uvarint(u64::MAX);
    assert!(matches!(Reader::new(&out).items("rows", 1), Err(Malformed::OverLimit { max: 0, .. })));
    assert!(matches!(Reader::new(&out).bytes("blob", 100), Err(Malformed::OverLimit { max: 100, .. })));
}
