"""This tree against an earlier commit: the same work in turn, as ratios of pairs, and whether bits differ."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figure import Figure

__all__ = ["figures"]

ROOTS = ("", "kernels", "handler")

WORK = """
import hashlib, json, os, statistics, sys, time, shutil, tempfile
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
folder = tempfile.mkdtemp(dir=sys.argv[1])
os.environ["WRENLA_STORE"] = folder + "/store"
import numpy as np
import wrenla as wl

took, bits = {}, {}

def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

def median_of(times, work, clock=time.perf_counter):
    def once():
        began = clock()
        work()
        return clock() - began
    return statistics.median(once() for _ in range(times))

def timed(name, work):
    os.sync()  # what was written before must not be written back meanwhile
    began = time.perf_counter()
    result = work()
    took[name] = time.perf_counter() - began
    return result

with wl.LocalExecutor(2, allowed_mem="3 GiB") as executor:
    wl.random((512, 512), tile=128).gram().shift(600.0).cholesky().save(folder + "/warm", executor)
    for n in json.loads(sys.argv[3]):
        tile = n // 8
        at = folder + "/%d" % n
        R = timed("save %d" % n, lambda: wl.random((n, n), tile=tile, seed=1).save(at + "/R", executor))
        assert abs(float(R.norm().compute(executor)) / n - 1) < 0.01
        decay = wl.from_function(lambda i, j: 0.9 ** abs(i[:, None] - j), (n, n), tile, structure="pos")
        A = decay.save(at + "/A", executor)
        L = timed("cholesky %d" % n, lambda: A.cholesky().save(at + "/L", executor))
        x = np.ones(n)
        b = (A @ x).compute(executor)
        again = (L @ (L.H @ x)).compute(executor)
        assert np.linalg.norm(again - b) <= n * 2.0**-53 * np.linalg.norm(b), "residual"
        bits["cholesky %d" % n] = digest(again)
        shutil.rmtree(at)
    tiny = wl.zeros((60, 60), tile=1)
    os.sync()
    took["tasks in a folder"] = median_of(3, lambda: (tiny + tiny).persist(executor))
    for dtype in ("float32", "float64", "complex64", "complex128"):
        X = wl.random((700, 300), tile=(90, 70), seed=3).astype(dtype)
        Y = X.T @ X.conj() + 1
        K = X.gram().shift(50.0)
        for name, result in {
            "product": Y, "factor": K.cholesky(), "solution": K.solve(X), "entries": np.exp(X) * 2 - X,
            "row sums": X.sum(axis=1), "norm": X.norm(), "slice": (X @ X.T)[5:600:3, ::-1],
        }.items():
            bits[dtype + " " + name] = digest(result.compute(executor))

with wl.LocalExecutor(2) as executor:
    list(executor.map(abs, range(100)))
    took["map"] = median_of(9, lambda: list(executor.map(abs, range(1000))))
    took["driver"] = median_of(9, lambda: list(executor.map(abs, range(1000))), time.process_time)
    took["submit"] = median_of(3, lambda: [executor.submit(abs, 1).result() for _ in range(200)])

try:
    from wrenla_handler.calls.messages import Request
    from wrenla_handler.serialize.blobs import Blob
except ImportError:  # an earlier commit, which wrote JSON by hand
    from wrenla_handler.call.blobs import Blob
    from wrenla_handler.call.envelope import Request
named, inline = (Blob("0" * 64, 400, b"", ""),), (Blob("0" * 64, 60, bytes(60), ""),)
request = Request(id="local-000001", attempt=1, function=named, arguments=inline, store=folder)
text = request.encode()
assert Request.decode(text).arguments == inline
took["message written"] = median_of(9, lambda: [request.encode() for _ in range(10_000)])
took["message read"] = median_of(9, lambda: [Request.decode(text) for _ in range(10_000)])

import logging
logging.getLogger("werkzeug").setLevel(logging.ERROR)
from moto.server import ThreadedMotoServer
from concurrent.futures import ThreadPoolExecutor
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
os.environ["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:%d" % server.get_host_and_port()[1]
import boto3
boto3.client("s3").create_bucket(Bucket="bucket")
try:
    from wrenla.evaluate.cleaning import clean
    from wrenla.workspace.workspace import Workspace
except ImportError:  # an earlier commit, where modules lay elsewhere
    from wrenla.folder import RunFolder as Workspace
    try:
        from wrenla.cleaning import clean
    except ImportError:
        from wrenla.folder import clean
run = Workspace("s3://bucket/x", "0" * 24)
keys = ["%s/c/%d/%d" % ("a" * 24, k // 100, k % 100) for k in range(int(sys.argv[2]))]
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda key: run.store.put(key, b"x"), keys))
run.close()
cleaned = timed("clean", lambda: dict(clean("s3://bucket/x")))
assert sum(cleaned.values()) > len(keys), cleaned
server.stop()
shutil.rmtree(folder)
print(json.dumps({"took": took, "bits": bits}))
"""

NEEDED = 8 << 30
"""Bytes that the largest matrices take, and some more."""

OBJECTS = 2000
"""Of 100,000 each costs as much: lists come by the thousand, and deletions one by one."""


def figures(rounds: int, base: str) -> list[Figure]:
    """Compare what this tree takes with what the tree at a commit takes.

    Parameters
    ----------
    rounds : int
    base : str
        The commit; "" leaves this out.
    """
    if not base:
        print("against an earlier commit: not measured, name one with --base")
        return []
    here = Path(__file__).parent.parent
    # in memory, if there is room: how fast a disk is at the moment is no business of ours
    memory = Path("/dev/shm")
    in_memory = memory.is_dir() and shutil.disk_usage(memory).free > NEEDED
    with tempfile.TemporaryDirectory(dir=memory if in_memory else None) as folder:
        there = Path(folder, "base")
        subprocess.run(["git", "-C", here, "worktree", "add", "--quiet", there, base], check=True)
        try:
            runs: dict[Path, list[dict[str, float]]] = {here: [], there: []}
            bits: dict[Path, dict[str, str]] = {}
            for number in range(rounds):  # neither tree is always the first one
                for tree in (here, there) if number % 2 else (there, here):
                    took, bits[tree] = _run(tree, folder)
                    runs[tree].append(took)
        finally:
            subprocess.run(["git", "-C", here, "worktree", "remove", "--force", there], check=True)
    found = [_figure(name, must, base, runs[here], runs[there]) for name, must in MUST.items()]
    other = [name for name in bits[here] if bits[here][name] != bits[there].get(name)]
    note = f"{len(bits[here])} results; " + (", ".join(other) if other else "all the same")
    return [*found, Figure("bits", f"results that differ from {base}", len(other), 0, 0, "", True, note)]


SIZES = (6144, 12288)

MUST = {f"{what} {n}": 1.03 for n in SIZES for what in ("save", "cholesky")}
MUST |= {"tasks in a folder": 1.03, "map": 1.03, "driver": 1.03, "submit": 1.03, "clean": 1.2}
MUST |= {"message written": 1.0, "message read": 1.0}

_NAMES = {
    **{f"save {n}": f"save of random n = {n} into a folder" for n in SIZES},
    **{f"cholesky {n}": f"Cholesky n = {n}, folder to folder" for n in SIZES},
    "tasks in a folder": "a plan of 3,600 tiles of one entry, temporaries in a folder",
    "map": "map of 1,000 trivial calls, two processes, warm",
    "driver": "processor time of the driver for it",
    "message written": "a request of a call is written, 10,000 times",
    "message read": "and read",
    "submit": "200 trivial calls, one after the other",
    "clean": f"clean of {OBJECTS:,} objects on moto's S3",
}


def _figure(
    name: str, must: float, base: str, ours: list[dict[str, float]], theirs: list[dict[str, float]]
) -> Figure:
    ratio = median(a[name] / b[name] for a, b in zip(ours, theirs, strict=True))
    spent = f"{median(a[name] for a in ours):.3f} s against {median(b[name] for b in theirs):.3f} s"
    return Figure(_NAMES[name], f"this tree / {base}", ratio, must, 1.0, "×", True, spent)


def _run(tree: Path, folder: str) -> tuple[dict[str, float], dict[str, str]]:
    paths = os.pathsep.join(str(tree / root) for root in ROOTS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORK, folder, str(OBJECTS), json.dumps(SIZES)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{tree}: {done.stderr[-2000:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    took: dict[str, float] = said["took"]
    print(
        f"  {tree.name}: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in took.items()),
        flush=True,
    )
    return took, said["bits"]
