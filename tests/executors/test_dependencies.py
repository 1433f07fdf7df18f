"""A function has another name when something behind it has changed, and the same one when nothing has."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import scipy.interpolate
import scipy.sparse

import wrenla as wl
from wrenla.executors.transport import dependencies, local_modules
from wrenla.executors.transport.dependencies import packed_function
from wrenla.executors.transport.stable_pickle import steady_pickle
from wrenla_handler.serialize.modules import split_function

INSTALLED = {
    "behind_pkg/__init__.py": "from .constants import FACTOR\n\ndef scale(x):\n    return FACTOR * x\n",
    "behind_pkg/constants.py": "FACTOR = 1.0\n",
    "behind_pkg/fast.so": "machine code",
    "behind_pkg/table.csv": "1,2",
    "behind_single.py": "VALUE = 1.0\n\nclass Kind:\n    def call(self, i):\n        return i\n",
    "behind_above.py": "import behind_single\n\ndef up(i):\n    return behind_single.VALUE\n",
    "behind_wraps.py": (
        "import functools\nimport behind_single\n\ndef decorated(f):\n    @functools.wraps(f)\n"
        "    def inner(*a):\n        return behind_single.VALUE * f(*a)\n    return inner\n"
    ),
    "behind_big/__init__.py": "",
    "behind_big-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: behind-big\nVersion: 1.0\n"
        "Requires-Dist: Behind.Needed>=1 ; python_version > '3'\nRequires-Dist: behind_single; extra == 'x'\n"
    ),
    "behind_big-1.0.dist-info/top_level.txt": "behind_big\n",
    "behind_needed/__init__.py": "A = 1\n",
    "behind_needed-2.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: behind_needed\nVersion: 2.0\n",
    "behind_needed-2.0.dist-info/top_level.txt": "behind_needed\n",
}

LOCAL = {
    "behind_local.py": "import behind_pkg\nfrom behind_deep import deep\n\ndef g(i):\n    return deep(i)\n",
    "behind_deep.py": "def deep(i):\n    from behind_single import VALUE\n    return VALUE\n",
    "behind_dynamic.py": (
        "import importlib\n\nNAME = 'behind_single'\n\ndef g(i):\n"
        "    return importlib.import_module(NAME).VALUE\n"
    ),
    "behind_relative/__init__.py": (
        "import importlib\n\ndef late():\n    return importlib.import_module('.late', __name__)\n"
    ),
    "behind_relative/late.py": "VALUE = 1\n",
    "behind_ext.so": "machine code",
    "behind_state.py": (
        "import functools, logging, threading\nimport numpy as np\nfrom behind_deep import deep as other\n\n"
        "CONST = 3\nCFG = {'a': 1}\nTABLE = np.zeros(3)\nLOCK = threading.Lock()\n"
        "LOG = logging.getLogger(__name__)\nONCE = (x for x in ())\nUNUSED = object()\n\n"
        "def k(i, n=[]):\n    return i\n\ndef h(i):\n    return k(i) * CONST\n\n"
        "def locked(i):\n    with LOCK:\n        LOG.info(i)\n        return other(i)\n\n"
        "@functools.cache\ndef cached(i):\n    return k(i)\n\ndef once(i):\n    return next(ONCE)\n\n"
        "class Base:\n    scale = 1.0\n    def m(self, i):\n        return self.scale\n\n"
        "class C(Base):\n    pass\n\n"
        "class Times:\n    def __init__(self, f, n):\n        functools.update_wrapper(self, f)\n"
        "        self.n = n\n    def __call__(self, i):\n        return self.n * self.__wrapped__(i)\n\n"
        "times = Times(h, 2)\n\n@functools.singledispatch\ndef kind(i):\n    return CONST\n\n"
        "@kind.register\ndef _(i: int):\n    return 2\n\n"
        "if CFG['a']:\n    def either(i): return 1\nelse:\n    def either(i): return 2\n"
    ),
}

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


STATES: tuple[tuple[str, str, str], ...] = (
    ("a constant", "import behind_state as s\ndef f(i): return s.CONST", "s.CONST = 4"),
    ("another kind", "import behind_state as s\ndef f(i): return s.CONST", "s.CONST = 3.0"),
    ("a new name", "import behind_state as s\ndef f(i): return s.ADDED", "s.ADDED = 4"),
    ("a constant, inside", "def f(i):\n    import behind_state\n    return behind_state.h(i)", "s.CONST = 4"),
    ("by getattr", "import behind_state as s\ndef f(i): return getattr(s, 'CONST')", "s.CONST = 4"),
    ("through a function", "from behind_state import h as f", "s.CONST = 4"),
    ("a dictionary", "import behind_state as s\ndef f(i): return s.CFG['a']", "s.CFG.update(a=2)"),
    ("an array", "import behind_state as s\ndef f(i): return s.TABLE", "s.TABLE[0] = 3"),
    ("a patched function", "import behind_state as s\ndef f(i): return s.h(i)", "s.k = lambda i: 2 * i"),
    ("patched with another", "import behind_state as s\ndef f(i): return s.h(i)", "s.k = s.locked"),
    ("a default", "import behind_state as s\ndef f(i): return s.h(i)", "s.k.__defaults__[0].append(1)"),
    ("what is imported", "import behind_state as s\ndef f(i): return s.other(i)", "s.other = len"),
    ("a module", "import behind_state as s\ndef f(i): return s.np.exp(i)", "import math; s.np = math"),
    ("in a cached function", "from behind_state import cached as f", "s.k = len"),
    ("an attribute of a class", "from behind_state import C\ndef f(i): return C().m(i)", "s.Base.scale = 2"),
    ("a method", "from behind_state import C\ndef f(i): return C()(i)", "s.C.__call__ = lambda self, i: i"),
    ("what a wrapper has", "import behind_state as s\ndef f(i): return s.times(i)", "s.times.n = 3"),
    ("what is wrapped", "import behind_state as s\ndef f(i): return s.times(i)", "s.CONST = 4"),
    (
        "what is dispatched",
        "import behind_state as s\ndef f(i): return s.kind(i)",
        "s.kind.register(str)(s.h)",
    ),
    ("what dispatches", "from behind_state import kind as f", "s.CONST = 4"),
    ("a condition", "import behind_state as s\ndef f(i): return s.either(i)", "either(s)"),
    ("what is not pickled", "from behind_state import once as f", ""),
)
"""What a function is, and what a program does to a module afterwards."""


@dataclass
class ScratchSpace:
    """Installed and local modules, and scripts that use them."""

    site: Path
    local: Path
    file: str = "script.py"

    def function(self, script: str) -> Any:
        """Run a script as a new process would."""
        for name in [name for name in sys.modules if name.startswith("behind_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        space: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": __builtins__,
            "__file__": self.file,
        }
        exec(compile(script, self.file, "exec", dont_inherit=True), space)
        return space["f"]

    def name(self, script: str) -> str:
        return packed_function(self.function(script)).name


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchSpace]:
    made = ScratchSpace(tmp_path / "site", tmp_path / "local")
    for folder, files in ((made.site, INSTALLED), (made.local, LOCAL)):
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            os.utime(folder / name, (1e9, 1e9))  # long before this process
        monkeypatch.syspath_prepend(str(folder))
    installed = (*local_modules._installed(), f"{os.path.realpath(made.site)}/")
    monkeypatch.setattr(local_modules, "_installed", lambda: installed)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    dependencies._distributions.cache_clear()
    dependencies._required.cache_clear()
    yield made
    for name in [name for name in sys.modules if name.startswith("behind_")]:
        del sys.modules[name]
    dependencies._distributions.cache_clear()
    dependencies._required.cache_clear()


def test_what_changes_a_name(place: ScratchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_changes_no_name(place: ScratchSpace) -> None:
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


def other_branch(module: Any) -> None:
    text = Path(module.__file__).read_text().replace("if CFG['a']:", "if not CFG['a']:")
    exec(compile(text, module.__file__, "exec"), vars(module))


def test_state_of_modules(place: ScratchSpace) -> None:
    wrong = []
    for what, script, change in STATES:
        names = []
        for todo in ("", "", change):
            f = place.function(script)
            exec(todo, {"s": importlib.import_module("behind_state"), "either": other_branch})
            names.append(packed_function(f).name)
        before, again, after = names
        if after == before or (before != again) is bool(change):
            wrong.append((what, before == again, before != after))
    assert not wrong


def test_state_that_is_in_no_name(place: ScratchSpace) -> None:
    """Locks and loggers, what functools.cache keeps, and what a function does not reach."""
    script = "import behind_state as s\ndef f(i): return s.locked(i), s.cached(i), s.C().m(i), s.h(i)"
    f = place.function(script)
    module = importlib.import_module("behind_state")
    before = packed_function(f).name
    module.UNUSED, module.LOCK = 1, threading.Lock()
    module.cached(1)
    module.LOG.setLevel("INFO")
    assert packed_function(f).name == before
    inside = place.function("def f(i):\n    import behind_state as s\n    return s.locked(i), s.CONST")
    assert packed_function(inside).name == (module.LOG.info(""), packed_function(inside).name)[1]


def test_files_that_are_edited_after_their_import(place: ScratchSpace) -> None:
    """Numbers are those of the old text: they never go with those of the new one, nor with each other's."""
    path = place.local / "behind_state.py"
    text = path.read_text()
    script = "import behind_state as s\ndef f(i): return s.h(i), s.CONST"
    for new in (text.replace("CONST = 3", "CONST = 4"), text.replace("k(i) *", "k(i) +")):
        path.write_text(text)
        os.utime(path, (1e9, 1e9))
        f = place.function(script)
        names = [packed_function(f).name]
        path.write_text(new)
        names += (packed_function(f).name, packed_function(f).name)
        os.utime(path, (1e9, 1e9 + len(new)))
        names.append(place.name(script))
        assert len({*names}) == 4
        assert place.name(script) == names[-1]


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
        lambda **more: wl.map_tiles(np.exp, wl.eye(3, 2), **more),
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


def test_sets_stay_what_they_are() -> None:
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
