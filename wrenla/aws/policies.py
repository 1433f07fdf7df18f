"""Who may do what: pure functions from names to policies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wrenla.aws.spec import Site

__all__ = [
    "deployer_policy",
    "destroyer_policy",
    "driver_policy",
    "role_policy",
    "tls_statement",
    "trust_policy",
]

Policy = dict[str, Any]


def trust_policy() -> Policy:
    """Return who may take the role: Lambda alone."""
    return _policy(
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    )


def role_policy(site: Site) -> Policy:
    """Return what the function may do: read and write its tiles, write its log, nothing else."""
    return _policy(
        *_tiles(site),
        _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{site.log_group_arn}:*"]),
    )


def driver_policy(site: Site) -> Policy:
    """Return the least that somebody needs who runs plans and calls on the function."""
    return _policy(
        *_tiles(site),
        _allow("Run", ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"], _versions(site)),
    )


def deployer_policy(site: Site) -> Policy:
    """Return the least that somebody needs who deploys, looks after the function and destroys it."""
    objects = [f"{site.bucket_arn}/{site.code_prefix}*"]
    statements = [
        _allow("Bucket", _BUCKET_ACTIONS, [site.bucket_arn]),
        _allow("Code", _CODE_ACTIONS, objects),
        _allow("Function", _FUNCTION_ACTIONS, _versions(site)),
        # DescribeLogGroups cannot be confined to one group
        _allow("LogGroups", ["logs:DescribeLogGroups"], [site.arn("logs", "log-group:*")]),
        _allow("Log", _LOG_ACTIONS, [site.log_group_arn, f"{site.log_group_arn}:*"]),
        _allow("PassRole", ["iam:PassRole"], [site.role_arn], _PASSED_TO_LAMBDA),
    ]
    if not site.spec.role:
        statements.append(
            _allow("Role", _role_actions(bool(site.spec.permissions_boundary)), [site.role_arn])
        )
    return _policy(*statements)


def destroyer_policy(site: Site) -> Policy:
    """Return what destroying needs beside what deploying needs; the last two only for the matrices too."""
    statements = [
        _allow(
            "DeleteLog",
            ["logs:DeleteLogGroup", "logs:ListTagsForResource"],
            [site.log_group_arn, f"{site.log_group_arn}:*"],
        ),
        _allow("DeleteBucket", ["s3:DeleteBucket", "s3:GetBucketVersioning"], [site.bucket_arn]),
        # what tells matrices of ours from objects of others is read
        _allow("DeleteTiles", ["s3:DeleteObject", "s3:GetObject"], [f"{site.bucket_arn}/{site.prefix}/*"]),
    ]
    if not site.spec.role:
        actions = [
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
        ]
        statements.append(_allow("DeleteRole", actions, [site.role_arn]))
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


def _role_actions(bounded: bool) -> list[str]:
    actions = ["CreateRole", "GetRole", "GetRolePolicy", "PutRolePolicy", "TagRole", "UpdateAssumeRolePolicy"]
    if bounded:
        actions.append("PutRolePermissionsBoundary")
    return [f"iam:{action}" for action in sorted(actions)]


def _tiles(site: Site) -> list[Policy]:
    objects = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    inside = {"StringLike": {"s3:prefix": [site.prefix, f"{site.prefix}/*"]}}
    return [
        _allow("Tiles", objects, [f"{site.bucket_arn}/{site.prefix}/*"]),
        _allow("ListTiles", ["s3:ListBucket"], [site.bucket_arn], inside),
    ]


def _versions(site: Site) -> list[str]:
    return [site.function_arn, f"{site.function_arn}:*"]


def _allow(
    sid: str, actions: Iterable[str], resources: Sequence[str], condition: Policy | None = None
) -> Policy:
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return statement if condition is None else {**statement, "Condition": condition}


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}
