"""IAM policies: pure functions from names to policies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wrenla.aws.spec import ResolvedSpec

__all__ = [
    "deployer_policy",
    "destroyer_policy",
    "driver_policy",
    "role_maker_policy",
    "role_policy",
    "tls_statement",
    "trust_policy",
]

Policy = dict[str, Any]


def trust_policy() -> Policy:
    """Return who may take the role: Lambda alone.

    For whom Lambda may take it cannot be said: AWS documents `aws:SourceAccount` for no function's role, and
    none can be passed from another account.
    """
    return _policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def role_policy(spec: ResolvedSpec) -> Policy:
    """Return what the function may do: read and write its tiles, write its log, nothing else.

    It is also the closest permissions boundary that the role can have.
    """
    return _policy(
        *_tiles(spec),
        _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{spec.log_group_arn}:*"]),
    )


def driver_policy(spec: ResolvedSpec) -> Policy:
    """Return the least that somebody needs who runs plans and calls on the function."""
    return _policy(
        *_tiles(spec),
        _allow("Run", ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"], _versions(spec)),
    )


def deployer_policy(spec: ResolvedSpec) -> Policy:
    """Return the least that somebody needs who deploys and looks after the function.

    Whoever writes a role's policies, and may pass the role to a function and say what this runs, has the
    rights of an administrator. So it writes none, unless a permissions boundary is asked for: then roles
    without it are not made and not changed. Who may take the role nobody changes by it, and nobody can be
    kept from making the bounded role for whom they like: what a boundary allows is what is handed out.
    """
    objects = [f"{spec.bucket_arn}/{spec.code_prefix}*"]
    statements = [
        _allow("Bucket", _BUCKET_ACTIONS, [spec.bucket_arn]),
        _allow("Code", _CODE_ACTIONS, objects),
        _allow("Function", _FUNCTION_ACTIONS, _versions(spec)),
        # DescribeLogGroups cannot be confined to one group
        _allow("LogGroups", ["logs:DescribeLogGroups"], [spec.arn("logs", "log-group:*")]),
        _allow("Log", _LOG_ACTIONS, [spec.log_group_arn, f"{spec.log_group_arn}:*"]),
        _allow("PassRole", ["iam:PassRole"], [spec.role_arn], _PASSED_TO_LAMBDA),
    ]
    if not spec.role:
        statements.append(_allow("Role", ["iam:GetRole", "iam:GetRolePolicy"], [spec.role_arn]))
        if spec.permissions_boundary:
            statements += _role_making(spec)
    return _policy(*statements)


def role_maker_policy(spec: ResolvedSpec) -> Policy | None:
    """Return the rights to make the role beside those to deploy; None if those are enough.

    Without a boundary it makes an administrator of who has it: they deploy first, and when the role has to
    be changed, and all others deploy after them.
    """
    return None if spec.role or spec.permissions_boundary else _policy(*_role_making(spec))


def destroyer_policy(spec: ResolvedSpec) -> Policy:
    """Return what destroying needs beside what deploying needs; the last two only for the matrices too."""
    statements = [
        _allow(
            "DeleteLog",
            ["logs:DeleteLogGroup", "logs:ListTagsForResource"],
            [spec.log_group_arn, f"{spec.log_group_arn}:*"],
        ),
        _allow("DeleteBucket", ["s3:DeleteBucket", "s3:GetBucketVersioning"], [spec.bucket_arn]),
        # what tells matrices of ours from objects of others is read
        _allow("DeleteTiles", ["s3:DeleteObject", "s3:GetObject"], [f"{spec.bucket_arn}/{spec.prefix}/*"]),
    ]
    if not spec.role:
        actions = ["iam:DeleteRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"]
        statements += [
            _allow("DeleteRole", actions, [spec.role_arn]),
            _allow("DeleteRolePolicy", ["iam:DeleteRolePolicy"], [spec.role_arn], _bounded(spec)),
        ]
    return _policy(*statements)


def tls_statement(bucket_arn: str) -> Policy:
    """Return the part of a bucket's policy that refuses requests which are not encrypted on their way."""
    return {
        "Sid": "WrenlaTlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


_BUCKET_ACTIONS = [
    "s3:CreateBucket",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketTagging",
    "s3:GetEncryptionConfiguration",
    "s3:GetLifecycleConfiguration",
    "s3:ListBucket",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketTagging",
    "s3:PutEncryptionConfiguration",
    "s3:PutLifecycleConfiguration",
]

# Lambda reads the package with the rights of who creates the function, hence GetObject.
_CODE_ACTIONS = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]

# DeleteFunction and those of its concurrency: one whose role is gone is made again.
_FUNCTION_ACTIONS = [
    "lambda:CreateFunction",
    "lambda:DeleteFunction",
    "lambda:GetFunctionConcurrency",
    "lambda:GetFunctionConfiguration",
    "lambda:GetFunctionEventInvokeConfig",
    "lambda:InvokeFunction",
    "lambda:ListTags",
    "lambda:PutFunctionConcurrency",
    "lambda:PutFunctionEventInvokeConfig",
    "lambda:TagResource",
    "lambda:UpdateFunctionCode",
    "lambda:UpdateFunctionConfiguration",
]

_LOG_ACTIONS = ["logs:CreateLogGroup", "logs:FilterLogEvents", "logs:PutRetentionPolicy", "logs:TagResource"]

_PASSED_TO_LAMBDA = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}


def _role_making(spec: ResolvedSpec) -> list[Policy]:
    bounded = ["iam:CreateRole", "iam:PutRolePolicy"]
    if spec.permissions_boundary:
        bounded.append("iam:PutRolePermissionsBoundary")
    return [
        _allow("MakeRole", bounded, [spec.role_arn], _bounded(spec)),
        # AWS knows no boundary here
        _allow("TagRole", ["iam:TagRole"], [spec.role_arn]),
    ]


def _bounded(spec: ResolvedSpec) -> Policy | None:
    """Return the condition that a role has, or gets, the requested boundary, if one is requested."""
    boundary = spec.permissions_boundary
    return {"StringEquals": {"iam:PermissionsBoundary": boundary}} if boundary else None


def _tiles(spec: ResolvedSpec) -> list[Policy]:
    objects = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    # without the slash it would be a listing of all prefixes that begin with this one
    inside = {"StringLike": {"s3:prefix": [f"{spec.prefix}/*"]}}
    return [
        _allow("Tiles", objects, [f"{spec.bucket_arn}/{spec.prefix}/*"]),
        _allow("ListTiles", ["s3:ListBucket"], [spec.bucket_arn], inside),
    ]


def _versions(spec: ResolvedSpec) -> list[str]:
    return [spec.function_arn, f"{spec.function_arn}:*"]


def _allow(
    sid: str, actions: Iterable[str], resources: Sequence[str], condition: Policy | None = None
) -> Policy:
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement if condition is None else {**statement, "Condition": condition}


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}
