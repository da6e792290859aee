use super::*;

#[test]
fn a_sidecar_comes_back_as_it_was_and_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("till.db");
    assert!(Sidecar::load(&db).unwrap().is_none());
    let mut sidecar = Sidecar::found().unwrap();
    sidecar.remember("/ip4/127.0.0.1/tcp/1");
    sidecar.save(&db).unwrap();
    let again = Sidecar::load(&db).unwrap().unwrap();
    assert_eq!(again.identity().group, sidecar.identity().group);
    assert_eq!(again.identity().key.seed(), sidecar.identity().key.seed());
    assert_eq!(again.peers, ["/ip4/127.0.0.1/tcp/1"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(Sidecar::path(&db)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_damaged_sidecar_is_told_and_never_allocates_by_its_lengths() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("till.db");
    let path = Sidecar::path(&db);
    for bytes in [&b""[..], &[9, 9], &[1], &[1; 90], &[&[1][..], &[0xff; 200][..]].concat()] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Sidecar::load(&db), Err(SidecarError::Damaged(_))), "{bytes:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_sidecar_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("till.db");
    Sidecar::found().unwrap().save(&db).unwrap();
    let path = Sidecar::path(&db);
    let good = fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bad).unwrap();
        assert!(matches!(Sidecar::load(&db), Err(SidecarError::Damaged(_))), "bit {bit}");
    }
}

#[test]
fn a_sidecar_knows_whether_it_was_copied_with_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let (db, copy) = (dir.path().join("till.db"), dir.path().join("copy.db"));
    fs::write(&db, "rows").unwrap();
    Sidecar::found().unwrap().save(&db).unwrap();
    let sidecar = Sidecar::load(&db).unwrap().unwrap();
    fs::copy(&db, &copy).unwrap();
    fs::write(&db, "more rows").unwrap();
    assert!(!sidecar.is_copied(&db));
    if born(&db).is_none() {
        // This file system does not say when a file was made.
        return;
    }
    // The system stamps files by a clock of some milliseconds: a copy made later than the file has another time.
    while born(&copy) == born(&db) {
        fs::remove_file(&copy).unwrap();
        fs::copy(&db, &copy).unwrap();
    }
    assert!(sidecar.is_copied(&copy));
    // Saved beside the copy by whoever sets something first, it still knows.
    sidecar.save(&copy).unwrap();
    assert!(Sidecar::load(&copy).unwrap().unwrap().is_copied(&copy));
    let author = sidecar.identity().key.public().author();
    sidecar.with_new_author().unwrap().save(&copy).unwrap();
    let anew = Sidecar::load(&copy).unwrap().unwrap();
    assert!(!anew.is_copied(&copy));
    assert_ne!(anew.identity().key.public().author(), author);
}

#[test]
fn a_sidecar_from_before_they_knew_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("till.db");
    let sidecar = Sidecar::found().unwrap();
    let mut body = bincode::encode_to_vec(&sidecar, codec()).unwrap();
    assert_eq!(body.pop(), Some(0));
    let bytes = [&[VERSION_WITHOUT_BIRTH][..], &body, &checksum(&body)].concat();
    fs::write(Sidecar::path(&db), bytes).unwrap();
    let read = Sidecar::load(&db).unwrap().unwrap();
    assert!(read.is_homeless() && !read.is_copied(&db));
    assert_eq!(read.identity().key.seed(), sidecar.identity().key.seed());
}

#[test]
fn a_sidecar_that_was_set_aside_comes_back_or_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("till.db");
    assert!(Sidecar::set_aside(&db).unwrap().is_none());
    Sidecar::found().unwrap().save(&db).unwrap();
    let aside = Sidecar::set_aside(&db).unwrap().unwrap();
    assert!(Sidecar::load(&db).unwrap().is_none());
    aside.put_back().unwrap();
    assert!(Sidecar::load(&db).unwrap().is_some());
    // A process that dies in between leaves it aside: who leaves again takes that one away.
    drop(Sidecar::set_aside(&db).unwrap().unwrap());
    Sidecar::set_aside(&db).unwrap().unwrap().remove().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn remembered_peers_are_bounded_and_the_newest_stay() {
    let mut sidecar = Sidecar::found().unwrap();
    for i in 0..limit::PEERS_REMEMBERED_MAX + 5 {
        sidecar.remember(&format!("/ip4/127.0.0.1/tcp/{i}"));
    }
    assert_eq!(sidecar.peers.len(), limit::PEERS_REMEMBERED_MAX);
    assert_eq!(sidecar.peers[0], "/ip4/127.0.0.1/tcp/5");
}
