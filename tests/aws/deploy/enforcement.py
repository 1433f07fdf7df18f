"""IAM as AWS does it, in the place of moto's, which knows neither conditions nor most resources.

moto checks keys and session tokens (its check of signatures refuses right ones of some services: it is off).
What a request asks for, and whether policies allow it, is found out here from the request itself. Permissions
that AWS asks for along with another are asked for too: passing a role, tagging, reading the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from moto import settings
from moto.core.exceptions import JsonRESTError
from moto.iam.access_control import IAMRequestBase

__all__ = ["Asked", "allowed", "enforce"]


@dataclass(frozen=True)
class Asked:
    """One permission that a request needs."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def enforce(patch: pytest.MonkeyPatch) -> None:
    """Let moto check every request from now on."""
    patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    patch.setattr(IAMRequestBase, "check_action_permitted", _check)
    patch.setattr(IAMRequestBase, "check_signature", lambda self: None)


def allowed(policies: list[Any], asked: Asked) -> bool:
    """Decide as AWS does: a denial counts more than anything, and without an allowance nothing is allowed."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _listed(policy["Statement"])
        if _applies(statement, asked)
    }
    return "Allow" in effects and "Deny" not in effects


def _applies(statement: Mapping[str, Any], asked: Asked) -> bool:
    return (
        any(_like(asked.action.lower(), each.lower()) for each in _listed(statement["Action"]))
        and any(_like(asked.resource, each) for each in _listed(statement["Resource"]))
        and all(_holds(*each, asked.context) for each in statement.get("Condition", {}).items())
    )


def _holds(operator: str, wanted: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    assert operator in ("StringEquals", "StringLike"), operator
    return all(
        key in context
        and any(
            _like(context[key], each) if operator == "StringLike" else context[key] == each
            for each in _listed(value)
        )
        for key, value in wanted.items()
    )


def _like(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check(self: Any, _: str) -> None:
    policies = [json.loads(_document(policy)) for policy in self._access_key.collect_policies()]
    for asked in _asked(self):
        if not allowed(policies, asked):
            if self._service in ("lambda", "logs"):
                who = f"User: {self._access_key.arn} is not authorized to perform: {asked.action}"
                why = f"because no identity-based policy allows the {asked.action} action"
                raise JsonRESTError("AccessDeniedException", f"{who} on resource: {asked.resource} {why}")
            self._action = asked.action
            self._raise_access_denied()


def _document(policy: Any) -> str:
    return str(policy["policy_document"] if isinstance(policy, dict) else policy)


def _asked(request: Any) -> Iterator[Asked]:
    kinds = {"s3": _s3, "iam": _iam, "lambda": _lambda, "logs": _logs, "sts": _sts}
    return kinds[request._service](request)


_BUCKET = {
    "tagging": "BucketTagging",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "encryption": "EncryptionConfiguration",
    "policy": "BucketPolicy",
    "lifecycle": "LifecycleConfiguration",
    "versioning": "BucketVersioning",
}


def _s3(request: Any) -> Iterator[Asked]:
    parts = urlsplit(request._path)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    arn, method = f"arn:aws:s3:::{bucket}", request._method
    if key:
        verb = {"HEAD": "Get", "GET": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[method]
        aborts = method == "DELETE" and "uploadId" in query
        yield Asked("s3:AbortMultipartUpload" if aborts else f"s3:{verb}Object", f"{arn}/{key}")
        return
    for name, what in _BUCKET.items():
        if name in query:
            yield Asked(f"s3:{'Get' if method == 'GET' else 'Put'}{what}", arn)
            return
    if "delete" in query:
        for found in re.findall(rb"<Key>(.*?)</Key>", request._body):
            yield Asked("s3:DeleteObject", f"{arn}/{found.decode()}")
    elif method == "HEAD":
        yield Asked("s3:ListBucket", arn)
    elif method == "GET":
        prefix = {"s3:prefix": query["prefix"][0]} if "prefix" in query else {}
        yield Asked("s3:ListBucket" if bucket else "s3:ListAllMyBuckets", arn, prefix)
    else:
        yield Asked({"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}[method], arn)


def _iam(request: Any) -> Iterator[Asked]:
    fields = request._data  # lists of values by name
    role = fields["RoleName"][0] if "RoleName" in fields else "-"
    arn = f"arn:aws:iam::{request.account_id}:role/{role}"
    action = request._action.partition(":")[2]
    yield Asked(f"iam:{action}", arn)
    if action == "CreateRole" and any(name.startswith("Tags.") for name in fields):
        yield Asked("iam:TagRole", arn)


def _lambda(request: Any) -> Iterator[Asked]:
    action = {"Invoke": "InvokeFunction"}.get(name := request._action.partition(":")[2], name)
    body = json.loads(request._body or "{}") if request._method in ("POST", "PUT") else {}
    path = unquote(urlsplit(request._path).path)
    if found := re.search(r"/tags/(.+)", path):
        arn = found[1]
    else:
        found = re.search(r"/functions/([^/]+)", path)
        function = found[1] if found else body.get("FunctionName", "-")
        arn = f"arn:aws:lambda:{request._region}:{request.account_id}:function:{function}"
    yield Asked(f"lambda:{action}", arn)
    if action == "CreateFunction" and body.get("Tags"):
        yield Asked("lambda:TagResource", arn)
    if "Role" in body:
        yield Asked("iam:PassRole", body["Role"], {"iam:PassedToService": "lambda.amazonaws.com"})
    code = body.get("Code", body)
    if "S3Key" in code:
        yield Asked("s3:GetObject", f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}")


def _logs(request: Any) -> Iterator[Asked]:
    body = json.loads(request._body or "{}")
    action = request._action.partition(":")[2]
    group = "" if action == "DescribeLogGroups" else body.get("logGroupName", "-")
    stream = body.get("logStreamName", "")
    arn = f"arn:aws:logs:{request._region}:{request.account_id}:log-group:{group}:log-stream:{stream}"
    arn = body.get("resourceArn", arn)
    yield Asked(f"logs:{action}", arn)
    if action == "CreateLogGroup" and body.get("tags"):
        yield Asked("logs:TagResource", arn)


def _sts(request: Any) -> Iterator[Asked]:
    action = request._action.partition(":")[2]
    if action != "GetCallerIdentity":  # which nobody can be forbidden
        yield Asked(f"sts:{action}", "*")
