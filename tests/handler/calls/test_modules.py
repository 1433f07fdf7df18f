"""Modules that come with calls: imported from their text, wherever their files are or are not."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator

import pytest

from wrenla_handler.serialize.modules import Finder, Source, decode_sources, encode_sources


def source(name: str, text: str, *, package: bool = False) -> Source:
    path = f"/nowhere/{name.replace('.', '/')}{'/__init__' if package else ''}.py"
    return Source(name, path, package, hashlib.sha256(text.encode()).hexdigest(), text)


@pytest.fixture
def finder() -> Iterator[Finder]:
    """A finder, and no trace of it."""
    before, path = set(sys.modules), list(sys.meta_path)
    yield Finder()
    sys.meta_path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


PACKAGE = [
    source("shipped", "from . import inner\nfrom .inner.deep import VALUE\nNAME = 'ä'\n", package=True),
    source("shipped.inner", "from .. import inner as me\n", package=True),
    source("shipped.inner.deep", "VALUE = 17\n\ndef fail():\n    raise ValueError('deep')  # look here\n"),
    source("shipped_alone", "import shipped.inner.deep as d\nTWICE = 2 * d.VALUE\n"),
]


def test_sources_go_and_come_whatever_their_order() -> None:
    assert decode_sources(encode_sources(PACKAGE)) == sorted(PACKAGE, key=lambda s: s.name)
    assert encode_sources(PACKAGE) == encode_sources(PACKAGE[::-1])


def test_packages_with_relative_imports(finder: Finder) -> None:
    assert not finder.install(PACKAGE)
    alone = importlib.import_module("shipped_alone")
    package = sys.modules["shipped"]
    assert (alone.TWICE, package.VALUE, package.NAME) == (34, 17, "ä")
    assert package.inner.me is package.inner
    assert package.__file__ == "/nowhere/shipped/__init__.py"
    assert package.__path__ == ["/nowhere/shipped"]
    assert sys.modules["shipped.inner.deep"].__package__ == "shipped.inner"
    assert inspect.getsource(sys.modules["shipped.inner.deep"].fail).startswith("def fail")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("shipped.missing")


def test_a_module_that_came_goes_before_others(finder: Finder) -> None:
    finder.install([source("this", "WHO = 'shipped'\n")])
    before = sys.modules.pop("this", None)
    try:
        assert importlib.import_module("this").WHO == "shipped"
    finally:
        sys.modules.pop("this", None)
        if before is not None:
            sys.modules["this"] = before


def test_a_traceback_shows_the_line(finder: Finder) -> None:
    finder.install(PACKAGE)
    with pytest.raises(ValueError, match="deep") as caught:
        importlib.import_module("shipped.inner.deep").fail()
    text = "".join(traceback.format_exception(caught.value))
    assert '"/nowhere/shipped/inner/deep.py", line 4, in fail' in text
    assert "# look here" in text


def test_a_traceback_shows_the_line_as_it_is_now(finder: Finder) -> None:
    for word in ("before", "after"):
        finder.install([source("shipped_lines", f"def fail():\n    return 1 / 0  # {word}\n")])
        with pytest.raises(ZeroDivisionError) as caught:
            importlib.import_module("shipped_lines").fail()
        assert f"# {word}" in "".join(traceback.format_exception(caught.value))


def test_changed_module_purges_all_sent_modules(finder: Finder) -> None:
    finder.install(PACKAGE)
    importlib.import_module("shipped_alone")
    unrelated = importlib.import_module("json.tool")
    changed = [s if s.name != "shipped.inner.deep" else source(s.name, "VALUE = 100\n") for s in PACKAGE]
    assert finder.install(changed)
    assert not [name for name in sys.modules if name.startswith("shipped")]
    assert sys.modules["json.tool"] is unrelated
    assert importlib.import_module("shipped_alone").TWICE == 200


def test_new_module_purges_nothing(finder: Finder) -> None:
    finder.install(PACKAGE)
    package = importlib.import_module("shipped")
    assert not finder.install([source("shipped_more", "import shipped\n")])
    assert not finder.install(PACKAGE)
    assert importlib.import_module("shipped_more").shipped is package
    assert sum(found is finder for found in sys.meta_path) == 1


def test_sent_module_replaces_one_imported_from_file(
    finder: Finder, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    with open(f"{tmp_path}/shipped_later.py", "w") as file:
        file.write("VALUE = 1\n")
    assert importlib.import_module("shipped_later").VALUE == 1
    finder.install([source("shipped_later", "VALUE = 2\n")])
    assert importlib.import_module("shipped_later").VALUE == 2


def test_a_module_with_an_error_of_syntax_says_where(finder: Finder) -> None:
    finder.install([*PACKAGE, source("shipped_broken", "def f(:\n")])
    assert importlib.import_module("shipped").VALUE == 17
    with pytest.raises(SyntaxError) as caught:
        importlib.import_module("shipped_broken")
    assert caught.value.filename == "/nowhere/shipped_broken.py"


@pytest.mark.process
def test_in_a_process_that_has_nothing_else() -> None:
    program = """
import sys
from wrenla_handler.serialize.modules import Finder, decode_sources
Finder().install(decode_sources(sys.stdin.buffer.read()))
import shipped_alone
print(shipped_alone.TWICE, [name for name in sys.modules if "shipped" in name])
"""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], input=encode_sources(PACKAGE), capture_output=True, check=True
    )
    assert ran.stdout.startswith(b"34 ")
    assert b"shipped.inner.deep" in ran.stdout


def test_hashes_are_of_the_text() -> None:
    for found in json.loads(encode_sources(PACKAGE)):
        assert found["sha256"] == hashlib.sha256(found["text"].encode()).hexdigest()
    with contextlib.suppress(ImportError):
        Finder().get_source("unknown")
        raise AssertionError("it knows what never came")
