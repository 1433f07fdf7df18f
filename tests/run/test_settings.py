"""Settings: which source wins, and what is said of a key or value that is wrong."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.settings import own_settings_in
from wrenla.config import Settings, origins, settings
from wrenla.errors import SettingError, WrenlaError

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with no settings from anywhere."""
    own_settings_in(tmp_path, monkeypatch)
    monkeypatch.delenv("WRENLA_MEASURE")
    monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    work = tmp_path / "work" / "deep"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return tmp_path


@pytest.fixture
def write(folder: Path) -> Write:
    def make(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return make


USER, OWN, PROJECT = "config/wrenla/config.toml", "work/wrenla.toml", "work/pyproject.toml"


def test_defaults(folder: Path) -> None:
    assert settings() == Settings(store=str(folder / "cache" / "wrenla"))
    assert set(origins().values()) == {"default"}


def test_the_order_of_sources(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings().tile == 0
    user = write(USER, "tile = 1\nworkers = 1\nschedule = 'waves'\n")
    assert settings().tile == 1
    project = write(PROJECT, "[tool.wrenla]\ntile = 2\nworkers = 2\n")
    assert (settings().tile, settings().schedule) == (2, "waves")
    own = write(OWN, "tile = 3\n")
    # a wrenla.toml takes the place of the table beside it
    assert (settings().tile, settings().workers) == (3, 1)
    monkeypatch.setenv("WRENLA_TILE", "4")
    assert settings().tile == 4
    assert settings(tile=5).tile == 5
    assert settings(tile=None).tile == 4
    found = origins()
    assert (found["tile"], found["workers"]) == ("environment variable", str(user))
    own.unlink()
    assert origins()["workers"] == f"{project} [tool.wrenla]"


def test_settings_in_removed_folder_are_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert settings() == Settings(store=str(folder / "cache" / "wrenla"))


def test_the_nearest_file_counts(write: Write) -> None:
    write(OWN, "tile = 1\nworkers = 7\n")
    write("work/deep/wrenla.toml", "tile = 2\n")
    assert (settings().tile, settings().workers) == (2, 0)


def test_a_project_without_a_table_ends_the_search(write: Write) -> None:
    write(OWN, "tile = 1\n")
    write("work/deep/pyproject.toml", "[project]\nname = 'x'\n")
    assert settings().tile == 0


KINDS: dict[str, tuple[str, Any]] = {
    "store": ("s3://bucket/tmp", "s3://bucket/tmp"),
    "shared_folders": ("/scratch:/data", "/scratch:/data"),
    "workers": ("3", 3),
    "allowed_mem": ("2 GiB", 2 << 30),
    "blas_threads": ("2", 2),
    "tile": ("512", 512),
    "schedule": ("waves", "waves"),
    "progress": ("off", False),
    "logs": ("quiet", "quiet"),
    "max_compute_bytes": ("1.5 MB", 1_500_000),
    "measure": ("off", False),
    "prices": ("/etc/prices.toml", "/etc/prices.toml"),
    "record": ("records/", "records/"),
}


@pytest.mark.parametrize("key", sorted(KINDS))
def test_every_setting_from_every_source(key: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = KINDS[key]
    assert set(KINDS) <= set(Settings.__slots__)
    path = write(OWN, f'{key} = "{text}"\n')
    assert getattr(settings(), key) == value
    path.unlink()
    monkeypatch.setenv(f"WRENLA_{key.upper()}", text)
    assert getattr(settings(), key) == value
    monkeypatch.delenv(f"WRENLA_{key.upper()}")
    assert getattr(settings(**{key: text}), key) == value
    assert getattr(settings(**{key: value}), key) == value


def test_an_unknown_argument_is_looked_for_among_all_that_computing_takes() -> None:
    with pytest.raises(SettingError, match="did you mean 'report'"):
        settings(reprt="x.html")
    with pytest.raises(SettingError, match=r"there are: .*, record, .*, callbacks, report$"):
        settings(zzz=1)


def test_all_settings_are_in_the_table() -> None:
    assert sorted(KINDS) == sorted(Settings.__slots__)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("worker", "workers"), ("allowed_memory", "allowed_mem"), ("tiles", "tile"), ("shedule", "schedule")],
)
@pytest.mark.parametrize("source", ["file", "project", "environment", "argument"])
def test_an_unknown_key_names_the_nearest(
    wrong: str, near: str, source: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, place = {}, source
    match source:
        case "file":
            place = str(write(OWN, f"{wrong} = 1\n"))
        case "project":
            place = str(write(PROJECT, f"[tool.wrenla]\n{wrong} = 1\n"))
        case "environment":
            monkeypatch.setenv(f"WRENLA_{wrong.upper()}", "1")
        case "argument":
            arguments = {wrong: 1}
    with pytest.raises(SettingError) as error:
        settings(**arguments)
    assert str(error.value).startswith(place)
    assert f"unknown setting {wrong!r}; did you mean {near!r}?" in str(error.value)


def test_unknown_key_without_near_name_lists_all() -> None:
    with pytest.raises(SettingError, match=r"'xyzzy'; there are: .*workers.*allowed_mem"):
        settings(xyzzy=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers", "many"),
        ("workers", -1),
        ("workers", [2]),
        ("tile", "1.5"),
        ("tile", -3),
        ("blas_threads", 0),
        ("allowed_mem", "2 apples"),
        ("allowed_mem", -5),
        ("max_compute_bytes", "no"),
        ("schedule", "wave"),
        ("schedule", 3),
        ("progress", "perhaps"),
        ("logs", "perhaps"),
        ("store", 7),
        ("record", 7),
        ("tile", float("inf")),
        ("shared_folders", 7),
        ("shared_folders", "/scratch:data"),
    ],
)
def test_a_bad_value_is_named_with_its_source(key: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError) as error:
        settings(**{key: value})
    assert isinstance(error.value, WrenlaError | ValueError)
    assert str(error.value).startswith(f"argument: {key} = {value!r} is not usable: ")
    assert not any(word in str(error.value) for word in ("int()", "PathLike", "literal")), error.value
    if isinstance(value, str):
        monkeypatch.setenv(f"WRENLA_{key.upper()}", value)
        with pytest.raises(SettingError, match=f"environment variable: WRENLA_{key.upper()} = "):
            settings()


@pytest.mark.parametrize("text", ["tile = ", "tile", "= 3", "\ttile = 3\n\x00", "[tool.wrenla\ntile = 3"])
def test_a_file_that_is_not_toml_is_named(text: str, write: Write) -> None:
    path = write(OWN, text)
    with pytest.raises(SettingError, match=str(path)):
        settings()


@pytest.mark.parametrize(
    ("word", "truth"), [("1", True), ("TRUE", True), ("yes", True), ("On", True), ("0", False), ("No", False)]
)
def test_words_for_true_and_false(word: str, truth: bool) -> None:
    assert settings(progress=word).progress is truth
    assert settings(progress=truth).progress is truth


def test_settings_of_one_evaluation(folder: Path, write: Write) -> None:
    write(
        OWN, f"store = '{folder / 'runs'}'\nmax_compute_bytes = 100\nworkers = 1\nallowed_mem = '200 MiB'\n"
    )
    A = wl.from_array(np.eye(4), tile=2)
    with pytest.raises(wl.WrenlaError, match="max_compute_bytes"):
        (A @ A).compute()
    np.testing.assert_array_equal((A @ A).compute(max_compute_bytes="1 kB", schedule="waves"), np.eye(4))
    with pytest.raises(SettingError, match="did you mean 'schedule'"):
        (A @ A).compute(shedule="waves")
    write(OWN, "max_compute_bytez = 1\n")
    with pytest.raises(SettingError, match=r"wrenla\.toml: unknown setting"):
        (A @ A).compute()


@pytest.mark.parametrize("value", [1.5, True, float("inf")])
def test_numbers_are_whole(value: Any) -> None:
    with pytest.raises(SettingError, match="not usable"):
        settings(tile=value)


@pytest.mark.parametrize("key", ["store", "allowed_mem", "tile", "progress"])
def test_empty_variable_is_ignored(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings()
    monkeypatch.setenv(f"WRENLA_{key.upper()}", "")
    assert settings() == before


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nwrenla = 3\n"])
def test_settings_that_are_no_table_are_setting_error(text: str, write: Write) -> None:
    write(PROJECT, text)
    with pytest.raises(SettingError, match=r"pyproject\.toml"):
        settings()


def test_variables_of_deployed_function_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WRENLA_BUCKET", "WRENLA_BUCKET_OWNER", "WRENLA_PREFIX"):
        monkeypatch.setenv(name, "123456789012")
    assert settings().store
    assert set(origins().values()) == {"default"}


def test_settings_without_home_folder_are_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function on AWS Lambda has none."""

    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("WRENLA_STORE", raising=False)
    assert settings().store.startswith(tempfile.gettempdir())
