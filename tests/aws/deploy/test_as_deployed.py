"""What is not named stays as it is deployed: errors recommend the plain command, which must undo nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from wrenla.aws import deploy as deployment
from wrenla.aws.connect import connect
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.aws.policies import driver_policy
from wrenla.aws.resolve import resolve
from wrenla.cli.main import main

from .conftest import EVERYTHING, Account

Packaging = Callable[[str], Package]


@pytest.fixture
def run(account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", account.region)
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


@pytest.fixture
def built(package: Packaging, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requirements that packages were built with; a package is named by them."""
    texts: list[str] = []
    made: dict[str, Package] = {}

    def build(*, requirements: Path | None, **_: Any) -> Package:
        text = "" if requirements is None else requirements.read_text()
        texts.append(text)
        if text not in made:
            made[text] = package(f"with {len(text)}")
            monkeypatch.setattr(deployment, "build_package", build)
        return made[text]

    monkeypatch.setattr(deployment, "build_package", build)
    return texts


def configuration(account: Account) -> Any:
    return account.admin.client("lambda").get_function_configuration(FunctionName="wrenla")


def own_role(account: Account) -> str:
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    made = account.admin.client("iam").create_role(RoleName="own", AssumeRolePolicyDocument=document)
    return str(made["Role"]["Arn"])


def hide_variables(account: Account) -> None:
    """Let Lambda answer as it does to who may not decrypt the function's variables."""

    def change(parsed: dict[str, Any], **_: Any) -> None:
        parsed["Environment"] = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "no"}}
        parsed["KMSKeyArn"] = "arn:aws:kms:eu-central-1:1:key/k"

    account.admin.events.register("after-call.lambda.GetFunctionConfiguration", change)
    account.admin.__dict__["_made"].clear()  # clients know only what was registered before them


def test_the_plain_command_changes_nothing(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    first = run(
        *("deploy", "--memory", "3008", "--timeout", "300", "--storage", "1024", "--arch", "arm64"),
        *("--tags", "team=a"),
    )
    assert first.exit_code == 0, first.output
    assert run("deploy").output.startswith("nothing to change\n")
    found = configuration(account)
    assert (found["MemorySize"], found["Timeout"], found["Architectures"]) == (3008, 300, ["arm64"])
    assert found["EphemeralStorage"] == {"Size": 1024}
    assert run("deploy", "--memory", "1769").output.startswith(
        "change function wrenla: MemorySize 3008 → 1769\n"
    )
    assert configuration(account)["Timeout"] == 300


def test_at_first_the_defaults_are_those_in_the_help(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    deploy(account.admin)
    found = configuration(account)
    assert (found["MemorySize"], found["Timeout"], found["Architectures"]) == (1769, 900, ["x86_64"])
    text = " ".join(run("deploy", "--help").output.split())
    for default in ("1769", "900", "512", "x86_64"):
        assert f"[default: as deployed, else {default}]" in text


def test_a_role_of_ones_own_stays_until_it_is_given_back(
    run: Callable[..., Result], account: Account, package: Packaging
) -> None:
    arn = own_role(account)
    assert run("deploy", "--role", arn).exit_code == 0
    assert run("deploy").output.startswith("nothing to change\n")
    assert configuration(account)["Role"] == arn
    refusal = run("deploy", "--permissions-boundary", "arn:aws:iam::1:policy/b")
    assert refusal.exit_code == 1
    assert "give --role '' too" in refusal.output
    assert run("deploy", "--role", "").exit_code == 0
    assert configuration(account)["Role"].endswith(":role/wrenla-wrenla-eu-central-1")
    assert run("deploy").output.startswith("nothing to change\n")


def test_the_role_that_was_made_before_goes_too(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    deploy(account.admin, DeploySpec(role=own_role(account)))
    destroy(account.admin)
    assert [role["RoleName"] for role in account.admin.client("iam").list_roles()["Roles"]] == ["own"]


def test_the_boundary_stays(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    arn = iam.create_policy(PolicyName="b", PolicyDocument=json.dumps(EVERYTHING))["Policy"]["Arn"]
    name = deploy(account.admin, DeploySpec(permissions_boundary=arn)).role_arn.rpartition("/")[2]
    assert deploy(account.admin).changed == ()
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn


def test_variables_stay_until_others_are_named(account: Account, package: Packaging) -> None:
    deploy(account.admin, DeploySpec(environment={"LEVEL": "3"}))
    assert deploy(account.admin).changed == ()
    assert configuration(account)["Environment"]["Variables"]["LEVEL"] == "3"
    deploy(account.admin, DeploySpec(environment={}))
    assert "LEVEL" not in configuration(account)["Environment"]["Variables"]


# requirements


def test_requirements_are_remembered(
    run: Callable[..., Result], account: Account, built: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "more.txt"
    file.write_text("# ours\nshapely>=2\npandas[excel] ; python_version > '3'\n")
    assert run("deploy", "--requirements", str(file)).exit_code == 0
    assert run("deploy", "--requirements", str(file)).output.startswith("nothing to change\n")
    text = file.read_text()
    file.unlink()
    for path in (tmp_path / "cache").rglob("requirements-*"):
        path.unlink()  # as on another machine
    account.changes()
    assert run("deploy").output.startswith("nothing to change\n")
    assert account.changes() == []
    assert built == [text] * 3
    variables = configuration(account)["Environment"]["Variables"]
    assert not {name for name in variables if name.startswith("WRENLA_")} - {
        *("WRENLA_BUCKET", "WRENLA_PREFIX", "WRENLA_BUCKET_OWNER")  # others would be settings over there
    }
    assert "update the code" in run("deploy", "--no-requirements").output
    assert run("deploy").output.startswith("nothing to change\n")
    assert built[3:] == ["", ""]
    assert configuration(account)["Environment"]["Variables"].keys() < variables.keys()


@pytest.mark.parametrize(
    "text",
    [
        "pandas\n--extra-index-url https://me:secret@example.org/simple\n",
        "./wheels/own-1.0-py3-none-any.whl\n",
        "own @ file:///home/me/own.whl\n",
        "own-1.0-py3-none-any.whl\n",
        "".join(f"package-{hash(str(number))} == {number}\n" for number in range(400)),
    ],
    ids=["password", "folder", "file", "wheel", "long"],
)
def test_requirements_that_are_not_remembered_are_not_dropped(
    account: Account, built: list[str], tmp_path: Path, text: str
) -> None:
    file = tmp_path / "more.txt"
    file.write_text(text)
    deploy(account.admin, DeploySpec(requirements=file))
    assert deploy(account.admin, DeploySpec(requirements=file)).changed == ()
    assert "secret" not in str(configuration(account))
    account.changes()
    for dry_run in (True, False):
        with pytest.raises(
            DeployError, match="give --requirements FILE again, or --no-requirements"
        ) as raised:
            deploy(account.admin, dry_run=dry_run)
        assert "\n" not in str(raised.value)
    assert account.changes() == []
    deploy(account.admin, DeploySpec(requirements=Path(os.devnull)))
    assert deploy(account.admin).changed == ()
    assert built[-2:] == ["", ""]


def test_looking_and_destroying_need_no_requirements(
    run: Callable[..., Result],
    account: Account,
    built: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wrenla.aws.doctor.invoking", lambda client: lambda function, event: {"kind": ""})
    file = tmp_path / "more.txt"
    file.write_text("./own.whl\n")
    deploy(account.admin, DeploySpec(requirements=file))
    assert "no matrices" in run("ls").output
    assert run("logs").exit_code == 0
    assert "ok       function" in run("doctor").output
    assert "delete function wrenla" in run("destroy", "--yes").output


def test_options_that_exclude_each_other_are_refused(
    run: Callable[..., Result], account: Account, tmp_path: Path
) -> None:
    (file := tmp_path / "more.txt").write_text("pandas\n")
    done = run("deploy", "--requirements", str(file), "--no-requirements")
    assert (done.exit_code, "exclude each other" in done.output) == (2, True)
    assert run("deploy", "--memory", "0").exit_code == 2


# what cannot be read


def test_variables_that_cannot_be_decrypted_are_not_none(account: Account, package: Packaging) -> None:
    options = {"bucket": f"mine-{account.number}", "prefix": "team/x"}
    deploy(account.admin, DeploySpec(**options))  # type: ignore[arg-type]
    hide_variables(account)
    account.changes()
    said = "need kms:Decrypt on arn:aws:kms:eu-central-1:1:key/k"
    for call in (deploy, destroy):
        with pytest.raises(DeployError, match=said):
            call(account.admin)
    with pytest.raises(DeployError, match=said):
        deploy(account.admin, DeploySpec(**options))  # type: ignore[arg-type]
    assert account.changes() == []
    assert "delete function wrenla" in destroy(account.admin, DeploySpec(**options))  # type: ignore[arg-type]


# policies, for those who have no permission yet


def test_policies_for_who_may_nothing(account: Account, package: Packaging) -> None:
    account.enforced()
    user = account.user(
        "new", {**EVERYTHING, "Statement": [{**EVERYTHING["Statement"][0], "Effect": "Deny"}]}
    )
    account.changes()
    done = policies(account, user)
    bucket = f"wrenla-{account.number}-eu-central-1"
    assert json.loads(done.stdout)["who runs on it needs"]["Statement"][1]["Resource"] == [
        f"arn:aws:s3:::{bucket}"
    ]
    assert "need lambda:GetFunctionConfiguration" in done.stderr
    assert done.stderr.count("\n") == 1
    assert account.changes() == []


def policies(account: Account, session: boto3.Session) -> Result:
    keys = session.get_credentials()
    assert keys is not None
    account.patch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    account.patch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    account.patch.setenv("AWS_DEFAULT_REGION", account.region)
    done = CliRunner().invoke(main, ["deploy", "--print-policies"])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1", ""])
def test_policies_without_credentials(account: Account, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    if region:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    done = CliRunner().invoke(main, ["deploy", "--print-policies", "--bucket", "mine"])
    assert done.exit_code == 0, done.output
    partition = "aws-cn" if region.startswith("cn") else "aws"
    spec = resolve(DeploySpec(bucket="mine"), "ACCOUNT", region or "REGION", partition)
    assert json.loads(done.stdout)["who runs on it needs"] == driver_policy(spec)
    assert ("no AWS credentials" if region else "no AWS region") in done.stderr


def test_policies_are_those_of_what_is_deployed(account: Account, package: Packaging) -> None:
    deploy(account.admin, DeploySpec(role=(arn := own_role(account)), prefix="team/x"))
    done = policies(account, account.admin)
    assert done.stderr == ""
    statements = json.loads(done.stdout)["who deploys needs"]["Statement"]
    assert [each["Resource"] for each in statements if each["Sid"] == "PassRole"] == [[arn]]


def test_only_deploying_is_refused_nothing_to_look_at(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    spec = DeploySpec(bucket=f"other-{account.number}")
    assert connect(account.admin, spec)[1].bucket == f"other-{account.number}"
