"""Credentials that are renewed while a client is in use: the next request is signed with them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import NoCredentialsError, ProfileNotFound

from wrenla.executors.aws_lambda.client import Function
from wrenla_handler.stores.s3.client import new_client, shared_client
from wrenla_handler.stores.s3.credentials import renewing_session


class Service:
    """Answers every request, and keeps what it was signed with."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.tokens: list[str] = []

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        signed, token = request.headers["Authorization"], request.headers.get("X-Amz-Security-Token", b"")
        signed, token = (x.decode() if isinstance(x, bytes) else x for x in (signed, token))
        found = re.search(r"Credential=([^/]+)/", signed)
        self.keys.append(found[1] if found else "")
        self.tokens.append(token)
        deleted = request.method == "DELETE"
        return AWSResponse(request.url, 204 if deleted else 200, {}, _Body([] if deleted else [b"{}"]))


class _Body:
    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    def stream(self) -> list[bytes]:
        return self.parts


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def profile(key: str, name: str = "default", token: str = "") -> str:
    more = f"aws_session_token = {token}\n" if token else ""
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = s\n{more}"


def test_each_request_uses_the_credentials_of_the_moment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service, file = Service(), home / "credentials"
    s3 = new_client()
    invoking = renewing_session().client("lambda")
    asks: list[Callable[[], Any]] = [
        lambda: s3.delete_object(Bucket="bucket", Key="k"),
        lambda: invoking.get_function(FunctionName="f"),
    ]
    s3.meta.events.register("before-send.s3", service)
    invoking.meta.events.register("before-send.lambda", service)

    def environment(key: str, token: str = "") -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)

    def no_environment() -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)

    def replaced(text: str) -> None:
        (home / "new").write_text(text)
        os.replace(home / "new", file)

    steps: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: file.write_text(profile("FILE1", token="t1")), "FILE1", "t1"),
        (lambda: None, "FILE1", "t1"),
        (lambda: file.write_text(profile("FILE2", token="t2")), "FILE2", "t2"),
        (lambda: replaced(profile("FILE3") + profile("OTHER", "other")), "FILE3", ""),
        (lambda: monkeypatch.setenv("AWS_PROFILE", "other"), "OTHER", ""),
        (lambda: monkeypatch.delenv("AWS_PROFILE"), "FILE3", ""),
        (lambda: environment("ENV1", "t1"), "ENV1", "t1"),
        (lambda: environment("ENV2", "t2"), "ENV2", "t2"),
        (no_environment, "FILE3", ""),
        # somebody who is just writing it
        (lambda: file.write_text("[default"), "FILE3", ""),
        (lambda: file.write_text(""), "FILE3", ""),
        (lambda: file.write_text(profile("FILE4")), "FILE4", ""),
        (lambda: (home / "config").write_text(profile("CONFIG", "profile c")), "FILE4", ""),
        (lambda: monkeypatch.setenv("AWS_PROFILE", "c"), "CONFIG", ""),
        (lambda: (home / "config").write_text(profile("CONFIG2", "profile c")), "CONFIG2", ""),
    ]
    for ask in asks:
        with pytest.raises(NoCredentialsError):
            ask()
    for number, (change, key, token) in enumerate(steps):
        change()
        for ask in asks:
            ask()
            assert (service.keys[-1], service.tokens[-1]) == (key, token), number
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    for ask in asks:  # rather than the keys of another profile
        with pytest.raises(ProfileNotFound):
            ask()
    s3.close()
    invoking.close()


def test_a_profile_that_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `wrenla deploy --profile`: the environment's keys are not meant."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    (home / "credentials").write_text(profile("", "work"))
    session = renewing_session("work", "eu-west-3")
    for key in ("ONE", "THE_OTHER"):
        (home / "credentials").write_text(profile(key, "work"))
        assert (session.get_credentials().access_key, session.region_name) == (key, "eu-west-3")
    with pytest.raises(ProfileNotFound):
        renewing_session("nobody")


def test_one_client_serves_all_credentials(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ONE")
    first = shared_client()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TWO")
    assert shared_client() is first
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert shared_client() is not first


def test_threads_look_once_for_each_change(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "credentials").write_text(profile("FILE1"))
    credentials = renewing_session().get_credentials()
    looks, find, all_there = [], credentials._find, threading.Barrier(8)

    def counted() -> Any:
        looks.append(1)
        return find()

    def use() -> None:
        all_there.wait(30)
        assert credentials.get_frozen_credentials().access_key == "FILE1"

    monkeypatch.setattr(credentials, "_find", counted)
    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looks) == 1
    assert "FILE1" not in repr(credentials) + repr(vars(credentials)["_state"])


def test_functions_have_such_a_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "credentials").write_text(profile("FILE1"))
    seen: list[Any] = []

    def read(self: Function, config: Any) -> Any:
        seen.append(self._session)
        raise InterruptedError

    monkeypatch.setattr(Function, "_read", read)
    with pytest.raises(InterruptedError):
        Function("f")
    (home / "credentials").write_text(profile("FILE2"))
    assert seen[0].get_credentials().access_key == "FILE2"
