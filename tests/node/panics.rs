//! A bug of ours must not be the host's: a panic in a turn is caught, and too many of them end the node, not the process.

use p2pdb::node::{Busy, Gate, Hosts, Node, NodeError, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::world::{World, one, patiently};

const SALE: &str = "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT)";

/// A gate with a bug, so many times.
struct Panics(AtomicUsize);

impl Gate for Panics {
    fn enter(&self, work: &mut dyn FnMut(Hosts)) -> Result<(), Busy> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "planted");
        work(Hosts::Idle);
        Ok(())
    }
}

/// A tracked database that nobody has open, with a change that is not sealed; and its node behind a gate with that many bugs.
fn buggy(world: &World, panics: usize) -> Node {
    drop(world.tracked("a", SALE));
    world.plain("a").execute_batch("INSERT INTO sale(item) VALUES('tea')").unwrap();
    Node::attach(&world.path("a"), Arc::new(Panics(AtomicUsize::new(panics)))).unwrap()
}

#[test]
fn a_panic_in_a_turn_is_caught_and_the_node_restarts_by_itself() {
    let world = World::new();
    let node = buggy(&world, 2);
    // Nothing is asked of it: it must come back on its own.
    patiently(|| node.view().state == State::Local, || format!("{:?}", node.view()));
    node.seal(10_000).unwrap();
    assert_eq!(node.view().last_error, None);
    node.leave(0);
    assert_eq!(one(&world.plain("a"), "SELECT count(*) FROM _p2p_mark"), "0");
}

#[test]
fn who_asked_in_a_turn_that_panics_is_told_so() {
    let world = World::new();
    let node = buggy(&world, 1);
    let mut told = Vec::new();
    patiently(
        || match node.seal(10_000) {
            Ok(_) => true,
            Err(why) => {
                told.push(why);
                false
            }
        },
        || format!("{:?}", node.view()),
    );
    for why in told {
        assert_eq!(why, NodeError::Refused("internal error, please report it: planted".into()));
    }
    node.leave(0);
}

#[test]
fn after_five_panics_in_a_row_the_node_stands_still_and_says_so() {
    let world = World::new();
    let node = buggy(&world, usize::MAX);
    patiently(|| node.view().state == State::Degraded, || format!("{:?}", node.view()));
    let view = node.view();
    assert_eq!(view.detail, "stopped after repeated internal errors; writes are still captured");
    assert_eq!(view.last_error.unwrap(), "internal error, please report it: planted");
    let refused = node.sync(1_000).unwrap_err();
    let NodeError::Refused(why) = refused else { panic!("{refused}") };
    assert!(why.starts_with("the node stopped after repeated internal errors; close all connections"), "{why}");
    node.leave(0);
    // Opened again, it has another chance.
    let conn = world.open("a");
    one(&conn, "SELECT p2p_seal()");
    assert_eq!(one(&conn, "SELECT pending || ' ' || state FROM p2p_status"), "0 local");
}

#[test]
fn one_database_s_panics_are_not_another_s() {
    let world = World::new();
    let node = buggy(&world, usize::MAX);
    let other = world.tracked("b", SALE);
    patiently(|| node.view().state == State::Degraded, || format!("{:?}", node.view()));
    other.execute_batch("INSERT INTO sale(item) VALUES('milk')").unwrap();
    one(&other, "SELECT p2p_seal()");
    assert_eq!(one(&other, "SELECT pending FROM p2p_status"), "0");
    assert_eq!(one(&other, "SELECT state FROM p2p_status"), "local");
    node.leave(0);
}
