"""The commands: what they print, what they ask, how they end."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from tests.cli.test_help import keys_on_the_page
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.cli.main import main
from wrenla.cli.parts.command import Command
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import TileLayout, tile_key

from .conftest import Account

Packaging = Callable[[str], Package]

SECRET = "very-secret-key"


@pytest.fixture
def run(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    def invoke(*arguments: str, text: str | None = None) -> Result:
        done = CliRunner().invoke(main, list(arguments), input=text)
        assert SECRET not in done.output
        assert "Traceback" not in done.output
        return done

    yield invoke
    close_clients()


def test_from_deploying_to_destroying(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    would = run("deploy", "--dry-run", "--memory", "2048")
    assert would.exit_code == 0
    assert "would create function wrenla (Python" in would.output
    done = run("deploy", "--memory", "2048", "--tags", "team=a", "--tags", "cost=b")
    assert done.exit_code == 0, done.output
    assert f"create bucket wrenla-{account.number}-eu-central-1" in done.output
    assert done.output.endswith(f"s3://wrenla-{account.number}-eu-central-1/wrenla\n")
    again = run("deploy", "--memory", "2048", "--tags", "team=a", "--tags", "cost=b")
    assert again.output.startswith("nothing to change\n")

    refused = run("destroy", text="n\n")
    assert refused.exit_code == 1
    assert "would delete function wrenla" in refused.output
    assert "Go on?" in refused.output
    assert account.admin.client("lambda").get_function_configuration(FunctionName="wrenla")
    agreed = run("destroy", text="y\n")
    assert agreed.exit_code == 0
    assert "\ndelete function wrenla\n" in agreed.output
    assert run("destroy", "--yes").output == "nothing to remove\n"
    assert "delete bucket" in run("destroy", "--yes", "--data").output


def test_a_region_and_a_function_of_ones_own(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    done = run("deploy", "--region", "us-east-1", "--function", "mine")
    assert f"arn:aws:lambda:us-east-1:{account.number}:function:mine" in done.output


def test_bucket_and_prefix_are_the_functions(
    run: Callable[..., Result], account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wrenla.aws.doctor.invoking", lambda client: lambda function, event: {"kind": ""})
    place = f"s3://mine-{account.number}/team/x"
    assert run("deploy", "--bucket", f"mine-{account.number}", "--prefix", "team/x").exit_code == 0
    assert run("deploy").output.startswith("nothing to change\n")
    assert run("ls").output == f"{place}: no matrices\n"
    assert place in run("doctor").output
    policies = json.loads(run("deploy", "--print-policies").output)
    assert policies["the function's role may"]["Statement"][0]["Resource"] == [
        f"arn:aws:s3:::mine-{account.number}/team/x/*"
    ]
    account.admin.client("s3").put_object(
        Bucket=f"mine-{account.number}", Key="team/x/wrenla-runs/doctor-" + 32 * "0", Body=b"x"
    )
    assert (
        f"delete 1 object in {place}/ (0 of matrices, 1 temporary)"
        in run("destroy", "--yes", "--data").output
    )


def test_destroying_data_that_are_also_anothers(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    for name in ("a", "b"):
        deploy(account.admin, DeploySpec(function=name))
    refused = run("destroy", "--function", "a", "--data", text="y\n")
    assert refused.exit_code == 1
    assert "function b has its matrices in" in refused.output
    assert "Go on?" not in refused.output


def test_ls_of_somebody_without_aws(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    listed = run("ls")
    assert listed.exit_code == 2
    assert listed.output.startswith("Error: there is no AWS region; ")
    assert "`wrenla ls FOLDER`" in listed.output


def test_each_policy_is_a_file_for_aws(run: Callable[..., Result], account: Account, tmp_path: Path) -> None:
    done = run("deploy", "--write-policies", str(tmp_path / "policies"))
    printed = json.loads(run("deploy", "--print-policies").output)
    written = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "policies").iterdir()}
    assert written.keys() == {"function", "run", "deploy", "destroy", "make-role"}
    assert sorted(map(str, written.values())) == sorted(map(str, printed.values()))
    for name, policy in written.items():
        document = f"file://{tmp_path}/policies/{name}.json"
        assert f"--policy-name wrenla-{name} --policy-document {document}\n" in done.output
        account.admin.client("iam").create_policy(
            PolicyName=f"wrenla-{name}", PolicyDocument=json.dumps(policy)
        )


def test_the_policies(run: Callable[..., Result], account: Account) -> None:
    done = run("deploy", "--print-policies")
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert [len(policy["Statement"]) for policy in found.values()] == [3, 3, 7, 5, 2]
    assert "is an administrator" in list(found)[-1]
    bounded = json.loads(run("deploy", "--print-policies", "--permissions-boundary", "arn:b").output)
    assert list(bounded) == list(found)[:-1]
    assert [len(policy["Statement"]) for policy in bounded.values()] == [3, 3, 9, 5]
    assert account.changes() == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("deploy", "--memory", "1"), 2, "Lambda takes 128 to 10240"),
        (("deploy", "--memory", "x"), 2, "not a valid integer"),
        (("deploy", "--arch", "mips"), 2, "x86_64"),
        (("deploy", "--tags", "novalue"), 2, "write key=value"),
        (("deploy", "--requirements", "no-such-file"), 2, "does not exist"),
        (
            ("deploy", "--role", "arn:x", "--permissions-boundary", "arn:y"),
            2,
            "--permissions-boundary is for",
        ),
        (("deploy", "--profile", "no-such-profile"), 1, "check AWS_PROFILE (or --profile)"),
        (("logs", "--since", "yesterday"), 2, "no duration"),
        (("logs",), 1, "run wrenla deploy"),
        (("ls", "gs://bucket"), 2, "no store of kind"),
        (("doctor",), 1, "there is no function wrenla in eu-central-1"),
    ],
)
def test_exit_codes_of_deployment_commands(
    run: Callable[..., Result], account: Account, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == code, done.output
    assert said in done.output


def test_the_doctor_says_the_remedy(
    run: Callable[..., Result], account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(account.admin)

    def fail(function: str, event: object) -> Any:
        raise DeployError(f"function {function} fails: look at wrenla logs")

    monkeypatch.setattr("wrenla.aws.doctor.invoking", lambda client: fail)
    done = run("doctor")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    states = {line[9:26].strip(): line[:8].strip() for line in lines if not line.startswith(" ")}
    assert states["bucket"] == states["function"] == states["tile throughput"] == "ok"
    assert states["round trip"] == "failed"
    said = {line[9:26].strip(): line[26:] for line in lines}
    assert said["round trip"] == "function wrenla fails: look at wrenla logs"
    assert states["versions"] == states["BLAS"] == "skipped"
    lines = run("doctor", "--bucket", "nobucket-xyz").output.splitlines()
    (number,) = (each for each, line in enumerate(lines) if "there is no bucket nobucket-xyz" in line)
    assert lines[number + 1].strip().startswith("→ check --bucket")


def test_matrices_are_listed(
    run: Callable[..., Result], account: Account, package: Packaging, tmp_path: Path
) -> None:
    bucket = deploy(account.admin, DeploySpec()).bucket
    assert run("ls").output == f"s3://{bucket}/wrenla: no matrices\n"
    for url in (f"s3://{bucket}/wrenla/cov", str(tmp_path / "cov")):
        save(url)
    line = "cov  5 × 7  float64  general  4 tiles  512 B\n"
    assert run("ls").output == line
    assert run("ls", f"s3://{bucket}/wrenla").output == line
    assert run("ls", str(tmp_path)).output == line
    assert run("ls", f"s3://{bucket}").output == line.replace("cov", "wrenla/cov")


@pytest.mark.parametrize("command", ["deploy", "destroy", "logs", "ls"])
def test_examples_of_help_run(
    command: str,
    run: Callable[..., Result],
    account: Account,
    package: Packaging,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    deploy(account.admin)
    account.admin.client("s3").create_bucket(
        Bucket=f"bucket-{account.number}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    found = main.get_command(click.Context(main), command)
    assert isinstance(found, Command)
    for line in found.examples:
        done = run(*shlex.split(line.replace("s3://bucket", f"s3://bucket-{account.number}"))[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"


def test_documents_of_deployment_commands(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    would = json.loads(run("deploy", "--dry-run", "--json").stdout)
    assert would.keys() == keys_on_the_page("deploy")
    assert any(step.startswith("create function wrenla") for step in would["steps"])
    done = json.loads(run("deploy", "--json").stdout)
    assert (done["dry_run"], done["changed"], done["prefix"]) == (False, True, "wrenla")
    assert json.loads(run("deploy", "--json").stdout)["changed"] is False
    refused = run("destroy", "--json")
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    gone = json.loads(run("destroy", "--json", "--yes").stdout)
    assert gone.keys() == keys_on_the_page("destroy")
    assert "delete function wrenla" in gone["steps"]
    checks = json.loads(run("doctor", "--json").stdout)
    assert checks.keys() == keys_on_the_page("doctor")
    assert checks["ok"] is False


def test_the_doctor_of_somebody_without_aws(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    done = run("doctor")
    assert done.exit_code == 1
    assert done.output.endswith("without AWS: `wrenla doctor local` checks this machine\n")


def test_lack_of_rights_has_a_code_of_its_own(
    run: Callable[..., Result], account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "HeadBucket")

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    for command in (["deploy"], ["ls", "s3://bucket-of-others/x"], ["logs"], ["destroy", "--yes"]):
        done = run(*command)
        assert done.exit_code == 4, done.output
        assert len(done.stderr.splitlines()) == 1


def save(url: str) -> None:
    """Store a matrix of 5 × 7 in tiles of 4 × 4."""
    store, layout = open_store(url), TileLayout(Grid((5, 7), (4, 4)), "float64")
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        store.put(tile_key(i, j), bytes(128))
    layout.write(store)
    store.close()


def test_logs_are_printed(run: Callable[..., Result], account: Account, package: Packaging) -> None:
    deploy(account.admin)
    logs: Any = account.admin.client("logs")
    logs.create_log_stream(logGroupName="/aws/lambda/wrenla", logStreamName="s/[$LATEST]12345678")
    events = [{"timestamp": int(time.time() * 1000), "message": "START RequestId: 1\n"}]
    logs.put_log_events(
        logGroupName="/aws/lambda/wrenla", logStreamName="s/[$LATEST]12345678", logEvents=events
    )
    done = run("logs", "--since", "5m")
    assert done.exit_code == 0
    assert done.output.endswith(" 12345678 START RequestId: 1\n")
    said = json.loads(run("logs", "--since", "5m", "--json").stdout)
    assert (said["stream"], said["text"]) == ("s/[$LATEST]12345678", "START RequestId: 1")
