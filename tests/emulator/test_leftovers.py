"""What is swept after emulators that were killed, and what is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wrenla.emulator.cleanup import emulator_folder, sweep_after, sweep_folders


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_only_folders_of_the_dead_are_swept(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla.emulator.cleanup.has_ended", lambda pid: pid != "7")
    elsewhere = tmp / "elsewhere"
    stays = {"wrenla-emulator-7-lives": True, "wrenla-emulator-8-ended": False, "wrenla-emulator-notes": True}
    stays |= {"wrenla-emulator-8-": True, "wrenla-emulator-probe-8": True, "wrenla-emulator-8-a.txt": True}
    stays["elsewhere"] = True
    for name in stays:
        (tmp / name / "code").mkdir(parents=True)
    (tmp / "wrenla-emulator-8-link").symlink_to(elsewhere)
    (tmp / "wrenla-emulator-8-file").write_text("")
    sweep_folders()
    assert {name: (tmp / name / "code").exists() for name in stays} == stays
    assert (tmp / "wrenla-emulator-8-link").is_symlink()
    assert (tmp / "wrenla-emulator-8-file").is_file()


def test_a_emulator_that_lives_elsewhere_is_left_alone(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To another PID namespace it seems to have ended: nobody has its number there."""
    monkeypatch.setattr("wrenla.emulator.cleanup.has_ended", lambda _: True)
    with emulator_folder() as folder:
        assert folder.name.startswith(f"wrenla-emulator-{os.getpid()}-")
        sweep_folders()
        sweep_after(os.getpid(), 60)  # does not wait for what is not swept
        assert folder.is_dir()
    assert not folder.exists()
    folder.mkdir()
    sweep_folders()
    assert not folder.exists()
    assert os.listdir(tmp) == []


def test_containers_that_share_tmp_do_not_sweep_each_other(tmp: Path) -> None:
    code = "from wrenla.emulator.cleanup import sweep_folders; sweep_folders()"
    command = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespace may be made here")
    with emulator_folder() as folder:
        swept = [*command, sys.executable, "-c", code]
        subprocess.run(swept, check=True, env={**os.environ, "TMPDIR": str(tmp)}, timeout=60)
        assert folder.is_dir()
