"""Runs claims, functions of test modules, each in a process and a folder of its own: `run.py [-j N] [WORD...]` runs those whose name
holds a word. The closing line is `N passed, N failed`; a failure exits with 1."""

import concurrent.futures
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from host import PYTHON, Skip


def main(script, modules, limit_seconds, prepare):
    """Runs what the arguments ask for. `script` is the file that calls this; `prepare` fetches what the claims need, and gives an exit
    status where nothing can be run."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--one"]:
        return _run_one(*arguments[1:])
    workers = 1
    if arguments[:1] == ["-j"]:
        workers, arguments = int(arguments[1]), arguments[2:]
    status = prepare()
    if status is not None:
        return status
    chosen = [(m, n) for m, n in _claims(modules) if not arguments or any(w in f"{m}.{n}" for w in arguments)]
    passed = failed = skipped = 0
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        runs = [pool.submit(_run_in_process, script, limit_seconds, m, n) for m, n in chosen]
        for done in concurrent.futures.as_completed(runs):
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


def _claims(modules):
    for module in modules:
        loaded = importlib.import_module(module)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == module and not name.startswith("_") and not inspect.signature(function).parameters:
                yield module, name


def _run_one(module, name):
    """In the claim's own process."""
    try:
        getattr(importlib.import_module(module), name)()
    except Skip as why:
        print(f"skipped: {why}", flush=True)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()


def _run_in_process(script, limit_seconds, module, name):
    folder = tempfile.mkdtemp(prefix="p2pdb-claim-")
    env = dict(os.environ, P2PDB_LISTEN="/ip4/127.0.0.1/tcp/0", P2PDB_MDNS="off", P2PDB_RUNTIME_DIR=f"{folder}/run",
               PYTHONDONTWRITEBYTECODE="1")
    os.mkdir(f"{folder}/run", 0o700)
    start = time.monotonic()
    process = subprocess.Popen([PYTHON, str(script), "--one", module, name], cwd=folder, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=limit_seconds)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        code, out = 1, out + f"still running after {limit_seconds} s"
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
