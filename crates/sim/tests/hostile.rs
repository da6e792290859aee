//! What the readers of a peer's bytes promise, put to the test without a fuzzer: valid inputs, those that fuzzing came
//! upon, and seeded mutations of both.

#[cfg(not(any(
    feature = "bug-apply-without-seal",
    feature = "bug-frontier-before-apply",
    feature = "bug-tie-ignores-author"
)))]
mod honest {
    use p2pdb_sim::hostile::mutate::mutate;
    use p2pdb_sim::hostile::{Target, body, entry, frame, session, ticket, value};
    use p2pdb_sim::random::Random;

    /// Mutations that each target is put to: seconds in a test, more is a fuzzer's business.
    const MUTATIONS: u64 = 20_000;

    /// Puts the claim to an input and looks at the memory that it took.
    fn put(target: &Target, input: &[u8], what: &str) {
        let claimed = std::panic::AssertUnwindSafe(|| (target.claim)(input));
        let mut outcome = Ok(());
        let taken = allocation_counter::measure(|| outcome = std::panic::catch_unwind(claimed)).bytes_max;
        let hex: String = input.iter().map(|b| format!("{b:02x}")).collect();
        assert!(outcome.is_ok(), "{} does not hold for {what}: {hex}", target.name);
        let max = target.memory_bytes_max(input.len()) as u64;
        assert!(taken <= max, "{} took {taken} bytes of at most {max} for {what}: {hex}", target.name);
    }

    fn hold(target: &Target) {
        let inputs = target.inputs();
        inputs.iter().enumerate().for_each(|(n, input)| put(target, input, &format!("input {n}")));
        for seed in 0..MUTATIONS {
            put(target, &mutate(&mut Random::new(seed), &inputs), &format!("seed {seed}"));
        }
    }

    #[test]
    fn frames_are_read_or_refused() {
        hold(&frame::TARGET);
    }

    #[test]
    fn a_session_outlives_whatever_a_peer_does() {
        hold(&session::TARGET);
    }

    #[test]
    fn entries_are_read_or_refused() {
        hold(&entry::TARGET);
    }

    #[test]
    fn bodies_are_read_or_refused() {
        hold(&body::TARGET);
    }

    #[test]
    fn values_are_read_or_refused() {
        hold(&value::TARGET);
    }

    #[test]
    fn tickets_are_read_or_refused() {
        hold(&ticket::TARGET);
    }
}
