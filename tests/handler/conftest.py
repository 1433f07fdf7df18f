"""A folder, a memory and an S3 server to test stores on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from wrenla_handler.stores import MemoryStore, Store, open_store
from wrenla_handler.stores.s3_client import close_clients, shared_client


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    close_clients()
    server.stop()


@pytest.fixture
def s3_environment(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's settings for the test server, whatever this machine's own are."""
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_bucket(s3_environment: None) -> str:
    """Name of an empty bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    shared_client().create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["memory", "file", "s3"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of an empty store, one for each kind."""
    match request.param:
        case "memory":
            name = uuid.uuid4().hex
            yield f"memory://{name}"
            MemoryStore.drop(name)
        case "file":
            folder: Path = request.getfixturevalue("tmp_path")
            yield (folder / "a folder").as_uri()
        case _:
            yield f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, one for each kind."""
    opened = open_store(store_url)
    yield opened
    opened.close()
