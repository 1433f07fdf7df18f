"""An AWS account of its own for every test, and a small package."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.moto_server import moto_application
from wrenla.aws import deploy as deployment
from wrenla.aws.packaging.package import Package

from .direct import handed_over
from .enforcement import enforce

_accounts = (f"{number:012}" for number in itertools.count(random.randrange(2 * 10**11, 8 * 10**11)))

_READS = ("Get", "List", "Head", "Describe", "Filter")

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class _Session(boto3.Session):
    """Makes each client once: that takes longer than most requests here."""

    def client(self, service_name: str, *_: Any, **options: Any) -> Any:
        made = self.__dict__.setdefault("_made", {})
        key = service_name, str(options.get("config") and "config")
        if key not in made:
            made[key] = super().client(service_name, **options)
        return made[key]


@dataclass(frozen=True)
class Call:
    """One request that was sent."""

    service: str
    operation: str
    parameters: Mapping[str, Any]

    @property
    def reads(self) -> bool:
        return self.operation.startswith(_READS)


@dataclass
class Account:
    """One account, with an administrator's session."""

    number: str
    patch: pytest.MonkeyPatch
    calls: list[Call] = field(default_factory=list)
    region: str = "eu-central-1"

    def __post_init__(self) -> None:
        self.admin = self._session("admin", "secret", "")

    def enforced(self) -> None:
        """Check permissions from now on; the administrator has them all."""
        key, secret = self.add_user("administrator", EVERYTHING)
        self.admin = self._session(key, secret, "")
        enforce(self.patch)

    def add_user(self, name: str, policy: Mapping[str, Any]) -> tuple[str, str]:
        iam = self.admin.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def user(self, name: str, policy: Mapping[str, Any]) -> boto3.Session:
        """Return a session of somebody who may do what a policy allows."""
        return self._session(*self.add_user(name, policy), "")

    def change(self, name: str, policy: Mapping[str, Any]) -> None:
        self.admin.client("iam").put_user_policy(
            UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy)
        )

    def role(self, arn: str) -> boto3.Session:
        """Return a session with the credentials of a role, as a function has them."""
        made = self.admin.client("sts").assume_role(RoleArn=arn, RoleSessionName="function")["Credentials"]
        return self._session(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def elsewhere(self, number: str) -> None:
        """Let requests go to another account."""
        self.patch.setenv("MOTO_ACCOUNT_ID", number)

    def changes(self) -> list[str]:
        """Return the operations since the last time that were not only reading."""
        made = [call.operation for call in self.calls if not call.reads]
        self.calls.clear()
        return made

    def _session(self, key: str, secret: str, token: str) -> boto3.Session:
        session = _Session(key, secret, token or None, self.region)
        session.events.register("provide-client-params.*.*", self._record)
        return session

    def _record(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        self.calls.append(Call(model.service_model.service_name, model.name, dict(params)))


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    with moto_application() as (url, app), handed_over(url, app):
        yield url


@pytest.fixture
def account(aws_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """An empty account in eu-central-1."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    number = next(_accounts)
    for name, value in {
        "AWS_ENDPOINT_URL": aws_endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "MOTO_ACCOUNT_ID": number,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    return Account(number, monkeypatch)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Package]:
    """Replace the package by a tiny one; calling it with another text makes the next one different."""

    def make(text: str) -> Package:
        path = tmp_path / f"{text}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("wrenla_handler/lambda_entry.py", text)
        hashed = hashlib.sha256(path.read_bytes()).digest()
        made = Package(
            path, hashed.hex(), base64.b64encode(hashed).decode(), path.stat().st_size, len(text), {}
        )
        monkeypatch.setattr(deployment, "build_package", lambda **options: made)
        return made

    make("first")
    return make
