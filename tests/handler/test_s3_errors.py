"""One line for each error of S3: of an object it names the object, of the bucket only the bucket."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, SSLError

from wrenla_handler import probe as probe_module
from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.probe import probe
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.s3.errors import translating

URL = "s3://bucket/wrenla"
NO_BUCKET = "there is no such bucket; create it, or check its name and the region"


def answer(code: str, status: int, message: str = "m") -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Any")  # type: ignore[arg-type]


def said(error: Exception, key: str) -> str:
    with pytest.raises(StoreError) as raised, translating(URL, key):
        raise error
    return str(raised.value)


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("key", ["", "lease/", "lease/00000001"])
def test_a_bucket_that_is_not_there(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = answer("NoSuchBucket", 404)
    assert said(error, key) == f"{URL}: {NO_BUCKET}"
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert said(error, key) == f"{URL}: {NO_BUCKET} ({name} is set)"


@pytest.mark.parametrize(
    "error",
    [
        answer("InvalidAccessKeyId", 403),
        answer("ExpiredToken", 400),
        answer("PermanentRedirect", 301),
        answer("RequestTimeTooSkewed", 403),
        NoCredentialsError(),
        SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"),
    ],
    ids=str,
)
def test_errors_of_the_connection_do_not_name_the_object(error: Exception) -> None:
    assert {said(error, key) for key in ("", "lease/", "m/c/0/0")} == {said(error, "")}
    assert said(error, "").startswith((f"{URL}: th", f"{URL}: SSL"))


@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (answer("AccessDenied", 403), "access denied; the credentials need"),
        (answer("Teapot", 418), "S3 answered 418 Teapot: m"),
        (EndpointConnectionError(endpoint_url="http://x"), "S3 did not answer: Could not connect"),
        (SSLError(endpoint_url="https://x", error="EOF"), "S3 did not answer: SSL validation failed"),
    ],
    ids=str,
)
def test_objects_are_named_but_no_empty_keys(error: Exception, begin: str) -> None:
    for key in ("", "lease/"):
        assert said(error, key).startswith(f"{URL}: {begin}")
    assert said(error, "m/c/0/0").startswith(f"{URL}: m/c/0/0: {begin}")


# trying a store


class Broken(MemoryStore):
    """Some of what it is asked fails, as S3 lets it fail."""

    fails: tuple[str, ...] = ()

    def _may(self, name: str) -> None:
        if name in self.fails:
            with translating(URL, "doctor"):
                raise answer("AccessDenied", 403, f"not\nauthorized to {name}")

    def exists(self, key: str) -> bool:
        self._may("look")
        return super().exists(key)

    def put(self, *of: object, **how: object) -> bool:
        self._may("put")
        return super().put(*of, **how)  # type: ignore[arg-type]

    def get(self, *of: object) -> memoryview:  # type: ignore[override]
        self._may("get")
        return super().get(*of)  # type: ignore[arg-type]

    def delete(self, key: str) -> None:
        self._may("delete")
        super().delete(key)


@pytest.mark.parametrize(
    ("fails", "first", "done", "left"),
    [
        (("look",), "look", ["put", "get", "delete"], 0),
        (("look", "put", "get", "delete"), "put", [], 0),
        (("put",), "put", ["look"], 0),
        (("get",), "get", ["look", "put", "delete"], 0),
        (("delete",), "delete", ["look", "put", "get"], 1),
        (("get", "delete"), "get", ["look", "put"], 1),
    ],
)
def test_the_first_thing_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, fails: tuple[str, ...], first: str, done: list[str], left: int
) -> None:
    store = Broken(f"probe-{'-'.join(fails)}")
    store.fails = fails
    monkeypatch.setattr(probe_module, "open_store", lambda url: store)
    found = probe("s3://b")
    assert (found["failed"], found["code"]) == (first, "AccessDenied")
    assert found["said"] == f"not authorized to {first}"
    assert found["error"].startswith(f"{URL}: doctor: access denied")
    assert [name for name in ("look", "put", "get", "delete") if name in found] == done
    assert len(list(store.list())) == left


def test_one_wait_for_a_store_that_does_not_answer_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Silent(MemoryStore):
        def exists(self, key: str) -> bool:
            tried.append(key)
            raise TransientStoreError(f"{URL}: S3 did not answer")

    monkeypatch.setattr(probe_module, "open_store", lambda url: Silent("silent"))
    found = probe("s3://b")
    assert (found["failed"], found["error"], found["code"]) == ("look", f"{URL}: S3 did not answer", "")
    assert len(tried) == 1
    assert "put" not in found


def test_an_address_of_no_store() -> None:
    found = probe("gs://b")
    assert found["failed"] == "open"
    assert "no store of kind" in found["error"]


def test_waiting_for_s3_is_worth_another_try() -> None:
    with pytest.raises(TransientStoreError), translating(URL, ""):
        raise answer("InternalError", 500)
