"""Permissions that a request needs, derived from the request, and limits of roles by their boundary.

Permissions that AWS asks for along with another are asked for too: to pass a role, to tag, to read a package.
Of several objects that are deleted at once moto deletes all or none, AWS those that the sender may delete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from wrenla.emulator.backend.policies import Asked

__all__ = ["Sent", "permissions_for"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request to any service.

    Parameters
    ----------
    service, action : str
        The latter as moto calls it, such as ``s3:HeadBucket``.
    method, path : str
        With its query.
    fields : mapping
        Of a form: lists of values by name.
    body : bytes
    headers : mapping
    account, region : str
    """

    service: str
    action: str
    method: str
    path: str
    fields: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    account: str
    region: str

    @property
    def operation(self) -> str:
        """The action without its service."""
        return self.action.partition(":")[2]

    def field(self, name: str) -> str:
        """Return a field of the form, or nothing."""
        found = self.fields.get(name, "")
        return str(found[0]) if isinstance(found, list) else str(found)

    def content(self) -> dict[str, Any]:
        """Return the body, if it is JSON."""
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def permissions_for(sent: Sent) -> list[Asked]:
    """Return the permissions without any of which a request is refused."""
    kinds = {"s3": _s3, "iam": _iam, "lambda": _lambda, "logs": _logs, "sts": _sts}
    kind = kinds.get(sent.service)
    return list(kind(sent)) if kind is not None else [Asked(sent.action, "*")]


_OF_BUCKETS = {
    "accelerate": "AccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
_DELETED_BY_NAME = {"policy", "website"}
"""All else that a bucket may have is deleted with the permission to put it."""

_LISTS = {"versions": "s3:ListBucketVersions", "uploads": "s3:ListBucketMultipartUploads"}
_OF_OBJECTS = {"acl": "Acl", "tagging": "Tagging", "retention": "Retention", "legal-hold": "LegalHold"}


def _s3(sent: Sent) -> Iterator[Asked]:
    parts = urlsplit(sent.path)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if key:
        yield from _s3_object(sent, f"{arn}/{key}", query)
        return
    for name, what in _OF_BUCKETS.items():
        if name in query:
            deletes = sent.method == "DELETE" and name in _DELETED_BY_NAME
            verb = "Get" if sent.method == "GET" else "Delete" if deletes else "Put"
            yield Asked(f"s3:{verb}{what}", arn)
            return
    if "delete" in query:
        for found in re.findall(rb"<Key>(.*?)</Key>", sent.body, re.DOTALL):
            yield Asked("s3:DeleteObject", f"{arn}/{_from_xml(found.decode())}")
    elif sent.method == "HEAD":
        yield Asked("s3:ListBucket", arn)
    elif sent.method == "GET":
        context = {
            f"s3:{name}": query[name][0] for name in ("prefix", "delimiter", "max-keys") if name in query
        }
        action = next((_LISTS[name] for name in _LISTS if name in query), "s3:ListBucket")
        yield Asked(action if bucket else "s3:ListAllMyBuckets", arn if bucket else "*", context)
    else:
        actions = {"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
        yield Asked(actions.get(sent.method, sent.action), arn)


def _s3_object(sent: Sent, arn: str, query: Mapping[str, list[str]]) -> Iterator[Asked]:
    verb = {"HEAD": "Get", "GET": "Get", "DELETE": "Delete"}.get(sent.method, "Put")
    if "uploadId" in query and sent.method in ("GET", "DELETE"):
        listing = sent.method == "GET"
        yield Asked("s3:ListMultipartUploadParts" if listing else "s3:AbortMultipartUpload", arn)
        return
    part = next((_OF_OBJECTS[name] for name in _OF_OBJECTS if name in query), "")
    version = "Version" if "versionId" in query and verb != "Put" and part in ("", "Acl", "Tagging") else ""
    yield Asked(f"s3:{verb}Object{version}{part}", arn)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    source = unquote(headers.get("x-amz-copy-source", "")).lstrip("/").partition("?")[0]
    if source:
        yield Asked("s3:GetObject", f"arn:aws:s3:::{source}")
    if "x-amz-tagging" in headers:
        yield Asked("s3:PutObjectTagging", arn)


def _from_xml(text: str) -> str:
    for code, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(code, character)
    return text


def _iam(sent: Sent) -> Iterator[Asked]:
    whose = f"arn:aws:iam::{sent.account}"
    kinds = {"RoleName": "role", "UserName": "user", "GroupName": "group", "PolicyName": "policy"}
    found = (f"{whose}:{kind}/{sent.field(name)}" for name, kind in kinds.items() if sent.field(name))
    arn = next(found, sent.field("PolicyArn") or "*")
    yield Asked(sent.action, arn, _bounded(sent))
    if sent.operation == "CreateRole" and any(name.startswith("Tags.") for name in sent.fields):
        yield Asked("iam:TagRole", arn)


_BOUNDED_BY_REQUEST = frozenset({"CreateRole", "PutRolePermissionsBoundary"})
_BOUNDED_AS_IT_IS = frozenset(
    {
        "AttachRolePolicy",
        "DeleteRolePermissionsBoundary",
        "DeleteRolePolicy",
        "DetachRolePolicy",
        "PutRolePolicy",
    }
)
"""What else of a role AWS evaluates `iam:PermissionsBoundary` for; of all other actions it says nothing."""


def _bounded(sent: Sent) -> dict[str, str]:
    """Return the requested or present boundary of a role, for conditions; nothing without one."""
    boundary = ""
    if sent.operation in _BOUNDED_BY_REQUEST:
        boundary = sent.field("PermissionsBoundary")
    elif sent.operation in _BOUNDED_AS_IT_IS:
        boundary = _boundary_of(sent.account, sent.field("RoleName"))
    return {"iam:PermissionsBoundary": boundary} if boundary else {}


def _boundary_of(account: str, name: str) -> str:
    """Return the boundary of a role, which no request contains."""
    from moto.iam.models import iam_backends

    roles = iam_backends[account]["aws"].roles.values()
    return next((role.permissions_boundary_arn or "" for role in roles if role.name == name), "")


def _lambda(sent: Sent) -> Iterator[Asked]:
    operation = {"Invoke": "InvokeFunction"}.get(sent.operation, sent.operation)
    content = sent.content() if operation != "InvokeFunction" else {}
    path = unquote(urlsplit(sent.path).path)
    if found := re.search(r"/tags/(.+)", path):
        arn = found[1]
    else:
        found = re.search(r"/functions/([^/]+)", path)
        name = found[1] if found else str(content.get("FunctionName", ""))
        function = name.rpartition("function:")[2]
        arn = f"arn:aws:lambda:{sent.region}:{sent.account}:function:{function}" if function else "*"
    yield Asked(f"lambda:{operation}", arn)
    if operation == "CreateFunction" and content.get("Tags"):
        yield Asked("lambda:TagResource", arn)
    if "Role" in content:
        yield Asked("iam:PassRole", content["Role"], {"iam:PassedToService": "lambda.amazonaws.com"})
    code = content.get("Code", content)
    if "S3Key" in code and "S3Bucket" in code:
        yield Asked("s3:GetObject", f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}")


def _logs(sent: Sent) -> Iterator[Asked]:
    content = sent.content()
    group = "" if sent.operation == "DescribeLogGroups" else content.get("logGroupName", "-")
    stream = content.get("logStreamName", "")
    arn = f"arn:aws:logs:{sent.region}:{sent.account}:log-group:{group}:log-stream:{stream}"
    yield Asked(sent.action, content.get("resourceArn", arn))
    if sent.operation == "CreateLogGroup" and content.get("tags"):
        yield Asked("logs:TagResource", arn)


def _sts(sent: Sent) -> Iterator[Asked]:
    if sent.operation != "GetCallerIdentity":  # which nobody can be forbidden
        yield Asked(sent.action, sent.field("RoleArn") or "*")
