"""Control groups of version 2 in a folder that looks like them, and of whatever version this machine has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wrenla.emulator.isolation import cgroups
from wrenla.emulator.isolation.cgroups import Groups, find_groups, sweep_groups

_MB = 1 << 20


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree in which our group is user.slice/session, and only user.slice hands memory on."""
    root = tmp_path / "cgroup"
    own = root / "user.slice" / "session"
    own.mkdir(parents=True)
    for folder, handed in ((root, "memory cpu pids"), (root / "user.slice", "memory"), (own, "")):
        (folder / "cgroup.controllers").write_text("memory cpu pids")
        (folder / "cgroup.subtree_control").write_text(handed)
        (folder / "cgroup.procs").write_text("")
    (tmp_path / "own").write_text("0::/user.slice/session\n")
    plain = Path.rmdir

    def rmdir(folder: Path) -> None:
        """Remove a folder with the files that the kernel would have put there."""
        for file in folder.iterdir():
            file.unlink()
        plain(folder)

    monkeypatch.setattr(Path, "rmdir", rmdir)
    return root


def test_version_2_takes_the_nearest_group_that_hands_memory_on(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = fake / "user.slice" / "session" / "cgroup.subtree_control"
    plain = Path.write_text

    def write_text(path: Path, text: str) -> int:
        if path == refused:  # there are processes in it
            raise OSError(16, "busy")
        return plain(path, text)

    monkeypatch.setattr(Path, "write_text", write_text)
    groups = find_groups(fake, fake.parent / "own")
    assert groups is not None
    assert (groups.version, groups.parents) == (2, (fake / "user.slice",))
    assert not groups.limits_processor
    assert list((fake / "user.slice").glob("wrenla*")) == [], "what was made to try it is gone"


def test_version_2_writes_its_limits(fake: Path) -> None:
    groups = Groups(2, (fake,), True)
    group = groups.make(256 * _MB)
    (folder,) = group.folders
    assert folder.parent == fake
    assert (folder / "memory.max").read_text() == str(256 * _MB)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert group.join == (folder / "cgroup.procs",)
    (folder / "cpu.max").write_text("max 100000")
    group.limit_processor(256 / 1769)
    assert (folder / "cpu.max").read_text() == "14471 100000"
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert group.oom_kills() == 1
    (folder / "memory.peak").write_text(f"{99 * _MB}\n")
    assert group.peak() == 99 * _MB
    group.kill()
    assert (folder / "cgroup.kill").read_text() == "1"
    group.close()
    assert not folder.exists()


def test_version_2_where_processes_must_be_killed_one_by_one(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Groups(2, (fake,), True).make(_MB)
    with subprocess.Popen(["sleep", "60"]) as process:
        (group.folders[0] / "cgroup.procs").write_text(f"{process.pid}\n")
        plain = Path.write_text
        monkeypatch.setattr(
            Path,
            "write_text",
            lambda path, text: (
                plain(path, text) if path.name != "cgroup.kill" else path.open("rb").write(b"")
            ),
        )
        group.kill()
        assert process.wait(10) == -9
    group.close()


def test_groups_of_killed_emulators_are_swept(fake: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    dead, living = fake / f"{cgroups.PREFIX}{ended.pid}-1", fake / f"{cgroups.PREFIX}1-1"
    for folder in (dead, living):
        folder.mkdir()
        (folder / "cgroup.procs").write_text("")
    sweep_groups(Groups(2, (fake,), True))
    assert not dead.exists()
    assert living.exists()


def test_living_emulators_of_other_containers_are_left_alone(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers mean other processes here, or none; and what has no number is not to be killed by one."""
    with subprocess.Popen(["true"]) as ended:
        pass
    own = Path("/proc/self/ns/pid").stat().st_ino
    names = {f"{ended.pid}-1-{own}": False, f"{ended.pid}-2-{own + 1}": True, f"1-3-{own}": True}
    for name in names:
        (fake / f"{cgroups.PREFIX}{name}").mkdir()
        (fake / f"{cgroups.PREFIX}{name}" / "cgroup.procs").write_text("0\n77\n")
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _: killed.append(pid))
    sweep_groups(Groups(2, (fake,), True))
    assert {name: (fake / f"{cgroups.PREFIX}{name}").exists() for name in names} == names
    assert killed == [77]
    group = Groups(2, (fake,), True).make(_MB)
    (group.folders[0] / "cgroup.procs").write_text("0\n88\n")
    (group.folders[0] / "cgroup.kill").mkdir()  # as where there is no such file
    group.kill()
    assert killed == [77, 88]
    assert group.folders[0].name.endswith(f"-{own}")


def test_without_permission_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:memory:/x\n1:cpu:/\n0::/\n")
    assert find_groups(tmp_path / "nothing", tmp_path / "own") is None
    assert find_groups(tmp_path, tmp_path / "no such file") is None


def test_this_machines_groups_limit() -> None:
    groups = find_groups()
    if groups is None:
        pytest.skip("no control group may be made here")
    group = groups.make(32 * _MB)
    try:
        join = "; ".join(f"echo $$ > {file}" for file in group.join)
        hog = "exec head -c 200M /dev/zero | tail -c 190M | wc -c"
        subprocess.run(["/bin/sh", "-c", f"{join}; {hog}"], capture_output=True, check=False, timeout=60)
        assert group.oom_kills() > 0
        assert 0 < group.peak() <= 32 * _MB
    finally:
        group.close()
    assert not any(folder.exists() for folder in group.folders)
