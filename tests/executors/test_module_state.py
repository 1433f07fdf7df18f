"""What a program makes of its own modules is in the names of the functions that reach it."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wrenla.executors.transport.dependencies import packed_function

from .scratch_modules import ScratchSpace, scratch_space

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


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchSpace]:
    yield from scratch_space(tmp_path, monkeypatch)


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
