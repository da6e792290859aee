#!/usr/bin/python3
"""Runs the tests with real applications: `run.py [-j N] [WORD...]`, as tests/hosts/claims.py says. P2PDB_SOAK=1 runs the full counts. An exit
status of 77 says that the applications could not be fetched, so nothing ran.

The applications are LibrePOS (a till, Flask and SQLAlchemy) and django-oscar (a shop, Django), fetched once through pip into an
environment of their own, target/apps. The extension is target/debug/libp2pdb.so, or $P2PDB_SO.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "hosts")]
sys.dont_write_bytecode = True

import claims  # noqa: E402  from the folders above

MODULES = ["tills", "shops", "editors", "rebuilt"]
NOT_FETCHED = 77
LIMIT_SECONDS = 3600 if os.environ.get("P2PDB_SOAK") == "1" else 240


def prepare():
    """The extension, and an environment with the applications."""
    import member
    if not pathlib.Path(member.SO).exists():
        subprocess.run(["cargo", "build", "-q", "-p", "p2pdb-ext"], cwd=member.ROOT, check=True)
    wanted = (HERE / "requirements.txt").read_text()
    made = member.VENV.parent.parent / "made-from.txt"
    if made.exists() and made.read_text() == wanted:
        return None
    shutil.rmtree(made.parent, ignore_errors=True)
    # Debian's interpreter: the one that is first on the PATH is often built without extensions.
    done = subprocess.run([member.PYTHON, "-m", "venv", made.parent], capture_output=True, text=True)
    if done.returncode == 0:
        # LibrePOS asks for Python 3.12 and runs on 3.11; the list is whole, so nothing else is looked for.
        done = subprocess.run([member.VENV, "-m", "pip", "install", "-q", "--no-deps", "--ignore-requires-python", "-r",
                               HERE / "requirements.txt"], capture_output=True, text=True)
    if done.returncode != 0:
        print(f"the applications can't be fetched from PyPI:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return NOT_FETCHED
    made.write_text(wanted)
    return None


if __name__ == "__main__":
    sys.exit(claims.main(pathlib.Path(__file__).resolve(), MODULES, LIMIT_SECONDS, prepare))
