"""Layout and prose of the sources: sizes of folders and files, first lines, paths that documents name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("wrenla", "handler", "kernels") for path in (ROOT / folder).rglob("*.py")
)
DOCUMENTS = [
    ROOT / "CONTRIBUTING.md",
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md")),
]

MOST_MODULES = 16
"""In a folder, `__init__.py` included."""

MOST_LINES = 400

_QUESTION = re.compile(r"(What|Where|Who|Whose|Whom|How|Which|Whether|Does|Is|Are) ")

_PATH = re.compile(r"`([\w./-]+/[\w.-]+\.py)`")

pytestmark = pytest.mark.unit


def test_no_folder_holds_more_modules_than_one_can_read() -> None:
    counts: dict[Path, int] = {}
    for path in SOURCES:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert len(counts) > 20
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_file_is_two_things() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_first_lines_of_modules_name_a_thing() -> None:
    """A noun phrase or a verb that a stranger would search for, not a clause with a question word."""
    firsts = {
        str(path): (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        for path in SOURCES
        if path.name != "__init__.py"
    }
    assert {path: line for path, line in firsts.items() if not line or _QUESTION.match(line)} == {}


def test_first_lines_of_classes_and_functions_name_a_thing() -> None:
    """Only attributes that are true or false may begin with Whether."""
    questions = re.compile(r"(What|Where|Who|Whose|Whom|How|Which) ")
    found = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and questions.match(ast.get_docstring(node) or "")
    ]
    assert found == []


def test_documents_name_files_that_are_there() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]]
    missing = [
        f"{document.name}: {named}"
        for document in DOCUMENTS
        for named in _PATH.findall(document.read_text())
        if not any(file == named or file.endswith(f"/{named}") for file in files)
    ]
    assert missing == ["CONTRIBUTING.md: wrenla/algorithms/residual.py"]  # the one that its reader writes
