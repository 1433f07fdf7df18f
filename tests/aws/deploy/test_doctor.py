"""The doctor, with the function's answers made up; logs; and the list of matrices."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

import wrenla as wl
from tests.rates import RATES
from wrenla.aws import doctor
from wrenla.aws.connect import Clients
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.doctor import Check, examine
from wrenla.aws.error_messages import DeployError
from wrenla.aws.inventory import stored_matrices
from wrenla.aws.invoking import Invoke, invoking
from wrenla.aws.logs import log_lines
from wrenla.aws.packaging.package import Package
from wrenla_handler.stores.urls import open_store

from .conftest import Account

Packaging = Callable[[str], Package]


def pong(**changes: Any) -> dict[str, Any]:
    packages = {
        name: importlib.metadata.version(name) for name in ("wrenla", "numpy", "scipy", "cloudpickle")
    }
    return {
        "version": 2,
        "kind": "pong",
        "python": platform.python_version(),
        "packages": packages,
        "blas": {"architecture": "SkylakeX", "threads": 1, "version": "0.3.30"},
        "memory": 1769,
        **changes,
    }


STORED = {"nbytes": 8 << 20, "look": 0.2, "put": 0.1, "get": 0.05, "delete": 0.01}


def answering(answer: Mapping[str, Any], stored: Any = STORED) -> Invoke:
    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = dict(event)
        store = asked.pop("store", None)
        assert asked == {"version": 2, "kind": "ping"}
        return answer if store is None or stored is None else {**answer, "store": stored}

    return invoke


def checks(account: Account, invoke: Any = None, **options: Any) -> dict[str, Check]:
    found = examine(account.admin, DeploySpec(**options), invoke or answering(pong()))
    return {check.name: check for check in found}


def test_doctor_of_working_deployment_is_ok(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    account.changes()
    found = checks(account)
    assert {check.state for check in found.values()} == {"ok"}
    assert account.number in found["credentials"].text
    assert found["bucket"].text == f"s3://{done.bucket}/wrenla"
    assert "MB/s" in found["tile throughput"].text
    assert found["function's tile"].text == "8 MiB from the function: put 84 MB/s, get 168 MB/s"
    assert list(found) == list(CHECKS)
    assert "SkylakeX" in found["BLAS"].text
    assert "1769 MB, 900 s" in found["function"].text
    assert account.changes() == ["PutObject", "DeleteObject"]  # the tile


def test_doctor_keeps_the_rates_of_the_function(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "rates"))
    deploy(account.admin)

    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        return pong(**({"store": STORED, "rates": RATES.plain()} if "store" in event else {}))

    found = checks(account, invoke)
    expected = "8 MiB from the function: put 84 MB/s, get 168 MB/s, 10 GFLOP/s: plans count with that"
    assert found["function's tile"].text == expected
    with wl.LambdaExecutor(session=account.admin) as executor:
        assert executor.measured() == executor.model  # the tests' setting
        monkeypatch.setenv("WRENLA_MEASURE", "true")
        rates = executor.measured().rates
        assert rates is not None
        assert (rates.curve("gemm"), rates.read) == (RATES.curve("gemm"), (8 << 20) / 0.05)
        assert rates.task == pytest.approx(RATES.task + rates.handing)
        assert 0 < rates.handing < executor.model.latency  # of pings, not what AWS is thought to take
        assert min(rates.request, rates.sent, rates.gathered) > 0
        assert executor.model.rates is None


@pytest.mark.parametrize(("emulated", "times"), [(False, 1), (True, 3)])
def test_emulated_functions_are_measured_beside_each_other(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch, emulated: bool, times: int
) -> None:
    monkeypatch.setattr(Clients, "emulated", emulated)
    monkeypatch.setattr(doctor, "processors", lambda: 3)
    deploy(account.admin)
    together, seen = threading.Barrier(times), list[str]()

    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        if "store" not in event:
            return pong()
        together.wait(20)  # or else they are not there at the same time
        seen.append(event["store"])
        if len(seen) > 1:
            raise DeployError("the function is limited to one at a time")
        return pong(store=STORED)

    found = checks(account, invoke)["function's tile"]
    assert len(seen) == times
    assert found.text == "8 MiB from the function: put 84 MB/s, get 168 MB/s"


CHECKS = (
    *("region", "network", "credentials", "function", "bucket", "clearing up", "tile throughput"),
    *("round trip", "function's tile", "versions", "BLAS"),
)


def states(found: Mapping[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in found.items()}


def only(state: str, name: str, ok: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the states when one check came to something, some are well, and the rest is skipped."""
    return {each: state if each == name else "ok" if each in ok else "skipped" for each in CHECKS}


def test_doctor_without_deployment_names_what_is_missing(account: Account) -> None:
    found = checks(account)
    wanted = only("failed", "bucket", ("region", "network", "credentials"))
    assert states(found) == {**wanted, "function": "failed"}
    assert "run wrenla deploy" in found["bucket"].remedy
    assert "run wrenla deploy" in found["function"].remedy


def test_a_misspelt_bucket_or_function(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket
    found = checks(account, bucket="nobucket-xyz")
    assert found["bucket"].text == "there is no bucket nobucket-xyz"
    assert found["bucket"].remedy.startswith("check --bucket")
    found = checks(account, function="nofn", bucket=bucket)
    assert found["bucket"].state == "ok"
    assert "check --function" in found["function"].remedy
    assert found["clearing up"] == Check("clearing up", "skipped", "needs: function")


@pytest.mark.parametrize(
    ("region", "said"),
    [
        (None, "there is no AWS region; set AWS_DEFAULT_REGION"),
        (
            "eu-nowhere-1",
            r"boto3 knows no region 'eu-nowhere-1' \(did you mean eu-north-1\?\): check --region",
        ),
        ("foo", "boto3 knows no region 'foo': check --region"),
        ("a b", "boto3 knows no region 'a b': check --region"),
    ],
)
def test_doctor_of_bad_region_fails_the_region(account: Account, region: str | None, said: str) -> None:
    found = {check.name: check for check in examine(boto3.Session("key", "secret", region_name=region))}
    assert states(found) == only("failed", "region")
    assert re.match(said, found["region"].text)


def test_without_credentials(account: Account) -> None:
    found = {check.name: check for check in examine(boto3.Session(region_name="eu-central-1"))}
    assert states(found) == only("failed", "credentials", ("region",))
    assert found["credentials"].text.startswith("there are no AWS credentials; name a profile")


def test_doctor_without_network_fails_the_network(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        found = checks(account)
    assert states(found) == only("failed", "network", ("region",))
    assert found["network"].text.startswith("AWS does not answer: Could not connect")
    assert "AWS_ENDPOINT_URL" in found["network"].text


def test_doctor_without_lambda_endpoint_fails_the_function(account: Account) -> None:
    def refuse(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    account.admin.events.register("before-call.lambda.GetFunctionConfiguration", refuse)
    found = checks(account, bucket=f"any-{account.number}")
    assert [name for name, state in states(found).items() if state == "ok"] == [*CHECKS[:3]]
    assert found["function"].text.startswith("AWS does not answer: Could not connect")
    assert found["bucket"].text == f"there is no bucket any-{account.number}"


def test_doctor_with_keys_refused_by_lambda_fails_the_credentials(account: Account) -> None:
    """As an emulator does, whose other services take any secret key."""

    def refuse(**_: Any) -> None:
        answer = {"Error": {"Code": "InvalidSignatureException", "Message": "m"}, "ResponseMetadata": {}}
        raise ClientError(answer, "GetFunctionConfiguration")  # type: ignore[arg-type]

    account.admin.events.register("before-call.lambda.GetFunctionConfiguration", refuse)
    found = checks(account)
    assert states(found) == only("failed", "credentials", ("region", "network"))
    assert "the credentials are not accepted; check" in found["credentials"].text


@pytest.mark.parametrize(
    ("status", "code", "message", "name", "said"),
    [
        (403, "SignatureDoesNotMatch", "m", "credentials", "the credentials are not accepted; check AWS_"),
        (403, "InvalidClientTokenId", "m", "credentials", "or the region is not enabled for this account"),
        (403, "ExpiredToken", "m", "credentials", "have expired; renew them"),
        (403, "SignatureDoesNotMatch", "Signature expired: 1 is earlier", "credentials", "clock"),
        (503, "503", "<!DOCTYPE html>\n<p>Bad gateway", "network", "is not AWS (503, a page of HTML); check"),
    ],
)
def test_doctor_of_refusal_fails_the_line_of_its_cause(
    account: Account, status: int, code: str, message: str, name: str, said: str
) -> None:
    def refuse(**_: Any) -> None:
        answer = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(answer, "GetCallerIdentity")  # type: ignore[arg-type]

    account.admin.events.register("before-call.sts.GetCallerIdentity", refuse)
    found = checks(account)
    assert states(found) == only(
        "failed", name, ("region", "network") if name == "credentials" else ("region",)
    )
    assert found[name].text.startswith("GetCallerIdentity: ")
    assert said in found[name].text


ANSWERS: list[tuple[dict[str, Any], str, str]] = [
    ({"python": "3.9.1"}, "versions", "Python 3.9 there"),
    ({"packages": {"numpy": "1.0"}}, "versions", "numpy 1.0 there"),
    ({"packages": {}}, "versions", "numpy None there"),
    ({"blas": {"architecture": "Prescott", "threads": 1}}, "BLAS", "Prescott kernels"),
    ({"kind": "error"}, "round trip", "answers 'error' to a ping"),
]


def test_doctor_of_other_versions_fails_their_line(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    for changes, name, text in ANSWERS:
        found = checks(account, answering(pong(**changes)))
        assert found[name].state == "failed"
        assert text in found[name].text
        assert "deploy" in found[name].remedy
    minor = ".".join(platform.python_version().split(".")[:2])
    assert checks(account, answering(pong(python=f"{minor}.99")))["versions"].state == "ok"

    def fail(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        raise DeployError("function wrenla fails: Runtime.ImportModuleError: no numpy: look at wrenla logs")

    found = checks(account, fail)
    assert found["round trip"].state == "failed"
    assert found["round trip"].text == (
        "function wrenla fails: Runtime.ImportModuleError: no numpy: look at wrenla logs"
    )
    assert found["versions"].state == "skipped"


def test_a_role_that_was_made_again(account: Account, package: Packaging) -> None:
    deploy(account.admin)

    def refuse(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        error = {"Code": "KMSAccessDeniedException", "Message": "Lambda was unable to decrypt the variables"}
        raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": 502}}, "Invoke")  # type: ignore[arg-type]

    found = checks(account, refuse)
    assert found["round trip"].state == "failed"
    assert "run wrenla deploy" in found["round trip"].text


def test_the_rule_that_somebody_removed(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    account.admin.client("s3").delete_bucket_lifecycle(Bucket=done.bucket)
    assert checks(account)["clearing up"].state == "failed"


def test_another_bucket_than_the_function_has(account: Account, package: Packaging) -> None:
    other = deploy(account.admin, DeploySpec(function="other", bucket=f"other-{account.number}")).bucket
    deploy(account.admin)
    found = checks(account, bucket=other)
    assert found["function"].state == "failed"
    assert "leave --bucket out" in found["function"].remedy
    found = checks(account, prefix="elsewhere")
    assert found["function"].text == "function wrenla has prefix wrenla, not elsewhere"
    assert "deploy" not in found["function"].remedy  # which refuses to move one
    assert "leave --prefix out" in found["function"].remedy


def test_a_function_of_somebody_else(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    account.admin.client("lambda").update_function_configuration(
        FunctionName="wrenla", Environment={"Variables": {"THEIRS": "1"}}
    )
    found = checks(account)["function"]
    assert "not one that wrenla has made" in found.text
    assert "check --function" in found.remedy


def test_a_bucket_in_another_region(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 tells the region with every answer; moto does not, and has the bucket where it is asked for."""
    deploy(account.admin)

    def tell(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] = "eu-west-1"

    account.admin.client("s3", config=True).meta.events.register("after-call.s3.ListObjectsV2", tell)
    assert checks(account)["bucket"].state == "ok"  # an emulator's own S3 may say what it likes
    monkeypatch.setattr(Clients, "emulated", False)
    found = checks(account)["bucket"]
    assert found.state == "failed"
    assert "is in eu-west-1, the function in eu-central-1" in found.text


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


@pytest.mark.parametrize(
    ("payload", "failed", "message"),
    [
        (
            b'{"errorType": "Runtime.OutOfMemory", "errorMessage": "killed\\nby"}',
            True,
            "OutOfMemory: killed by",
        ),
        (b"oops", False, "no JSON"),
        (b"[1]", False, "no JSON"),
    ],
)
def test_an_invocation_that_fails_says_how(payload: bytes, failed: bool, message: str) -> None:
    class Client:
        def invoke(self, **arguments: Any) -> dict[str, Any]:
            return {"Payload": _Body(payload), **({"FunctionError": "Unhandled"} if failed else {})}

    with pytest.raises(DeployError, match=message):
        invoking(Client())("wrenla", {})


# logs


def test_logs_of_the_last_hour(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    logs = account.admin.client("logs")
    now = int(time.time() * 1000)
    for stream in ("2026/01/01/[$LATEST]aaaa", "2026/01/01/[$LATEST]bbbb"):
        logs.create_log_stream(logGroupName="/aws/lambda/wrenla", logStreamName=stream)
        events = [{"timestamp": now - ago * 1000, "message": f"{ago} s ago\n"} for ago in (7200, 60)]
        logs.put_log_events(logGroupName="/aws/lambda/wrenla", logStreamName=stream, logEvents=events)
    found = list(log_lines(account.admin))
    assert [(line.stream[-4:], line.text) for line in found] == [("aaaa", "60 s ago"), ("bbbb", "60 s ago")]
    assert len(list(log_lines(account.admin, since=3 * 3600))) == 4
    following = log_lines(account.admin, follow=True)
    assert [next(following).text for _ in range(2)] == ["60 s ago", "60 s ago"]
    following.close()


def test_logs_are_the_functions_wherever_its_objects_are(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    assert list(log_lines(account.admin, DeploySpec(bucket=f"other-{account.number}"))) == []


def test_no_logs_without_a_deployment(account: Account) -> None:
    with pytest.raises(
        DeployError, match="no log group /aws/lambda/wrenla in eu-central-1: run wrenla deploy"
    ):
        list(log_lines(account.admin))


# the list


def test_the_matrices_of_a_store(tmp_path: Path) -> None:
    wl.from_array(np.ones((5, 7)), tile=4).save(str(tmp_path / "a"))
    wl.from_array(np.ones(6, dtype=np.float32), tile=4).save(str(tmp_path / "deep/v"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/zarr.json").write_text("{}")
    (tmp_path / "wrenla-runs/r/t/c").mkdir(parents=True)
    (tmp_path / "wrenla-runs/r/t/zarr.json").write_text("{}")
    store = open_store(tmp_path)
    found = {matrix.name: matrix for matrix in stored_matrices(store)}
    store.close()
    assert list(found) == ["a", "deep/v", "theirs"]
    assert (found["a"].tiles, found["a"].nbytes) == (4, 4 * 4 * 4 * 8)
    assert (found["deep/v"].tiles, found["deep/v"].nbytes) == (2, 2 * 4 * 4)
    assert found["theirs"].layout is None
    store = open_store(tmp_path / "a")
    assert [(matrix.name, matrix.tiles) for matrix in stored_matrices(store)] == [("", 4)]
    store.close()
