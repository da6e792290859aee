#!/usr/bin/python3
"""Runs the tests with real applications: each claim in a process and a folder of its own. `run.py [-j N] [WORD...]` runs those
whose name holds a word. P2PDB_SOAK=1 runs the full counts. The closing line is `N passed, N failed`; a failure exits with 1,
and 77 says that the applications could not be fetched, so nothing ran.

The applications are LibrePOS (a till, Flask and SQLAlchemy) and django-oscar (a shop, Django), fetched once through pip into an
environment of their own, target/apps. The extension is target/debug/libp2pdb.so, or $P2PDB_SO.
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
sys.path[:0] = [str(HERE), str(HERE.parent / "hosts")]
sys.dont_write_bytecode = True
MODULES = ["tills", "shops", "editors", "rebuilt"]
NOT_FETCHED = 77
LIMIT_SECONDS = 3600 if os.environ.get("P2PDB_SOAK") == "1" else 240


def claims():
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == module and not name.startswith("_") and not inspect.signature(function).parameters:
                yield module, name


def prepare():
    """The extension, and an environment with the applications; gives what went wrong."""
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
        return done.stdout + done.stderr
    made.write_text(wanted)
    return None


def run_one(module, name):
    """In the claim's own process."""
    try:
        getattr(importlib.import_module(module), name)()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()


def run_in_process(module, name):
    folder = tempfile.mkdtemp(prefix="p2pdb-apps-")
    env = dict(os.environ, P2PDB_LISTEN="/ip4/127.0.0.1/tcp/0", P2PDB_MDNS="off", P2PDB_RUNTIME_DIR=f"{folder}/run",
               PYTHONDONTWRITEBYTECODE="1")
    os.mkdir(f"{folder}/run", 0o700)
    start = time.monotonic()
    process = subprocess.Popen(["/usr/bin/python3", str(HERE / "run.py"), "--one", module, name], cwd=folder, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        code, out = 1, out + f"still running after {LIMIT_SECONDS} s"
    try:
        # Everything the claim started and forgot ends with its group.
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
    wrong = prepare()
    if wrong is not None:
        print(f"the applications can't be fetched from PyPI:\n{wrong}", file=sys.stderr)
        return NOT_FETCHED
    chosen = [(m, n) for m, n in claims() if not arguments or any(w in f"{m}.{n}" for w in arguments)]
    passed = failed = 0
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run_in_process, m, n) for m, n in chosen]):
            module, name, code, out, took = done.result()
            print(f"{'ok' if code == 0 else 'FAILED':6} {took:6.1f} s  {module}: {name.replace('_', ' ')}", flush=True)
            for line in out.splitlines():
                if code != 0 or line.startswith("figure "):
                    print(f"         {line}", flush=True)
            passed, failed = passed + (code == 0), failed + (code != 0)
    print(f"took {time.monotonic() - start:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
