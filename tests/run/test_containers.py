"""Runs of another container that has this host's name: they live as long as they live."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wrenla.evaluate.cleaning import clean
from wrenla.workspace import lease as lease_module
from wrenla.workspace.lease import standing
from wrenla.workspace.workspace import Workspace
from wrenla_handler.stores.base import LEASE

KEY = 24 * "0"

RUN = """
import sys
from wrenla.workspace import lease
from wrenla.workspace.workspace import Workspace
lease.RENEW_SECONDS = 0.05
folder = Workspace(sys.argv[1], sys.argv[2])
print(folder.key, flush=True)
sys.stdin.readline()
folder.remove()
print(folder.lease.lost, flush=True)
"""

UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]


def may_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_unshare(), reason="this system lets nobody make a process namespace")


@contextmanager
def contained(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold a run in a process namespace of its own: there it may well have a number that is nobody's here."""
    command = [*UNSHARE, sys.executable, "-c", RUN, str(root), KEY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{KEY}\n"
            yield process
        finally:
            process.kill()


@pytest.mark.process
def test_run_in_another_container_is_watched_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 1.5)
    monkeypatch.setattr(lease_module, "_POLL_SECONDS", 0.05)
    with contained(tmp_path) as process:
        assert list(clean(str(tmp_path))) == []
        own = Workspace(str(tmp_path), KEY)
        assert own.key != KEY
        held = standing(own.store, LEASE)
        assert held is not None
        own.remove()
        out, _ = process.communicate("\n", timeout=60)
        assert out == "False\n", "nobody has taken its place"
    with contained(tmp_path) as process:
        process.kill()
        process.wait(60)
        assert dict(clean(str(tmp_path))) == {KEY: 1}
