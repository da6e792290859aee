"""More than one SQLite in a process, and one that is too old."""

import shutil
import subprocess

from host import SO, VENV, Shell, Skip, equal, found, run, until

OLD = r"""
#include <sqlite3ext.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* An SQLite of another age: a table with nothing in it but what every SQLite since 3.5 has. Any other call is one to NULL. */
static int version;
static int number(void) { return version; }
static char *print(const char *format, ...) {
  va_list args; char *text = malloc(1000); va_start(args, format); vsnprintf(text, 1000, format, args); va_end(args); return text;
}
int main(int count, char **args) {
  static sqlite3_api_routines api;
  void *library = dlopen(args[1], RTLD_NOW | RTLD_GLOBAL);
  if (!library) { puts(dlerror()); return 2; }
  int (*load)(void *, char **, const sqlite3_api_routines *) = (int (*)(void *, char **, const sqlite3_api_routines *))dlsym(library, args[2]);
  version = atoi(args[3]);
  api.libversion_number = number; api.mprintf = print;
  char *message = NULL;
  int code = load(NULL, &message, &api);
  printf("%d %s\n", code, message ? message : "-");
  code = load(NULL, NULL, &api);                       /* a host that wants no message */
  printf("%d\n", code);
  return 0;
}
"""


def an_sqlite_before_the_floor_gets_an_error_and_lives():
    compiler = shutil.which("cc")
    if not compiler:
        raise Skip("no C compiler")
    with open("old.c", "w") as f:
        f.write(OLD)
    subprocess.run([compiler, "-o", "old", "old.c", "-ldl"], check=True)
    for entry in ("sqlite3_extension_init", "sqlite3_p2pdb_init", "sqlite3_ppdb_init"):
        for version, text in (("3034000", "3.34.0"), ("3034001", "3.34.1"), ("3007013", "3.7.13")):
            done = subprocess.run(["./old", SO, entry, version], capture_output=True, text=True)
            equal((done.returncode, done.stdout, done.stderr),
                  (0, f"1 p2pdb needs SQLite 3.35.0 or later, this is {text}\n1\n", ""), f"{entry} of {version}")


TWO = """
from host import *
import {other} as second
def open_second(path):
    return {open_second}
c = connect("b.db")
one(c, "SELECT p2p_join(?)", sys.argv[1])
until("schema", lambda: one(c, "SELECT count(*) FROM sqlite_schema WHERE name='sale'"))
d = open_second("other.db")
for path in ("other.db", "b.db"):
    e = open_second(path)
    try:
        (e.load_extension if hasattr(e, "load_extension") else e.loadextension)({so!r})
        raise SystemExit("it was loaded")
    except (sqlite3.Error, second.Error) as why:
        assert "another SQLite library" in str(why), why
    e.close()
# The refusal must not have changed who is served.
c.execute("INSERT INTO sale(item) VALUES('by the first')")
# Two SQLite libraries of one process must not have one file open at once, with us or without: each drops the locks of the other.
c.close()
e = open_second("b.db")
e.execute("INSERT INTO sale(item) VALUES('by the second')")
e.close()
c = connect("b.db")
until("level", lambda: one(c, "SELECT state FROM p2p_status") == "level")
print(one(c, "SELECT p2p_sync(5000)"), one(c, "SELECT count(*) FROM sale"))
"""


def _second(other, open_second):
    if not VENV.exists() or subprocess.run([VENV, "-c", f"import {other}"], capture_output=True).returncode:
        raise Skip(f"{other} could not be installed")
    a = Shell("a.db")
    ticket = found(a)
    out = run(TWO.format(other=other, open_second=open_second, so=SO), ticket, python=VENV)
    equal(out.strip(), "level with 1 peer 2", "what the host saw")
    until("both rows arrive", lambda: a.run("SELECT count(*) FROM sale") == "2")


def apsw_beside_pythons_sqlite_is_refused_and_captured():
    _second("apsw", "(lambda x: (x.enable_load_extension(True), x)[1])(second.Connection(path))")


def pysqlite3_beside_pythons_sqlite_is_refused_and_captured():
    _second("pysqlite3", "(lambda x: (x.enable_load_extension(True), x)[1])(second.connect(path, isolation_level=None))")


def whichever_library_loads_first_is_served():
    """The other way round: Python's own is the second."""
    if not VENV.exists() or subprocess.run([VENV, "-c", "import apsw"], capture_output=True).returncode:
        raise Skip("apsw could not be installed")
    a = Shell("a.db")
    ticket = found(a)
    out = run(f"""
from host import *
import apsw
c = apsw.Connection("b.db"); c.enable_load_extension(True); c.load_extension(SO)
try:
    connect("plain.db")
    raise SystemExit("it was loaded")
except sqlite3.OperationalError as why:
    assert "another SQLite library" in str(why), why
c.execute("SELECT p2p_join(?)", (sys.argv[1],)).fetchall()
until("schema", lambda: c.execute("SELECT count(*) FROM sqlite_schema WHERE name='sale'").fetchall()[0][0])
c.execute("INSERT INTO sale(item) VALUES('x')")
print(c.execute("SELECT p2p_sync(5000)").fetchall()[0][0])
c.close()
""", ticket, python=VENV)
    equal(out.strip(), "level with 1 peer", "apsw")
    until("the row arrives", lambda: a.run("SELECT count(*) FROM sale") == "1")
