//! Enough seeds to notice when the simulator itself goes blind. What a seed once found has a test of its own in
//! `histories.rs`: a seed means another history as soon as the simulator draws one number more.

#[cfg(not(any(
    feature = "bug-apply-without-seal",
    feature = "bug-frontier-before-apply",
    feature = "bug-tie-ignores-author"
)))]
mod honest {
    use p2pdb_sim::run;

    #[test]
    fn a_seed_runs_the_same_way_twice() {
        for seed in 0..5 {
            assert_eq!(run(seed).unwrap(), run(seed).unwrap(), "seed {seed}");
        }
    }

    #[test]
    fn storms_do_what_they_are_for() {
        let reports: Vec<_> = (100..140).map(|seed| run(seed).unwrap()).collect();
        let sum = |what: fn(&p2pdb_sim::Report) -> u64| reports.iter().map(what).sum::<u64>();
        assert!(sum(|r| r.entries) > 1_000, "users write");
        assert!(sum(|r| r.crashes) > 10 && sum(|r| r.undone) > 0, "machines crash and lose what was not durable");
        assert!(sum(|r| r.connections) > 100, "lines drop and are dialed again");
        assert!(sum(|r| r.renumbered) > 10 && sum(|r| r.conflicts) > 10, "writes collide");
    }
}
