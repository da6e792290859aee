use super::*;

/// A dot in a peer's key is stored in signed integers like any other: a number beyond them would name another row.
#[test]
fn a_dots_seq_counts_from_one_and_fits_a_signed_integer() {
    let read = |seq| {
        let mut out = Vec::new();
        Dot { author: AuthorId([1; 16]), seq: Seq(seq), op: 7 }.write(&mut out);
        Dot::read(&mut Reader::new(&out)).map(|dot| dot.seq)
    };
    for seq in [1, 2, u64::MAX >> 1] {
        assert_eq!(read(seq), Ok(Seq(seq)));
    }
    for seq in [0, 1 << 63, u64::MAX] {
        assert_eq!(read(seq), Err(Malformed::Rule("a dot's seq counts from 1 and stays below 2^63")));
    }
}
