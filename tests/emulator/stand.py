"""An emulator to which functions can be added, without changing this process's environment."""

from __future__ import annotations

import base64
import io
import itertools
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from wrenla.emulator.client import EmulatorProcess
from wrenla.emulator.options import Options
from wrenla.emulator.provision import _role
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME

HANDLERS = Path(__file__).with_name("handlers.py").read_text()


def package(files: Mapping[str, str] | None = None, mode: int = 0o644) -> bytes:
    """Return a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (files or {"handlers.py": HANDLERS}).items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, text)
    return file.getvalue()


@dataclass(frozen=True)
class Answer:
    """What a call was answered."""

    value: Any
    error: str | None
    log: str
    status: int
    id: str

    @property
    def lines(self) -> list[str]:
        return self.log.splitlines()


class Stand:
    """An emulator, and its clients, which never try again."""

    def __init__(self, options: Options) -> None:
        self.process = EmulatorProcess(options)
        self.ready = self.process.ready
        self._numbers = itertools.count()
        self.session = boto3.Session(self.ready.key, self.ready.secret, region_name=options.region)
        self.lambda_ = self.client("lambda")
        self.s3 = self.client("s3")

    def client(self, service: str, session: Any = None) -> Any:
        url = self.ready.lambda_url if service == "lambda" else self.ready.s3_url
        config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, read_timeout=100)
        return (session or self.session).client(service, endpoint_url=url, config=config)

    def role(self) -> str:
        class Session:
            client = staticmethod(self.client)

        return _role(Session, f"role-{next(self._numbers)}")

    def bucket(self) -> str:
        name = f"bucket-{next(self._numbers)}"
        self.s3.create_bucket(Bucket=name)
        return name

    def function(
        self, handler: str = "echo", *, code: bytes | None = None, role: str = "", **options: Any
    ) -> str:
        """Make a function, and return its name."""
        name = f"function-{next(self._numbers)}"
        self.lambda_.create_function(
            **{
                "FunctionName": name,
                "Runtime": RUNTIME,
                "Role": role or self.role(),
                "Handler": handler if "." in handler else f"handlers.{handler}",
                "Code": {"ZipFile": code or package()},
                "MemorySize": 1769,
                "Timeout": 20,
                "Architectures": [ARCHITECTURE],
                **options,
            }
        )
        return name

    def call(self, function: str, event: Any = None, **options: Any) -> Answer:
        """Call a function."""
        got = self.lambda_.invoke(
            FunctionName=function, Payload=json.dumps(event or {}), LogType="Tail", **options
        )
        text = got["Payload"].read()
        return Answer(
            json.loads(text) if text else None,
            got.get("FunctionError"),
            base64.b64decode(got.get("LogResult", "")).decode(),
            got["StatusCode"],
            got["ResponseMetadata"]["RequestId"],
        )

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.process.ask("GET", "/_emulator/counts")
        return found

    def faults(self, *rules: Mapping[str, Any]) -> None:
        self.process.ask("PUT", "/_emulator/faults", rules)

    def marks(self, bucket: str, key: str) -> int:
        """Return how often the function `marks` has run."""
        return int(self.s3.list_objects_v2(Bucket=bucket, Prefix=f"{key}/")["KeyCount"])

    def close(self) -> None:
        self.process.close()
