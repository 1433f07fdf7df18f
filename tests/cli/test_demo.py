"""`make demo` does what it promises, here with fewer points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

DEMO = [sys.executable, "-m", "wrenla", "demo"]

ROOT = Path(__file__).parents[2]


def number(pattern: str, text: str) -> float:
    """Return the number that stands at the parenthesis of a pattern."""
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in\n{text}"
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (600, "local"),
        *(pytest.param(*how, marks=pytest.mark.slow) for how in ((600, "dask"), (2000, "local"))),
    ],
)
def test_kriging_beats_the_mean_within_the_memory_allowed(tmp_path: Path, points: int, kind: str) -> None:
    store, picture = tmp_path / "store", tmp_path / "new" / "kriging.png"
    how = ["--points", str(points), "--executor", kind, "--picture", str(picture)]
    run = subprocess.run(
        [*DEMO, *how],
        env={**os.environ, "WRENLA_STORE": str(store), "PYTHONUTF8": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    said = run.stdout
    assert f"plan for a vector of {points}, float64, from {points} × {points}" in said
    assert number(r"n\) = (\S+) < 16: passed", said) < 1
    assert "method     Cholesky: positive definite" in said
    assert number(r"(\S+) GFLOP/s on ", said) > 0
    assert number(r"error +([\d.]+) m", said) < number(r"([\d.]+) m when predicting the mean", said) / 2
    assert number(r"memory +(\d+) MiB (?:in this process )?at the peak", said) <= 256
    assert "GFLOP/s" in run.stderr  # progress
    image = imread(picture)
    assert min(image.shape[:2]) > 1000
    assert image.std() > 0.1
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_kriging_explains_its_options() -> None:
    said = subprocess.run([*DEMO, "--help"], capture_output=True, text=True, check=True).stdout
    for option in ("--points", "--memory", "--executor", "--seed", "--picture"):
        assert option in said


def test_readme_shows_what_it_prints() -> None:
    """All but the numbers: lines and words of the demo's end stand in the README."""

    def shape(text: str) -> list[str]:
        return [re.sub(r"\{[^{}]*\}|[\d.,]+(e-?\d+)?", "#", line).strip() for line in text.splitlines()]

    source = (ROOT / "wrenla" / "cli" / "demo.py").read_text()
    printed = shape(source[source.index("  solve  ") : source.index("predicting the mean")])
    readme = [line for line in (ROOT / "README.md").read_text().splitlines() if line[:4] == "    "]
    shown = {line.split()[0]: line for line in readme if line.strip()}
    for line in printed:
        label = line.split()[0]
        fixed = [word for word in re.split(r"#\S*|\W+", line) if len(word) > 3]
        assert all(word in shown[label] for word in fixed), f"{shown[label]} | {line}"
