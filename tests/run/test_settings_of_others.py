"""Files of settings that others own, or may write, do not count; they are named, once, with what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.settings import own_settings_in
from wrenla import config
from wrenla.config import ignored_files, origins, settings
from wrenla.errors import SettingError

STRANGER = 12345


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder deep below, with no settings from anywhere, and nothing said before."""
    own_settings_in(tmp_path, monkeypatch)
    monkeypatch.setattr(config, "_told", set())
    work = tmp_path / "work" / "deep"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return tmp_path


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Let files belong to somebody else; without root's rights only as far as settings look."""
    real = {name: getattr(os, name) for name in ("lstat", "fstat", "stat")}
    owners: dict[tuple[int, int], int] = {}

    def changed(name: str) -> Callable[..., os.stat_result]:
        def look(*arguments: object, **more: object) -> os.stat_result:
            found = real[name](*arguments, **more)
            owner = owners.get((found.st_dev, found.st_ino))
            if owner is None:
                return found
            return os.stat_result((*found[:4], owner, *found[5:]))

        return look

    def make(path: Path, owner: int) -> None:
        if os.geteuid() == 0:
            os.chown(path, owner, -1, follow_symlinks=False)
            return
        status = real["lstat"](path)
        owners[status.st_dev, status.st_ino] = owner
        for name in real:
            monkeypatch.setattr(os, name, changed(name))

    return make


FILES = {
    "config/wrenla/config.toml": "tile = 7\n",
    "work/deep/wrenla.toml": "tile = 7\n",
    "work/wrenla.toml": "tile = 7\n",
    "work/pyproject.toml": "[tool.wrenla]\ntile = 7\n",
    "wrenla.toml": "tile = 7\n",
}


def write(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILES[name])
    path.chmod(0o644)
    return path


def test_settings_file_counts_by_owner_and_mode(
    folder: Path, give: Callable[[Path, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Every place, with every owner and mode, as a file and as a link to one."""
    elsewhere = folder / "elsewhere"
    for name in FILES:
        for owner, mode, count in (
            (os.geteuid(), 0o644, True),
            (os.geteuid(), 0o600, True),
            (os.geteuid(), 0o664, True),  # the group is this user's own
            (0, 0o644, True),
            (os.geteuid(), 0o646, False),
            (0, 0o666, False),
            (STRANGER, 0o644, False),
            (STRANGER, 0o600, False),
        ):
            for linked in (False, True):
                path = write(folder, name)
                path.chmod(mode)
                if linked:
                    path.rename(elsewhere)
                    path.symlink_to(elsewhere)
                give(elsewhere if linked else path, owner)
                caplog.clear()
                case = name, owner, oct(mode), linked
                assert (settings().tile == 7) is count, case
                assert settings().tile in (0, 7)
                assert [file.path for file in ignored_files()] == ([] if count else [path]), case
                assert (str(path) in origins()["tile"]) is count, case
                said = [record.getMessage() for record in caplog.records]
                assert len(said) == (0 if count else 1), case
                assert all(str(path) in line and "WRENLA_… variables" in line for line in said), case
                config._told.clear()
                path.unlink()
                elsewhere.unlink(missing_ok=True)


def test_settings_link_of_another_user_is_ignored(folder: Path, give: Callable[[Path, int], None]) -> None:
    own = folder / "other-project.toml"
    own.write_text("store = '/elsewhere'\n")
    link = folder / "work" / "wrenla.toml"
    link.symlink_to(own)
    assert settings().store == "/elsewhere"
    give(link, STRANGER)
    assert origins()["store"] == "default"


def test_search_for_settings_passes_over_ignored_files(
    folder: Path, give: Callable[[Path, int], None]
) -> None:
    """Nor does another's project end it, which is not worth a word if it does not mention us."""
    above, near = write(folder, "wrenla.toml"), write(folder, "work/deep/wrenla.toml")
    above.write_text("workers = 3\n")
    project = write(folder, "work/pyproject.toml")
    project.write_text("[project]\nname = 'theirs'\ndependencies = ['wrenla']\n")
    for path in (near, project):
        give(path, STRANGER)
    assert (settings().tile, settings().workers) == (0, 3)
    assert [file.path for file in ignored_files()] == [near]


def test_settings_of_user_are_ignored_under_sudo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "config/wrenla/config.toml")
    if os.geteuid() == 0:  # the other way about: a user takes root's, and another one's not
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
        assert settings().tile == 7
        os.chown(folder / "config/wrenla/config.toml", STRANGER + 1, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert settings().tile == 0
    assert "belongs to" in ignored_files()[0].why


def test_settings_file_writable_by_foreign_group_is_ignored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, "work/wrenla.toml")
    path.chmod(0o664)
    if path.stat().st_gid == 0:
        os.chown(path, -1, STRANGER)
    assert settings().tile == (7 if path.stat().st_gid == os.getegid() else 0)
    monkeypatch.setattr(os, "getegid", lambda: path.stat().st_gid + 1)
    assert settings().tile == 0
    assert "chmod g-w" in ignored_files()[0].why


def test_settings_path_that_is_no_file_is_ignored(folder: Path) -> None:
    """Nobody waits for a writer, nor stumbles over a loop or a folder."""
    work = folder / "work" / "deep"
    for make in (
        os.mkfifo,
        os.mkdir,
        lambda path: os.symlink(path, path),
        lambda path: os.symlink(folder / "nowhere", path),
    ):
        path = work / "wrenla.toml"
        make(path)
        assert settings().tile == 0
        assert ignored_files() == []
        path.rmdir() if path.is_dir() else path.unlink()


def test_unreadable_settings_file_is_setting_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, "work/wrenla.toml")

    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(SettingError, match=rf"{path}: Permission denied: let yourself read it"):
        settings()
    path.chmod(0o666)
    assert settings().tile == 0
