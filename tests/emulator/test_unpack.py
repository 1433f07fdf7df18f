"""Zips that would write elsewhere, and zips that are odd: each is refused in words, and leaves nothing."""

from __future__ import annotations

import io
import os
import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.runtime.code import CodeStore

Member = tuple[str, bytes, int]


def _file(name: str, text: bytes = b"text", mode: int = 0o644) -> Member:
    return name, text, stat.S_IFREG | mode


def _link(name: str, target: str | bytes) -> Member:
    return name, target.encode() if isinstance(target, str) else target, stat.S_IFLNK | 0o777


def _zip(*members: Member) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name, text, mode in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, text)
    return file.getvalue()


def _encrypted() -> bytes:
    """Return a zip whose only member claims to be encrypted, in both of its heads."""
    packed = bytearray(_zip(_file("a.py")))
    for head, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.index(head) + flags] |= 1
    return bytes(packed)


def _damaged(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.py", os.urandom(100) * 20)
    packed = bytearray(file.getvalue())
    packed[40:80] = b"\xff" * 40
    return bytes(packed)


def _odd(elsewhere: Path) -> dict[str, bytes]:
    """Return zips that are refused, by what is odd about them."""
    mine = elsewhere / "mine"
    kinds = {"fifo": stat.S_IFIFO, "device": stat.S_IFCHR, "disk": stat.S_IFBLK, "socket": stat.S_IFSOCK}
    return {
        "a member below a link": _zip(_link("a", str(elsewhere)), _file("a/planted")),
        "a member below a link that comes later": _zip(_file("a/planted"), _link("a", str(elsewhere))),
        "a file over a link": _zip(_link("a", str(mine)), _file("a")),
        "a link over a file": _zip(_file("a"), _link("a", str(mine))),
        "a link over a link": _zip(_link("a", "b"), _link("a", str(mine)), _file("b")),
        "a folder over a link": _zip(_link("a", str(elsewhere)), ("a/", b"", stat.S_IFDIR | 0o755)),
        "an absolute link": _zip(_link("a", str(mine))),
        "a link upwards": _zip(_link("a/b", "../../x")),
        "a link through a link": _zip(_link("a/b/c", ".."), _link("d", "a/b/c/../../x"), _file("a/b/e")),
        "a link to itself": _zip(_link("a", "a")),
        "links in a circle": _zip(_link("a", "b"), _link("b", "a")),
        "a link to bytes that are no text": _zip(_link("a", b"\xff\xfe\0")),
        "a link to nothing": _zip(_link("a", b"")),
        "a link with a zero in it": _zip(_link("a", b"b\0c")),
        "a link that is long": _zip(_link("a", "b" * 5000)),
        "a link to a name that is long": _zip(_link("a", "b" * 300)),
        "upwards": _zip(_file("../planted")),
        "upwards within": _zip(_file("a/../planted")),
        "absolute": _zip(_file(str(elsewhere / "planted"))),
        "a file and a folder of one name": _zip(_file("a"), _file("a/b")),
        "a folder and a file of one name": _zip(("a/", b"", stat.S_IFDIR | 0o755), _file("a")),
        "a name of 300 letters": _zip(_file("a" * 300)),
        "no name": _zip(_file(".")),
        "nothing in it": _zip(),
        "encrypted": _encrypted(),
        "damaged": _damaged(zipfile.ZIP_DEFLATED),
        "damaged otherwise": _damaged(zipfile.ZIP_BZIP2),
        "damaged yet otherwise": _damaged(zipfile.ZIP_LZMA),
        "no zip": b"text",
        **{f"a {name}": _zip(("a", b"", kind | 0o644)) for name, kind in kinds.items()},
    }


@pytest.mark.slow  # one of them unpacks to more than functions may have
def test_odd_packages_are_refused_and_write_nothing(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    mode = (elsewhere / "mine").stat().st_mode
    code = tmp_path / "code"
    store = CodeStore(code)
    said = {}
    for name, package in _odd(elsewhere).items():
        with pytest.raises(Refusal) as caught:
            store.take(package)
        said[name] = caught.value.status, caught.value.kind
        assert caught.value.message.startswith(("Could not unzip uploaded file.", "Uploaded file must")), name
        assert (os.listdir(elsewhere), os.listdir(code)) == (["mine"], []), name
    assert set(said.values()) == {(400, "InvalidParameterValueException")}
    assert ((elsewhere / "mine").read_text(), (elsewhere / "mine").stat().st_mode) == ("mine", mode)


def test_allowed_package_is_unpacked(tmp_path: Path) -> None:
    store = CodeStore(tmp_path / "code")
    folder = store.take(
        _zip(
            _link("lib/current", "v2"),
            _link("lib/missing", "nowhere"),
            _file("lib/v2/a.py", b"a"),
            _link("b.py", "./lib/current/../v2/a.py"),
            ("empty/", b"", stat.S_IFDIR | 0o700),
            _file("./run", b"old", 0o700),
            _file("run", b"new", 0o4755),
            _file("secret", b"", 0o600),
        )
    )
    assert (folder / "b.py").read_bytes() == b"a"
    assert os.readlink(folder / "lib/missing") == "nowhere"
    modes = {path: stat.S_IMODE((folder / path).stat().st_mode) for path in ("empty", "lib", "run", "secret")}
    assert modes == {"empty": 0o755, "lib": 0o755, "run": 0o555, "secret": 0}
    assert (folder / "run").read_bytes() == b"new", "of two the last"
