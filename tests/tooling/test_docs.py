"""What the documents say is true: their Python runs and prints what they say, links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wrenla.cli.main import COMMANDS
from wrenla_handler.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NOTEBOOKS = sorted(ROOT.glob("docs/**/*.ipynb"))

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, first line, and what stands between it and the one before."""

    language: str
    text: str
    line: int
    before: str


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document, or the cells of a notebook."""
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            yield Block("python" if cell["cell_type"] == "code" else "", "".join(cell["source"]), number, "")
        return
    text = path.read_text()
    end = 0
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found[1], found[2], line, text[end : found.start()].strip())
        end = found.end()


def with_python() -> list[Path]:
    return [
        path for path in [*DOCUMENTS, *NOTEBOOKS] if any(block.language == "python" for block in blocks(path))
    ]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def first_read(path: Path) -> bool:
    """Tell whether newcomers read a document first: those run every day, the others with the slow tests."""
    return name_of(path) == "README.md" or "getting-started" in name_of(path)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if first_read(path) else pytest.mark.slow) for path in with_python()],
    ids=name_of,
)
def test_python_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of one document share their names. A `text` block right below one is what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "store"))
    if "LambdaEmulator(" in path.read_text():  # functions there cannot see a folder: they have a bucket
        monkeypatch.delenv("WRENLA_STORE")
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    monkeypatch.setenv("WRENLA_ALLOWED_MEM", "2 GiB")
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(path):
        if block.language == "python":
            # on the right line, so that a traceback leads to the document
            code = compile("\n" * block.line + block.text, str(path), "exec")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(code, names)
            printed = output.getvalue()
        elif block.language == "text" and not block.before:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            said = doctest.OutputChecker().check_output(block.text, printed, flags)
            assert said, f"{name_of(path)}:{block.line} prints\n{printed}"
    MemoryStore.drop("docs")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in _LINK.findall(path.read_text()) if not link.startswith(("http:", "https:"))]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_notebooks_are_kept_without_outputs() -> None:
    """The site shows what this version prints, not what some version has printed."""
    assert len(NOTEBOOKS) >= 2
    for path in NOTEBOOKS:
        cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        assert [cell for cell in cells if cell["outputs"] or cell["execution_count"]] == [], path


def test_links_to_other_sites_are_well_formed() -> None:
    """Nothing is fetched: that they answer is not looked at."""
    found = [
        (path, link) for path in DOCUMENTS for link in re.findall(r"\]\((https?:[^)]*)\)", path.read_text())
    ]
    assert len(found) > 10
    wrong = [
        f"{name_of(path)}: {link}"
        for path, link in found
        if not re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[\w./~%?=&#+-]*)?", link)
    ]
    assert wrong == []


def test_make_targets_exist() -> None:
    made = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        assert set(re.findall(r"`make ([\w-]+)", path.read_text())) <= made, path


def test_commands_exist() -> None:
    for path in DOCUMENTS:
        assert set(re.findall(r"`wrenla (\w+)", path.read_text())) <= set(COMMANDS), path


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_documents_can_run_twice_in_one_folder() -> None:
    """Whoever has run the README runs it again: what is there already must not stop it."""
    for path in (ROOT / "README.md", ROOT / "docs/getting-started.md", ROOT / "docs/guide/map.md"):
        text = "".join(block.text for block in blocks(path) if block.language == "python")
        assert [call for call in re.findall(r"\.save\(.*\)", text) if "overwrite=True" not in call] == []
        assert [call for call in re.findall(r"\.mkdir\(.*\)", text) if "exist_ok=True" not in call] == []


def test_decisions_are_numbered() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs/adr").glob("0*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
