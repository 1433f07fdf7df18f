"""A function has another name when something behind it has changed, and the same one when nothing has."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import scipy.interpolate
import scipy.sparse

import wrenla as wl
from wrenla.executors.transport import dependencies
from wrenla.executors.transport.dependencies import packed_function
from wrenla.executors.transport.stable_pickle import steady_pickle
from wrenla_handler.serialize.modules import split_function

from .scratch_modules import LOCAL, ScratchSpace, scratch_space

SINGLE, PACKAGE = "behind_single.py", "behind_pkg/constants.py"

CHANGES: tuple[tuple[str, str, str], ...] = (
    ("a module as a global", SINGLE, "import behind_single\ndef f(i): return behind_single.VALUE"),
    ("an import inside", SINGLE, "def f(i):\n    import behind_single\n    return behind_single.VALUE"),
    ("a nested import", SINGLE, "def f(i):\n    def g():\n        import behind_single\n    return g()"),
    ("a constant in a package", PACKAGE, "from behind_pkg import scale as f"),
    ("an import of a package", PACKAGE, "import behind_pkg\ndef f(i): return behind_pkg.scale(i)"),
    ("machine code", "behind_pkg/fast.so", "from behind_pkg import scale as f"),
    ("data of a package", "behind_pkg/table.csv", "from behind_pkg import scale as f"),
    ("an upgrade that adds", "behind_pkg/new.py", "from behind_pkg import scale as f"),
    ("by name", SINGLE, "import importlib\ndef f(i): return importlib.import_module('behind_single').VALUE"),
    ("by __import__", SINGLE, "def f(i): return __import__('behind_single').VALUE"),
    (
        "by name, in a global",
        SINGLE,
        "from importlib import import_module\nM = 'behind_single'\ndef f(i): return import_module(M).VALUE",
    ),
    (
        "by name, in a list",
        SINGLE,
        "import importlib\nM = ['behind_single']\ndef f(i): return [importlib.import_module(m) for m in M]",
    ),
    (
        "by name, as a default",
        SINGLE,
        "def f(m='behind_single'): __import__(m)",
    ),
    (
        "by name, in a closure",
        SINGLE,
        "import importlib\ndef outer(m):\n    def f(i): return importlib.import_module(m)\n    return f\n"
        "f = outer('behind_single')",
    ),
    ("by name, in a local module", SINGLE, "from behind_dynamic import g as f"),
    ("by a relative name, locally", "behind_relative/late.py", "from behind_relative import late as f"),
    ("through local modules", SINGLE, "import behind_local\ndef f(i): return behind_local.g(i)"),
    ("through a local module", PACKAGE, "import behind_local\ndef f(i): return behind_local.g(i)"),
    ("through an installed one", SINGLE, "from behind_above import up as f"),
    ("through metadata", "behind_needed/__init__.py", "import behind_big\ndef f(i): return behind_big"),
    ("a decorator", SINGLE, "from behind_wraps import decorated\n@decorated\ndef f(i): return i"),
    (
        "a decorator's file",
        "behind_wraps.py",
        "from behind_wraps import decorated\n@decorated\ndef f(): pass",
    ),
    ("a class", SINGLE, "from behind_single import Kind\ndef f(i): return Kind().call(i)"),
    ("a method", SINGLE, "from behind_single import Kind\nf = Kind().call"),
    ("a base class", SINGLE, "from behind_single import Kind\nclass Mine(Kind): pass\nf = Mine().call"),
    ("a partial", SINGLE, "import functools, behind_above\nf = functools.partial(behind_above.up)"),
    ("a closure", SINGLE, "from behind_above import up\ndef outer(g): return lambda i: g(i)\nf = outer(up)"),
    ("a default", SINGLE, "from behind_above import up\ndef f(i, g=up): return g(i)"),
    (
        "a callable object",
        SINGLE,
        "from behind_above import up\nclass C:\n    def __call__(self, i): return up(i)\nf = C()",
    ),
    ("an attribute", SINGLE, "from behind_above import up\ndef f(i): return f.g(i)\nf.g = up"),
    ("a value", SINGLE, "from behind_single import Kind\nk = {'a': [Kind()]}\ndef f(i): return k"),
    (
        "what is not there yet",
        "behind_optional.py",
        "def f(i):\n    try: import behind_optional\n    except ImportError: pass",
    ),
    ("local machine code", "behind_ext.so", "def f(i):\n    import behind_ext"),
    ("a local module", "behind_deep.py", "def f(i):\n    import behind_local"),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchSpace]:
    yield from scratch_space(tmp_path, monkeypatch)


def test_function_name_changes_with_its_dependencies(
    place: ScratchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for what, file, script in CHANGES:
        with monkeypatch.context() as patch:
            if "metadata" in what:
                patch.setattr(dependencies, "_READ", 0)
            before, again = place.name(script), place.name(script)
            path = (place.local if file in LOCAL or "optional" in file else place.site) / file
            old = path.read_text() if path.exists() else ""
            path.write_text(f"# changed\n{old}")
            after = place.name(script)
            path.write_text(old) if old else path.unlink()
            restored = place.name(script)
        if before != again or after == before or restored != before:
            wrong.append((what, before == again, after != before, restored == before))
    assert not wrong


def test_function_name_ignores_unrelated_changes(place: ScratchSpace) -> None:
    """What a function does not use; and what nobody can know, which `version` is for."""
    script = "import behind_above\ndef f(i): return open('data').read(), behind_above"
    before = place.name(script)
    for path in (place.site / PACKAGE, place.local / "behind_local.py", place.local / "data"):
        path.write_text("# changed\n")
    (place.site / "behind_pkg" / "__pycache__").mkdir()
    (place.site / "behind_single.py").touch()
    os.environ["BEHIND"] = "changed"
    try:
        assert place.name(script) == before
    finally:
        del os.environ["BEHIND"]
    f = place.function(script)
    versions: list[Any] = [None, "", "1", 1, 2, -1, "None"]
    assert len({packed_function(f, version).name for version in versions}) == len(versions)
    assert len({packed_function(f, version).digest for version in versions}) == 1


def test_the_same_files_by_another_path(place: ScratchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    link = place.local.parent / "link"
    link.symlink_to(place.local)
    script = "import behind_local\ndef f(i): return behind_local.g(i)"
    before, file = place.name(script), place.file
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(link), *(each for each in sys.path if each != str(place.local))])
        for place.file in ("./script.py", str(link / "script.py"), "<stdin>", "<ipython-input-7-0a1b>"):
            assert place.name(script) == before, place.file
    used = "def f(i): return __file__"
    assert place.name(used) != (setattr(place, "file", file), place.name(used))[1]


def test_versions_of_matrices() -> None:
    def f(*args: Any) -> Any:
        return np.zeros([len(x) for x in args])

    for make in (
        lambda **more: wl.from_function(f, (3, 3), 2, **more),
        lambda **more: wl.from_function(f, 3, 2, **more),
        lambda **more: wl.map_tiles(np.exp, wl.eye(3, tile=2), **more),
    ):
        assert make()._node.key == make(version=None)._node.key
        assert make(version="a")._node.key == make(version="a")._node.key
        assert len({make(version=v)._node.key for v in (None, "a", "b", 1, "1")}) == 5
        for bad in (1.0, True, b"1", ["1"], np.float64(1)):
            with pytest.raises(TypeError, match=r"version=.*: a string or an integer"):
                make(version=bad)


SCRIPT = """
import dataclasses, enum, functools, typing
import numpy as np
import wrenla as wl
from wrenla.executors.transport.dependencies import packed_function

class Point:
    names = frozenset({"x", "y", "zeta"})
    def __init__(self, x): self.x = x

class Kind(enum.Enum):
    A = 1
    B = "b"

@dataclasses.dataclass
class Data:
    x: int = 3
    s: set = dataclasses.field(default_factory=lambda: {"a", "b", "c"})

class Base(typing.Generic[T := typing.TypeVar("T")]):
    pass

P = typing.ParamSpec("P")

@functools.cache
def cached(n): return n

@functools.singledispatch
def kind(x): return Kind.A

kind.register(int)(cached)

class Slots:
    __slots__ = ("x", "y")

words = {"one", "two", "three", ("a", 1), Kind.A, None}
table = {"k": [{"p", "q", "r"}], "o": Point(2), "d": Data()}

def f(i, j, kinds=frozenset(["u", "v", "w"])):
    inside = "x" in {"x", "y", "z"} and Kind.A in words and len(words) == 6 and Data().s == {"a", "b", "c"}
    alike = isinstance(table["o"], Point) and table["k"][0] == {"p", "q", "r"} and Base[int] and len(kinds)
    alike = alike and kind(cached(1)) and Slots() and P
    return np.full((len(i), len(j)), Point(2.0).x + inside + bool(alike))

K = wl.from_function(f, (4, 4), tile=2)
A = K @ np.arange(4.0) + wl.from_array(np.arange(4), tile=2)
A += wl.map_tiles(lambda t: t * ("x" in {"x", "y"}), [1, 2, 3, 4])
print(A._node.key, packed_function(f).digest)
assert (K.compute() == 4).all()
"""


def test_the_same_name_in_each_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    base = {**os.environ, "WRENLA_STORE": str(tmp_path / "store"), "WRENLA_WORKERS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**base, "PYTHONHASHSEED": str(seed)},
        )
        for seed in (1, 2)
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert ended[0][0] == ended[1][0] != ""


def test_classes_of_scripts_are_told_apart_by_content() -> None:
    """A worker that has one class of a name must not take it for another of the same name."""

    def made(value: int) -> Callable[[], Any]:
        space: dict[str, Any] = {"__name__": "__main__", "value": value, "Enum": Enum}
        exec(
            textwrap.dedent(
                f"""
                class Point:
                    def get(self):
                        return {value}

                class Kind(Enum):
                    A = {value}

                def f():
                    return Point().get() + Kind.A.value
                """
            ),
            space,
        )
        return space["f"]  # type: ignore[no-any-return]

    blobs = {value: packed_function(made(value)).blob for value in (1, 2)}
    assert packed_function(made(1)).blob == blobs[1] != blobs[2]
    for value, blob in blobs.items():
        assert cloudpickle.loads(split_function(blob)[1])() == 2 * value


def test_stable_pickle_of_sets_loads_equal() -> None:
    node: Any = type("Node", (), {})()
    node.all = {node, "a"}
    values = [{1, "a", (2, "b")}, frozenset({"x", frozenset({"y"})}), set(), {1.5, None}, {3, 1, 2}, {b"b"}]
    assert cloudpickle.loads(steady_pickle(values)[0]) == values
    back = cloudpickle.loads(steady_pickle(node)[0])
    assert back in back.all
    assert len(back.all) == 2
    array = np.frombuffer(bytes(range(256)) * 64, "u1")  # every opcode is in it
    assert np.array_equal(cloudpickle.loads(steady_pickle(lambda: array)[0])(), array)


def test_empty_arrays_beside_sets() -> None:
    """They are of one byte, or of none: Python has one object for all of these."""
    empty, frozen = np.array([], int), np.array([], int)
    frozen.flags.writeable = False
    ones = [np.frombuffer(b"a", "u1"), np.frombuffer(b"a", "u1"), np.ones(1, bool)]
    rows = [
        empty,
        {"a": np.zeros(0)},
        [empty, frozen, frozen.copy(), np.zeros((0, 3))],
        ones,
        [frozen, b"", b"a"],
    ]
    for row in rows:
        value = ({1, 2}, row, row)
        back = cloudpickle.loads(steady_pickle(value)[0])
        np.testing.assert_equal(back, value)
        assert back[1] is back[2]
    spline, table = scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4]), scipy.sparse.csr_matrix((3, 3))
    back = cloudpickle.loads(steady_pickle(({1}, spline, table))[0])
    assert (back[1](1.5), back[2].nnz) == (spline(1.5), 0)

    def f(i: Any, j: Any) -> Any:
        K = np.exp(-abs(i[:, None] - j))
        K[np.isin(i, empty)] = len({"a", "b"} | {len(i)}) - 3
        return K

    again = cloudpickle.loads(split_function(packed_function(f).blob)[1])
    assert np.array_equal(again(np.arange(4), np.arange(4)), f(np.arange(4), np.arange(4)))
