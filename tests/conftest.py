"""For all tests: Ctrl-C as it is on a terminal, and an S3 server on this machine."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from wrenla_handler.stores.s3_client import close_clients, shared_client


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal's programs do.

    Whoever is started in the background by a shell ignores it, and so would all that the tests start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on this machine: a stand-in, or what `make test-s3` has started."""
    if "TEST_S3_ENDPOINT" in os.environ:
        yield os.environ["TEST_S3_ENDPOINT"]
        close_clients()
        return
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
        "AWS_ACCESS_KEY_ID": os.environ.get("TEST_S3_ACCESS_KEY", "test"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("TEST_S3_SECRET_KEY", "test"),
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
