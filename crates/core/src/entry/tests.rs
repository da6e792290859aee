use super::*;
use proptest::prelude::*;

fn key() -> AuthorKey {
    AuthorKey::from_seed(&[7; 32])
}

fn header(seq: u64) -> Header {
    let (secret, group, key) = (Secret([9; 32]), GroupId([1; 16]), key().public());
    let first = First { key, epoch: 0, mac: secret.author_mac(group, &key) };
    Header {
        group,
        author: key.author(),
        seq: Seq(seq),
        prev: EntryId(if seq == 1 { [0; 32] } else { [3; 32] }),
        deps: vec![EntryId([4; 32]), EntryId([5; 32])],
        clock: Clock::from_ms(1_750_000_000_000),
        schema: [6; 16],
        certificate: [0; 32],
        first: (seq == 1).then_some(first),
        continues: false,
        body_bytes: 0,
        body_hash: [0; 32],
    }
}

#[test]
fn the_bytes_of_version_1_stay_as_they_are() {
    let entry = Entry::seal(header(1), crate::body::pack(b"golden"), &key());
    assert_eq!(entry.to_bytes().len(), 297);
    assert_eq!(entry.id.to_string(), include_str!("tests/golden.id").trim());
    let hex: String = entry.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, include_str!("tests/golden.hex").trim());
}

#[test]
fn an_entry_reads_back_and_proves_its_author() {
    for seq in [1, 2, 1 << 40] {
        let entry = Entry::seal(header(seq), crate::body::pack(b"rows"), &key());
        let read = Entry::from_bytes(&entry.to_bytes()).unwrap();
        assert_eq!(read, entry);
        assert!(read.is_signed_by(&key().public()));
        assert!(!read.is_signed_by(&AuthorKey::from_seed(&[8; 32]).public()));
    }
}

#[test]
fn only_who_holds_the_secret_can_start_a_chain() {
    let entry = Entry::seal(header(1), Vec::new(), &key());
    assert!(check_first(&entry.header, &Secret([9; 32])).is_ok());
    assert!(check_first(&entry.header, &Secret([8; 32])).is_err());
}

proptest! {
    #[test]
    fn a_changed_byte_never_passes_for_the_same_entry(at: prop::sample::Index, flip in 1u8..) {
        let entry = Entry::seal(header(2), crate::body::pack(b"some rows"), &key());
        let mut bytes = entry.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(read) = Entry::from_bytes(&bytes) {
            prop_assert!(!read.is_signed_by(&key().public()));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Entry::from_bytes(&bytes);
    }
}
