use std::{
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::{Child, Command},
};

use super::{Host, HostError, usual_folder};

/// A folder that only its owner can enter, and the registry in it.
fn registry() -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::open(Some(&folder.path().join("p2pdb"))).unwrap();
    (folder, host)
}

/// A process that lives until its input ends.
fn other_process() -> Child {
    Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap()
}

fn of(host: &Host, process: u32) -> Host {
    Host { folder: host.folder.clone(), process }
}

#[test]
fn others_are_found_and_oneself_is_not() {
    let (_folder, host) = registry();
    let mut child = other_process();
    let other = of(&host, child.id());
    host.announce("tag", &["/ip4/127.0.0.1/tcp/1".to_owned()]).unwrap();
    other.announce("tag", &["/ip4/127.0.0.1/tcp/2".to_owned(), "/ip6/::1/tcp/2".to_owned()]).unwrap();
    other.announce("another", &["/ip4/127.0.0.1/tcp/3".to_owned()]).unwrap();
    assert_eq!(host.others("tag").unwrap(), ["/ip4/127.0.0.1/tcp/2", "/ip6/::1/tcp/2"]);
    other.announce("tag", &["/ip4/127.0.0.1/tcp/4".to_owned()]).unwrap();
    assert_eq!(host.others("tag").unwrap(), ["/ip4/127.0.0.1/tcp/4"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_dead_are_cleared_away() {
    let (_folder, host) = registry();
    let mut child = other_process();
    let other = of(&host, child.id());
    other.announce("tag", &["/ip4/127.0.0.1/tcp/2".to_owned()]).unwrap();
    fs::write(host.folder.join(format!("tag.{}~", child.id())), "half").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(host.others("any").unwrap().is_empty());
    assert_eq!(fs::read_dir(&host.folder).unwrap().count(), 0);
}

#[test]
fn an_announcement_is_withdrawn_once_and_again_and_never_by_a_child() {
    let (_folder, host) = registry();
    host.announce("tag", &["/ip4/127.0.0.1/tcp/1".to_owned()]).unwrap();
    of(&host, 1).withdraw("tag").unwrap();
    assert_eq!(fs::read_dir(&host.folder).unwrap().count(), 1);
    host.withdraw("tag").unwrap();
    host.withdraw("tag").unwrap();
    assert_eq!(fs::read_dir(&host.folder).unwrap().count(), 0);
}

#[test]
fn folder_and_file_are_for_the_user_alone() {
    let (_folder, host) = registry();
    host.announce("tag", &["x".to_owned()]).unwrap();
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&host.folder), 0o700);
    assert_eq!(mode(&host.folder.join(format!("tag.{}", std::process::id()))), 0o600);
}

#[test]
fn a_folder_that_is_open_or_a_link_is_refused() {
    let (folder, host) = registry();
    let link = folder.path().join("link");
    symlink(&host.folder, &link).unwrap();
    assert!(matches!(Host::open(Some(&link)), Err(HostError::Folder { .. })));
    fs::set_permissions(&host.folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Host::open(Some(&host.folder)), Err(HostError::Folder { .. })));
}

#[test]
fn what_others_put_there_harms_nobody() {
    let (folder, host) = registry();
    let mut child = other_process();
    let name = |tag: &str| host.folder.join(format!("{tag}.{}", child.id()));
    fs::write(name("long"), "a".repeat(100_000)).unwrap();
    fs::write(name("binary"), [0xff, 0xfe, 0x0a]).unwrap();
    fs::write(name("odd"), "\n\n\x1b[31m\n/ip4/127.0.0.1/tcp/1\n").unwrap();
    fs::create_dir(name("dir")).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "/ip4/127.0.0.1/tcp/9\n").unwrap();
    symlink(&secret, name("link")).unwrap();
    for tag in ["long", "binary", "dir", "link"] {
        assert!(host.others(tag).unwrap().is_empty(), "{tag}");
    }
    assert_eq!(host.others("odd").unwrap(), ["/ip4/127.0.0.1/tcp/1"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_tag_can_not_leave_the_folder() {
    let (_folder, host) = registry();
    for tag in ["", "..", "a/b", "a.b", "a\0b", &"a".repeat(65)] {
        assert!(matches!(host.announce(tag, &[]), Err(HostError::Tag(_))), "{tag:?}");
        assert!(matches!(host.others(tag), Err(HostError::Tag(_))), "{tag:?}");
    }
    host.announce(&"a".repeat(64), &[]).unwrap();
}

#[test]
fn the_folder_is_the_first_that_is_set() {
    let with = |set: &[(&str, &str)]| {
        usual_folder(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| OsString::from(value)))
    };
    let (ours, standard) = (("P2PDB_RUNTIME_DIR", "/ours"), ("XDG_RUNTIME_DIR", "/run/user/7"));
    assert_eq!(with(&[standard, ours]), PathBuf::from("/ours"));
    assert_eq!(with(&[standard]), PathBuf::from("/run/user/7/p2pdb"));
    let last = std::env::temp_dir().join(format!("p2pdb-{}", crate::os::user()));
    assert_eq!(with(&[("XDG_RUNTIME_DIR", "relative")]), last);
    assert_eq!(with(&[("XDG_RUNTIME_DIR", ""), ("P2PDB_RUNTIME_DIR", "")]), last);
}
