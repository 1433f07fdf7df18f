"""Provision an emulator: deploy wrenla's own function, or another one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from wrenla.aws.deploy import Deployment, DeploySpec, deploy
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME

__all__ = ["deploy_package", "deploy_wrenla"]

logger = logging.getLogger("wrenla.aws")

_TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
    '"Principal": {"Service": "lambda.amazonaws.com"}}]}'
)

_POLICY = (
    '{"Version": "2012-10-17", "Statement": '
    '[{"Effect": "Allow", "Action": ["s3:*", "logs:*"], "Resource": "*"}]}'
)


def deploy_wrenla(session: Any, spec: DeploySpec) -> Deployment:
    """Deploy wrenla's handler as one would to AWS."""
    return deploy(session, spec, tell=logger.info)


def deploy_package(session: Any, spec: DeploySpec, package: Path, handler: str) -> tuple[str, str]:
    """Make a bucket, a role and a function of a zip, and return the names of the first two."""
    bucket = f"{spec.function}-emulator".lower().replace("_", "-")
    region = session.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3 = session.client("s3")
    s3.create_bucket(Bucket=bucket, **place)
    s3.put_object(Bucket=bucket, Key="deploy/package.zip", Body=package.read_bytes())
    role = _role(session, spec.function)
    session.client("lambda").create_function(
        FunctionName=spec.function,
        Runtime=RUNTIME,
        Role=role,
        Handler=handler,
        Code={"S3Bucket": bucket, "S3Key": "deploy/package.zip"},
        MemorySize=spec.memory,
        Timeout=spec.timeout,
        EphemeralStorage={"Size": spec.storage},
        Environment={"Variables": dict(spec.environment or {})},
        Architectures=[ARCHITECTURE],
    )
    return bucket, role


def _role(session: Any, function: str) -> str:
    iam = session.client("iam")
    name = f"{function}-role"
    try:
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_TRUST)
    except iam.exceptions.EntityAlreadyExistsException:
        role = iam.get_role(RoleName=name)
    iam.put_role_policy(RoleName=name, PolicyName="storage", PolicyDocument=_POLICY)
    return str(role["Role"]["Arn"])
