"""Memory and processors that this process may use, with limits on groups above it, of both versions."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import wrenla as wl
from wrenla.emulator.isolation.cgroups import find_groups
from wrenla.executors.local import executor as local
from wrenla_handler.machine import control_groups, is_virtual, memory_of_this_machine, processors

MIB = 1 << 20
V2 = "30 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate"
V1 = "31 23 0:29 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" + (
    "32 23 0:30 {top} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"
)


class Tree(NamedTuple):
    """What a machine says of its groups, and what we should make of it."""

    own: str
    mounts: str
    files: dict[str, str]
    mib: int | None = None
    processors: int | None = None


TREES = {
    "SLURM, version 1": Tree(
        "4:memory:/slurm/uid_0/job_1/step_0/task_0\n3:cpu,cpuacct:/slurm/uid_0\n1:name=systemd:/x\n0::/",
        V1.format(top="/"),
        {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/slurm/uid_0/memory.limit_in_bytes": f"{900 * MIB}",
            "memory/slurm/uid_0/job_1/memory.limit_in_bytes": f"{600 * MIB}",
            "memory/slurm/uid_0/job_1/step_0/task_0/memory.limit_in_bytes": "9223372036854771712",
            "cpu/slurm/cpu.cfs_quota_us": "100000",
            "cpu/slurm/cpu.cfs_period_us": "100000",
            "cpu/slurm/uid_0/cpu.cfs_quota_us": "-1",
        },
        600,
        1,
    ),
    "systemd, version 2, limit on a slice above": Tree(
        "0::/user.slice/user-0.slice/session-3.scope",
        V2,
        {
            "user.slice/user-0.slice/session-3.scope/memory.max": "max",
            "user.slice/user-0.slice/session-3.scope/cpu.max": "max 100000",
            "user.slice/memory.max": f"{700 * MIB}",
            "user.slice/user-0.slice/memory.high": f"{500 * MIB}",
            "user.slice/cpu.max": "50000 100000",
        },
        500,
        1,
    ),
    "a container with a namespace of groups": Tree(
        "0::/", V2, {"memory.max": f"{300 * MIB}", "cpu.max": "max 100000"}, 300
    ),
    "a container that sees the names of its host": Tree(
        "0::/kubepods.slice/pod1/container1", V2, {"memory.max": f"{200 * MIB}"}, 200
    ),
    "a container with a part of the tree": Tree(
        "4:memory:/kubepods/pod1/c1/inner\n3:cpu,cpuacct:/kubepods/pod1/c1",
        V1.format(top="/kubepods/pod1/c1"),
        {
            "memory/inner/memory.limit_in_bytes": f"{800 * MIB}",
            "memory/memory.limit_in_bytes": f"{400 * MIB}",
            "memory/memory.stat": f"cache 1\nhierarchical_memory_limit {250 * MIB}\ntotal_cache 1",
        },
        250,
    ),
    "a process outside of its namespace": Tree("0::/../../other", V2, {"memory.max": f"{100 * MIB}"}, 100),
    "names with blanks, and lines of other kinds": Tree(
        "junk\n0::/a b",
        "junk\n29 1 8:1 / / rw - ext4 /dev/sda rw\n" + V2.replace("/cgroup ", "/c\\040g "),
        {"../c g/a b/memory.max": f"{50 * MIB}"},
        50,
    ),
    "no limit": Tree("0::/a", V2, {"a/memory.max": "max", "a/cpu.max": "max 100000", "a/memory.high": ""}),
    "no control groups": Tree("", "", {}),
}


def test_limits_of_groups(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for number, (name, tree) in enumerate(TREES.items()):
        root = tmp_path / str(number)
        groups = root / "sys/fs/cgroup"
        (root / "proc/self").mkdir(parents=True)
        groups.mkdir(parents=True)
        (root / "proc/self/cgroup").write_text(tree.own)
        (root / "proc/self/mountinfo").write_text(tree.mounts)
        for file, text in tree.files.items():
            (groups / file).parent.mkdir(parents=True, exist_ok=True)
            (groups / file).write_text(f"{text}\n")
        expected = machine if tree.mib is None else tree.mib * MIB
        assert memory_of_this_machine(root) == expected, name
        assert processors(root) == (tree.processors or len(os.sched_getaffinity(0))), name
    assert memory_of_this_machine(tmp_path / "nothing") == machine
    assert list(control_groups("memory", tmp_path / "nothing")) == []


@pytest.mark.process
def test_limits_of_the_process() -> None:
    """`ulimit -v` and `-d`; it is set in the child, so that nothing else suffers."""
    script = "from wrenla_handler.machine import *; print(memory_of_this_machine())"
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        found = subprocess.run(
            [sys.executable, "-c", f"import resource; resource.setrlimit({limit}, ({2**30}, -1)); {script}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout.strip() == f"{2**30}", found.stderr


@pytest.mark.process
def test_a_group_of_this_machine_below_ours() -> None:
    groups = find_groups()
    if groups is None:
        pytest.skip("no control group can be made here")
    group = groups.make(256 * MIB)
    try:
        if groups.limits_processor:
            group.limit_processor(0.5)
        joins = " && ".join(f"echo $$ > {file}" for file in group.join)
        script = "from wrenla_handler.machine import *; print(memory_of_this_machine(), processors())"
        found = subprocess.run(
            ["/bin/sh", "-c", f'{joins} && exec "$0" -c "$1"', sys.executable, script],
            capture_output=True,
            text=True,
            check=False,
        )
        memory, count = map(int, found.stdout.split())
    finally:
        group.close()
    assert memory == 256 * MIB, found.stderr
    assert count == 1 or not groups.limits_processor


def test_the_default_workers_fit_into_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "processors", lambda: 8)
    for mib, workers in ((4096, 8), (512, 4), (100, 1)):
        monkeypatch.setattr(local, "memory_of_this_machine", lambda mib=mib: mib * MIB)
        with wl.LocalExecutor() as executor:
            assert (executor.workers, executor.allowed_mem) == (workers, mib * MIB // 2)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("proc/cpuinfo", "flags\t\t: fpu sse2 hypervisor lm\n", True),
        ("proc/cpuinfo", "flags\t\t: fpu sse2 lm\nmodel name\t: no hypervisor\n", False),
        ("sys/hypervisor/type", "xen\n", True),
        ("proc/version", "Linux\n", False),
    ],
)
def test_a_virtual_machine(path: str, text: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert is_virtual(tmp_path) == expected
