"""Local modules travel with the functions that need them; what is installed does not."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import RemoteTraceback
from wrenla.executors.transport.local_modules import NamingPickler, local_sources, read_source
from wrenla_handler.serialize.blobs import dump
from wrenla_handler.serialize.modules import encode_sources

FILES = {
    "shippable/__init__.py": "from . import tools\nfrom .tools import scale\n",
    "shippable/tools.py": (
        "import numpy\nfrom .deep import constants as c\n\ndef scale(x):\n    return c.FACTOR * x\n"
    ),
    "shippable/deep/__init__.py": "",
    "shippable/deep/constants.py": "FACTOR = 3\n",
    "shippable/late.py": "def late():\n    from . import lazy\n    return lazy.WHO\n",
    "shippable/lazy.py": "WHO = 'lazy'\n",
    "shippable/broken.py": "def f(:\n",
    "shippable/kinds.py": "class Point:\n    def __init__(self, x):\n        self.x = x\n",
    "shippable_alone.py": (
        "import functools\nimport json\n\n"
        "def twice(x):\n    return 2 * x\n\n"
        "def fail():\n    raise ValueError('shipped')  # look here\n\n"
        "@functools.lru_cache\ndef cached(x):\n    return x * x\n"
    ),
    "shippable_user.py": "from shippable_alone import twice\n\ndef four(x):\n    return twice(twice(x))\n",
    "shippable_dynamic.py": (
        "import importlib\n\ndef load(name):\n    return importlib.import_module(name).NAME\n"
    ),
    "shippable_plugin.py": "NAME = 'plugin'\n",
    "shippable_latin.py": "# -*- coding: latin-1 -*-\nNAME = 'é'\n",
    "shippable_space/inner.py": "NAME = 'namespace'\n\ndef name():\n    return NAME\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules, on the path."""
    place = tmp_path / "modules"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="latin-1" if "latin" in name else "utf-8")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.syspath_prepend(str(place))
    yield place
    for name in [name for name in sys.modules if name.startswith("shippable")]:
        del sys.modules[name]


def needs(fn: Any) -> set[str]:
    found: set[str] = set()
    dump(fn, NamingPickler, modules=found)
    return found


def shipped(fn: Any, **more: Any) -> set[str]:
    """Names of the modules that go with a function."""
    return {source.name for source in local_sources(needs(fn), **more)}


def elsewhere(program: str, sources: bytes) -> str:
    """Run a program where there is nothing but what came."""
    head = """
import os, sys
from wrenla_handler.serialize.modules import Finder, decode_sources
Finder().install(decode_sources(sys.stdin.buffer.read()))
"""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", head + program], input=sources, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode().strip()


PACKAGE = {"shippable", "shippable.tools", "shippable.deep", "shippable.deep.constants"}


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("shippable.tools", "scale", PACKAGE),
        ("shippable.late", "late", PACKAGE | {"shippable.late", "shippable.lazy"}),
        ("shippable.kinds", "Point", PACKAGE | {"shippable.kinds"}),
        ("shippable_alone", "twice", {"shippable_alone"}),
        ("shippable_alone", "cached", {"shippable_alone"}),
        ("shippable_user", "four", {"shippable_alone", "shippable_user"}),
    ],
)
def test_local_modules_travel_with_function(folder: Path, module: str, name: str, expected: set[str]) -> None:
    assert shipped(getattr(importlib.import_module(module), name)) == expected


def test_modules_of_referenced_names_travel(folder: Path) -> None:
    import shippable.tools  # type: ignore[import-not-found]
    import shippable_alone  # type: ignore[import-not-found]

    def by_import(x: int) -> int:
        import shippable_user  # type: ignore[import-not-found]

        return int(shippable_user.four(x))

    point = importlib.import_module("shippable.kinds").Point(1)
    assert "shippable_alone" in shipped(lambda x: shippable_alone.twice(x))
    assert {"shippable_alone", "shippable_user"} <= shipped(by_import)
    assert shipped(lambda: shippable.tools.scale(1)) >= PACKAGE
    assert shipped([point]) == PACKAGE | {"shippable.kinds"}


@pytest.mark.parametrize("fn", [np.sqrt, np.linalg.norm, os.path.join, importlib.import_module, wl.eye, abs])
def test_installed_modules_do_not_travel(fn: Callable[..., Any]) -> None:
    assert shipped(fn) == set()


def test_modules_to_include_and_exclude(folder: Path) -> None:
    import shippable_alone
    import shippable_user

    assert shipped(shippable_user.four, exclude=["shippable_alone"]) == {"shippable_user"}
    assert shipped(shippable_alone.twice, include=["shippable_plugin"]) == {
        "shippable_alone",
        "shippable_plugin",
    }
    whole = shipped(shippable_alone.twice, include=["shippable"], exclude=["shippable.deep"])
    assert {"shippable.lazy", "shippable.broken", "shippable.kinds"} < whole
    assert not any(name.startswith("shippable.deep") for name in whole)
    with pytest.raises(ModuleNotFoundError, match="include_modules: shippable_missing"):
        local_sources([], include=["shippable_missing"])


@pytest.mark.parametrize(
    ("module", "program", "expected"),
    [
        ("shippable", "import shippable; print(shippable.scale(5))", "15"),
        ("shippable_user", "import shippable_user; print(shippable_user.four(1))", "4"),
        ("shippable_latin", "import shippable_latin; print(ascii(shippable_latin.NAME))", "'\\xe9'"),
        ("shippable_space.inner", "import shippable_space.inner as s; print(s.NAME)", "namespace"),
    ],
)
def test_shipped_modules_run_without_their_files(
    folder: Path, module: str, program: str, expected: str
) -> None:
    sources = encode_sources(local_sources([module]))
    for path in sorted(folder.rglob("*.py")):
        path.unlink()
    assert elsewhere(program, sources) == expected


def test_functions_of_modules_run_in_workers(folder: Path, processes: wl.LocalExecutor) -> None:
    import shippable.kinds
    import shippable.late
    import shippable_user

    assert list(processes.map(shippable_user.four, range(3))) == [0, 4, 8]
    assert processes.submit(shippable.late.late).result() == "lazy"
    assert processes.submit(lambda p: p.x, shippable.kinds.Point(7)).result() == 7
    assert type(processes.submit(shippable.kinds.Point, 7).result()) is shippable.kinds.Point


def test_a_worker_uses_what_the_file_says_now(folder: Path, nothing_left: None) -> None:
    import shippable_user

    def ask(x: int) -> tuple[int, int, bool]:
        import shippable_user

        first = "colorsys" not in sys.modules
        import colorsys  # noqa: F401

        return os.getpid(), shippable_user.four(x), first

    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        (pid, value, first) = next(executor.map(ask, [1]))
        assert (value, first) == (4, True)
        assert executor.submit(shippable_user.four, 1).result() == 4
        time.sleep(0.01)
        (folder / "shippable_alone.py").write_text("def twice(x):\n    return 10 * x\n")
        assert next(executor.map(ask, [1])) == (pid, 100, False)  # what is unrelated is still there
        assert executor.submit(shippable_user.four, 1).result() == 100


def test_computed_import_needs_include_modules(folder: Path, processes: wl.LocalExecutor) -> None:
    import shippable_dynamic  # type: ignore[import-not-found]

    view = processes.options(include_modules=["shippable_plugin"])
    assert view.submit(shippable_dynamic.load, "shippable_plugin").result() == "plugin"
    missing = processes.options(include_modules=["shippable_missing"])
    with pytest.raises(ModuleNotFoundError, match="shippable_missing"):
        missing.submit(abs, 1).result()


@pytest.mark.parametrize("excluded", [[], ["shippable_alone"]])
def test_the_log_says_what_travels(
    folder: Path, processes: wl.LocalExecutor, caplog: pytest.LogCaptureFixture, excluded: list[str]
) -> None:
    import shippable_user

    with caplog.at_level(logging.DEBUG, "wrenla.calls"):
        assert processes.options(exclude_modules=excluded).submit(shippable_user.four, 1).result() == 4
    (text,) = [record.getMessage() for record in caplog.records if "travel" in record.getMessage()]
    assert "shippable_user" in text
    assert ("shippable_alone" in text) == (not excluded)


def test_a_traceback_shows_lines_of_modules(folder: Path, processes: wl.LocalExecutor) -> None:
    import shippable_alone

    error = processes.submit(shippable_alone.fail).exception(timeout=30)
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "# look here" in error.__cause__.text


def test_one_batch_whose_inputs_need_other_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / f"shippable_{name}.py").write_text(f"class Kind:\n    name = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    kinds = [importlib.import_module(f"shippable_{name}").Kind for name in "ab"]
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        list(executor.map(lambda o: o.name, [kinds[0]()] * 100))  # so short that they are sent ahead
        found = list(executor.map(lambda o: o.name, [kinds[x // 3 % 2]() for x in range(300)]))
    assert found == ["ab"[x // 3 % 2] for x in range(300)]


def test_a_function_imports_from_beside_itself_where_it_runs(folder: Path) -> None:
    space = {"__package__": "shippable", "__name__": "__main__"}
    exec("def late():\n    from .deep.constants import FACTOR\n    return FACTOR\n", space)
    assert {"shippable.deep", "shippable.deep.constants"} <= shipped(space["late"])


def test_threads_read_at_once(tmp_path: Path) -> None:
    """Until CPython 3.11.8, `ast.parse` fails if another thread enters it meanwhile (cpython#106905)."""
    paths = [tmp_path / f"module_{i}.py" for i in range(20)]
    for path in paths:
        path.write_text("import json\n" + "x = {'a': [f(1, (2, 3)), {4: 5}]}\n" * 500)

    def read(path: Path, depth: int = 0) -> frozenset[str]:
        if depth:
            return read(path, depth - 1)
        status = path.stat()
        return read_source(str(path), status.st_mtime_ns, status.st_size, path.stem, False)[2]

    def let_others(*_: object) -> None:
        time.sleep(0.001)

    gc.callbacks.append(let_others)  # as hypothesis has one: thus threads change in the middle
    try:
        with ThreadPoolExecutor(2) as pool:
            assert set(pool.map(read, paths, range(20))) == {frozenset({"json"})}
    finally:
        gc.callbacks.remove(let_others)
