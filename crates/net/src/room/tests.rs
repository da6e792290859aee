use std::sync::Arc;

use super::Room;
use crate::{
    Limits,
    queue::Queue,
    stream::{Net, Stream},
};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

fn streams(count: usize) -> Vec<Arc<Stream>> {
    let limits = Limits { streams: count, ..Limits::default() };
    let net = Net::new(limits, Arc::new(Queue::new(MIB, Arc::new(|| {}))));
    (0..count).map(|_| net.open(true).unwrap()).collect()
}

fn room() -> Room {
    Room::new(16 * MIB, 256, MIB)
}

/// Takes as much as a stream gets in frames of that cost.
fn fill(room: &Room, stream: &Arc<Stream>, cost: usize) -> usize {
    let mut held = 0;
    while room.take(stream, held, cost) {
        held += cost;
    }
    held
}

#[test]
fn a_lone_stream_gets_its_own_limit() {
    assert_eq!(fill(&room(), &streams(1)[0], 64 * KIB), MIB);
}

#[test]
fn an_empty_stream_gets_one_frame_of_any_length() {
    assert_eq!(fill(&room(), &streams(1)[0], MIB + 128), MIB + 128);
}

#[test]
fn however_many_do_not_read_each_other_stream_has_its_share() {
    for cost in [500, 8 * KIB, 64 * KIB, MIB] {
        let (room, all) = (room(), streams(256));
        let held: usize = all[..255].iter().map(|slow| fill(&room, slow, cost)).sum();
        assert!(held <= 16 * MIB, "{held}");
        assert!(fill(&room, &all[255], 8 * KIB) >= 32 * KIB);
    }
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let (room, all) = (room(), streams(3));
    for _ in 0..100 {
        let mut held: Vec<usize> = all.iter().map(|stream| fill(&room, stream, 100 * KIB)).collect();
        for held in &mut held {
            assert!(*held >= 900 * KIB, "{held}");
            while *held > 0 {
                room.give(*held, *held - 100 * KIB);
                *held -= 100 * KIB;
            }
        }
    }
}

#[test]
fn one_who_was_refused_empty_handed_is_told_of_the_next_room() {
    let room = Room::new(4 * MIB, 1024, MIB);
    let all = streams(4);
    assert!(room.take(&all[0], 0, MIB));
    assert!(!room.take(&all[1], 0, MIB));
    assert!(!room.take(&all[1], 0, MIB));
    assert!(!room.take(&all[2], 0, MIB));
    room.forget(&all[2]);
    let told = room.give(MIB, 0);
    assert_eq!(told.iter().map(|stream| stream.id).collect::<Vec<_>>(), [all[1].id]);
    assert!(room.take(&all[1], 0, MIB));
    assert!(room.give(MIB, 0).is_empty());
}
