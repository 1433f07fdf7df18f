"""For all tests: tiers, what runs beside what, Ctrl-C as on a terminal, an S3 server on this machine."""

from __future__ import annotations

import functools
import gc
import os
import signal
import uuid
from collections.abc import Generator, Iterator

import botocore.hooks
import botocore.httpsession
import botocore.session
import hypothesis
import pytest

from tests.costs import Costs
from tests.moto_server import moto_server
from tests.sampling import Sampling, mark_slow
from tests.tiers import kept_to, tier_of
from tests.together import Together
from wrenla_handler.stores.s3.client import close_clients, shared_client

# Before whoever imports it first: tests of several executors share it.
pytest.register_assert_rewrite("tests.executors.faulty_calls")

# A busy machine is no fault of the code, and a run of the tests is to be the same each time.
hypothesis.settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

# Tests make hundreds of clients, and every session would parse the descriptions of AWS's services again.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
# … take the names of the fourteen events of a request apart
_alias_of = functools.cache(botocore.hooks.EventAliaser(None)._alias_event_name)
botocore.hooks.EventAliaser._alias_event_name = lambda self, event_name: _alias_of(event_name)
# … and read its certificates, though what is here speaks HTTP
botocore.httpsession.create_urllib3_context = functools.cache(botocore.httpsession.create_urllib3_context)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--costs` and `--most`."""
    ours = parser.getgroup("wrenla")
    ours.addoption("--costs", type=int, metavar="N", help="print the N files that use most processor time")
    ours.addoption("--most", type=int, metavar="N", help="run at most N parameter sets of each function")


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C as a terminal's programs do, and add our plugins.

    Whoever is started in the background by a shell ignores it, and so would all that the tests start.
    """
    config.pluginmanager.register(Together())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.costs is not None:
        config.pluginmanager.register(Costs(config.option.costs))
    if config.option.most is not None:
        config.pluginmanager.register(Sampling(config.option.most))


def pytest_collectstart() -> None:
    """Collect no garbage until all tests are read: it would be a tenth of the time."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, and as slow if it is."""
    for item in items:
        item.add_marker(tier_of(item))
    mark_slow(items)


def pytest_collection_finish() -> None:
    """Let garbage collections, of which tests ask for hundreds, look at what tests make, not at modules."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(7_000)  # not 700: a twentieth of the processor time of all tests


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold a test to its tier."""
    with kept_to(item):
        return (yield)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server on this machine: a stand-in, or what `make test-s3` has started."""
    if "TEST_S3_ENDPOINT" in os.environ:
        yield os.environ["TEST_S3_ENDPOINT"]
        close_clients()
        return
    with moto_server() as url:
        pytest_collection_finish()
        yield url
        close_clients()


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
