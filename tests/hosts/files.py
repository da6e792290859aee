"""Files that can't be written, are missing, damaged, another's, or gone: a clear word, no crash, nothing lost."""

import os
import pathlib
import shutil
import sqlite3
import subprocess

from host import PYTHON, SALE, SO, Script, Shell, Skip, connect, dump, equal, figure, found, invite, join, one, pair, plain, run, same, sound, until


def _status(conn):
    names = [d[0] for d in conn.execute("SELECT * FROM p2p_status").description]
    return dict(zip(names, conn.execute("SELECT * FROM p2p_status").fetchone()))


def _stopped_pair():
    """Two members, closed, with a row."""
    a, b = pair()
    a.ok("INSERT INTO sale(item, qty) VALUES('tea', 2)")
    until("the row arrives", lambda: b.run("SELECT count(*) FROM sale") == "1")
    a.close(), b.close()


def _as_nobody(text):
    """Runs a text as a user whom file permissions bind; root passes them."""
    drop = "import os\nif os.getuid() == 0:\n    os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    return run("from host import *\n" + drop + text)


def _open_to_nobody(*paths):
    """Gives the test's folder away, so that nobody can reach and own it."""
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "65534:65534", "."], check=True)
        # The library must be within reach too.
        for folder in (pathlib.Path(SO).parents[0], *pathlib.Path(SO).parents):
            if not os.stat(folder).st_mode & 0o001:
                raise Skip(f"{folder} is closed to other users")


def a_read_only_file_is_served_and_says_so():
    _stopped_pair()
    _open_to_nobody()
    os.chmod("b.db", 0o444)
    print(_as_nobody("""
c = sqlite3.connect("file:b.db?mode=ro", uri=True, isolation_level=None); c.enable_load_extension(True); c.load_extension(SO)
equal(one(c, "SELECT item FROM sale"), "tea")
until("the status tells", lambda: one(c, "SELECT state FROM p2p_status") in ("failing", "alone", "level"))
for sql in ("SELECT p2p_track('*')", "INSERT INTO sale(item) VALUES('x')", "SELECT p2p_leave()"):
    before = open("b.db-p2pdb", "rb").read()
    try:
        c.execute(sql).fetchall()
        raise SystemExit(sql)
    except sqlite3.OperationalError as e:
        assert str(e), e
    assert open("b.db-p2pdb", "rb").read() == before, f"the keys after {sql}"
print(c.execute("SELECT state, detail, last_error FROM p2p_status").fetchone())
c.close()
d = connect("b.db")
until("the status tells", lambda: one(d, "SELECT state FROM p2p_status") == "failing")
detail = one(d, "SELECT detail FROM p2p_status")
assert "readonly" in detail or "read-only" in detail or "permission" in detail.lower(), detail
print(detail)
d.close()
"""))
    os.chmod("b.db", 0o644)
    equal(plain("b.db", "SELECT item FROM sale"), [("tea",)], "rows")


def a_read_only_folder_is_served_and_says_so():
    _stopped_pair()
    os.mkdir("closed")
    for name in ("b.db", "b.db-p2pdb"):
        shutil.copy(name, "closed/" + name)
    plain("closed/b.db", "PRAGMA journal_mode = DELETE")
    _open_to_nobody()
    os.chmod("closed", 0o555)
    try:
        print(_as_nobody("""
c = connect("closed/b.db")
equal(one(c, "SELECT item FROM sale"), "tea")
until("the status tells", lambda: one(c, "SELECT state FROM p2p_status") == "failing")
print(c.execute("SELECT state, detail, last_error FROM p2p_status").fetchone())
try:
    c.execute("SELECT p2p_config('mdns', 'off')").fetchall()
    raise SystemExit("the sidecar was written")
except sqlite3.OperationalError as e:
    assert "folder must be writable" in str(e), e
c.close()
"""))
    finally:
        os.chmod("closed", 0o755)


def a_missing_sidecar_is_told_and_writes_are_kept_until_it_is_back():
    _stopped_pair()
    os.rename("b.db-p2pdb", "kept")
    c = connect("b.db")
    c.execute("INSERT INTO sale(item, qty) VALUES('without keys', 1)")
    status = _status(c)
    equal(status["state"], "unjoined", "state")
    assert "p2p_join" in status["detail"], status
    equal(status["pending"], 1, "pending")
    for sql in ("SELECT p2p_invite()", "SELECT p2p_seal()", "SELECT p2p_sync(100)"):
        try:
            c.execute(sql).fetchall()
            raise AssertionError(sql)
        except sqlite3.OperationalError as why:
            assert "p2p_" in str(why), why
    c.close()
    os.rename("kept", "b.db-p2pdb")
    a, b = Shell("a.db"), Shell("b.db")
    until("it is sent now", lambda: a.run("SELECT count(*) FROM sale WHERE item='without keys'") == "1")


def a_database_that_lost_its_sidecar_joins_again_by_ticket():
    a, b = pair()
    a.ok("INSERT INTO sale(item, qty) VALUES('tea', 2)")
    until("the row arrives", lambda: b.run("SELECT count(*) FROM sale") == "1")
    b.close()
    os.remove("b.db-p2pdb")
    b = Shell("b.db")
    b.ok("INSERT INTO sale(item, qty) VALUES('meanwhile', 3)")
    b.ok("UPDATE sale SET qty = 7 WHERE item = 'tea'")
    assert "new device" in b.ok(f"SELECT p2p_join('{invite(a)}')")
    until("both have both rows, each once", lambda: [s.run("SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)") for s in (a, b)]
          == ["meanwhile,tea"] * 2)
    a.ok("INSERT INTO sale(item, qty) VALUES('later', 1)")
    until("and what comes later", lambda: b.run("SELECT count(*) FROM sale") == "3")
    a.ok("SELECT p2p_sync(5000)")
    a.close(), b.close()
    same("a.db", "b.db")
    equal(plain("a.db", "SELECT qty FROM sale WHERE item = 'tea'"), [(7,)], "an edit from before")
    sound("b.db")


def a_damaged_sidecar_is_told_and_no_crash():
    _stopped_pair()
    good = pathlib.Path("b.db-p2pdb").read_bytes()
    for bad in (b"", b"\x01", b"\x02" + good[1:], good[:-5], b"\x01" + b"\xff" * 200, os.urandom(500), good[:20] + b"\xff" * 8 + good[28:]):
        pathlib.Path("b.db-p2pdb").write_bytes(bad)
        c = connect("b.db")
        c.execute("INSERT INTO sale(item, qty) VALUES('kept', 1)")
        status = _status(c)
        if bad[:20] != good[:20] or len(bad) < len(good):
            equal(status["state"], "unjoined", f"state with {bad[:8]!r}")
            assert "damaged" in status["last_error"], status
        c.close()
    pathlib.Path("b.db-p2pdb").write_bytes(good)
    a, b = Shell("a.db"), Shell("b.db")
    until("nothing was lost", lambda: a.run("SELECT count(*) FROM sale WHERE item='kept'") == "7")


def the_sidecar_of_another_database_is_told_and_mixes_nothing():
    """Two groups; the second's sidecar is put beside the first's database, as a careless copy does."""
    _stopped_pair()
    other = Shell("other.db")
    found(other)
    other.ok("INSERT INTO sale(item, qty) VALUES('of the other group', 1)")
    other.ok("SELECT p2p_sync(5000)")
    before = dump("other.db")
    shutil.copy("other.db-p2pdb", "b.db-p2pdb")
    c = connect("b.db")
    c.execute("INSERT INTO sale(item, qty) VALUES('kept', 1)")
    until("it is told", lambda: _status(c)["state"] not in ("starting",), 5)
    until("it is told", lambda: _status(c)["state"] == "failing", 5)
    detail = _status(c)["detail"]
    assert "group" in detail or "sidecar" in detail or "another" in detail, detail
    figure("another's sidecar", detail)
    equal(dump("other.db"), before, "the other group's rows")
    c.close()


def a_database_deleted_while_it_is_open_crashes_nobody():
    a, b = pair()
    c = connect("b.db")
    until("the second follows", lambda: _status(c)["state"] == "follower")
    for name in ("b.db", "b.db-wal", "b.db-shm", "b.db-p2pdb", "b.db-p2pdb.lock"):
        if os.path.exists(name):
            os.remove(name)
    for peer in (a, b):
        peer.run("INSERT INTO sale(item, qty) VALUES('after', 1)")
        peer.run("SELECT p2p_sync(1500)")
        assert peer.run("SELECT state FROM p2p_status"), "no status"
    # A sync with a peer whose file is gone may time out, and is an error then.
    c.close(), b.close(may_have_failed=True), a.close(may_have_failed=True)
    sound("a.db")


def a_folder_renamed_while_it_is_open_crashes_nobody():
    os.mkdir("one")
    a, b = Shell("a.db"), Shell("one/b.db")
    join(b, found(a))
    os.rename("one", "two")
    b.run("INSERT INTO sale(item, qty) VALUES('after the move', 1)")
    # It may time out: the node's own paths lead nowhere any more.
    b.run("SELECT p2p_sync(1000)")
    b.close(may_have_failed=True)
    b = Shell("two/b.db")
    until("it is sent", lambda: a.run("SELECT item FROM sale") == "after the move")
    b.close(), a.close()
    same("a.db", "two/b.db")


def a_full_disk_is_told_and_merging_goes_on_when_there_is_room():
    os.mkdir("small")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "small"], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        a, b = Shell("a.db"), Shell("small/b.db")
        ticket = found(a, "CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)")
        join(b, ticket)
        b.ok("INSERT INTO sale(item, qty) VALUES('early', 1)")
        until("the row arrives", lambda: a.run("SELECT count(*) FROM sale") == "1")
        filler = pathlib.Path("small/filler")
        left = shutil.disk_usage("small").free
        filler.write_bytes(b"x" * max(left - 100_000, 0))
        a.ok("INSERT INTO sale(item, qty) SELECT hex(randomblob(500)), value FROM generate_series(1, 1000)")
        until("the status tells", lambda: b.run("SELECT state FROM p2p_status") == "failing")
        detail = b.run("SELECT detail FROM p2p_status")
        assert "full" in detail, detail
        figure("a full disk", detail)
        # The host meets it too, as it would without us.
        out = b.run("INSERT INTO sale(item, qty) SELECT hex(randomblob(500)), value FROM generate_series(1, 1000)")
        assert "full" in out, out
        filler.unlink()
        until("all arrives", lambda: b.run("SELECT count(*) FROM sale") == "1001", 60)
        b.ok("INSERT INTO sale(item, qty) VALUES('late', 1)")
        until("and goes out", lambda: a.run("SELECT count(*) FROM sale") == "1002", 60)
        # A shell that met an error ends with one.
        b.process.stdin.close()
        equal(b.process.wait(10), 1, "the shell's exit status")
        a.close()
        same("a.db", "small/b.db")
        sound("small/b.db")
    finally:
        subprocess.run(["umount", "-l", "small"], check=True)


def a_copied_database_without_its_sidecar_is_a_new_device():
    _stopped_pair()
    shutil.copy("b.db", "copy.db")
    c = connect("copy.db")
    equal(_status(c)["state"], "unjoined", "state of the copy")
    c.execute("INSERT INTO sale(item, qty) VALUES('by the copy', 1)")
    c.close()
    equal(plain("b.db", "SELECT count(*) FROM sale"), [(1,)], "rows of the original")
    for name in ("b.db-p2pdb", "a.db-p2pdb"):
        equal(oct(os.stat(name).st_mode & 0o777), "0o600", f"mode of {name}")


def a_database_copied_with_its_sidecar_is_a_new_device_and_so_it_is_without():
    """Both were one author, and every peer refused the copy for ever, its keys removed or not."""
    _stopped_pair()
    for name in ("b.db", "b.db-p2pdb"):
        shutil.copy(name, name.replace("b.db", "copy.db"))
    a, b, copy = Shell("a.db"), Shell("b.db"), Shell("copy.db")
    ticket = invite(a)
    items = "SELECT group_concat(item) FROM (SELECT item FROM sale ORDER BY item)"
    for peer, item in ((b, "by b"), (copy, "by the copy")):
        peer.ok(f"INSERT INTO sale(item, qty) VALUES('{item}', 1)")
    until("all have both", lambda: [p.run(items) for p in (a, b, copy)] == ["by b,by the copy,tea"] * 3)
    equal(len({p.run("SELECT peer_id FROM p2p_status") for p in (a, b, copy)}), 3, "authors")
    copy.close()
    os.remove("copy.db-p2pdb")
    copy = Shell("copy.db")
    copy.ok("INSERT INTO sale(item, qty) VALUES('without keys', 1)")
    assert "again, as a new device" in copy.ok(f"SELECT p2p_join('{ticket}')")
    until("all have all", lambda: [p.run(items) for p in (a, b, copy)] == ["by b,by the copy,tea,without keys"] * 3)
    a.close(), b.close(), copy.close()
    for name in ("a.db", "b.db", "copy.db"):
        sound(name)
