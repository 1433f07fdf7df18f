"""moto backend: S3, IAM, STS, CloudWatch Logs and Lambda's control plane.

It runs in the same process, so what it knows is read from it directly. Nothing else here imports it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wrenla.emulator.api.http import Request
from wrenla.emulator.api.operations import operation_of
from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.backend.auth import PASS, AuthMiddleware
from wrenla.emulator.backend.permissions import Sent, permissions_for
from wrenla.emulator.backend.policies import Asked, allowed

__all__ = ["ADMINISTRATOR", "MotoBackend", "check_permitted", "list_services_once"]

ADMINISTRATOR = "wrenla-emulator"
"""The user whose keys are handed out."""

_RANDOM = random.SystemRandom()

_EVERYTHING = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'


def list_services_once() -> None:
    """Keep moto from listing the folders of its services for each request: much of what a request takes."""
    from moto import backends

    services = tuple(backends.list_of_moto_modules())
    setattr(backends, "list_of_moto_modules", lambda: services)  # noqa: B010


class MotoBackend:
    """One account in one region.

    Parameters
    ----------
    region : str
    account_concurrency : int
        The quota from which reserved concurrency is taken.
    enforce_iam : bool
        Whether policies are checked; keys and signatures always are.

    Attributes
    ----------
    account : str
    url : str
    key, secret : str
        Credentials of a user who may do everything.
    """

    def __init__(self, region: str, account_concurrency: int, enforce_iam: bool) -> None:
        os.environ["MOTO_LAMBDA_CONCURRENCY_QUOTA"] = str(account_concurrency)
        from moto import settings
        from moto.awslambda.responses import LambdaResponse
        from moto.core.config import default_user_config
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.iam.access_control import IAMRequestBase
        from moto.moto_api._internal.moto_random import MotoRandom
        from moto.moto_server import werkzeug_app
        from werkzeug.serving import make_server

        # whoever has seen some of moto's own numbers can tell the others: from a role's keys the user's
        setattr(MotoRandom, "random", _RANDOM.random)  # noqa: B010
        setattr(MotoRandom, "getrandbits", _RANDOM.getrandbits)  # noqa: B010
        list_services_once()
        default_user_config["lambda"]["use_docker"] = False
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.account = str(DEFAULT_ACCOUNT_ID)
        self.enforce_iam = enforce_iam
        self.region = region
        iam = self._iam()
        iam.create_user(region, ADMINISTRATOR)
        iam.put_user_policy(ADMINISTRATOR, "everything", _EVERYTHING)
        access = iam.create_access_key(ADMINISTRATOR)
        self.key, self.secret = str(access.access_key_id), str(access.secret_access_key)
        moto = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
        self._auth = AuthMiddleware(moto, self.secret_of, region)
        handler = getattr(werkzeug_app, "MotoRequestHandler", None)  # older versions have none
        # moto's own server would listen before there is a gate
        server = make_server("127.0.0.1", 0, self._auth, threaded=True, request_handler=handler)
        host, port = server.server_address[:2]
        self.address = str(host), int(port)
        self.url = f"http://{self.address[0]}:{port}"
        if enforce_iam:
            setattr(IAMRequestBase, "check_signature", lambda _: None)  # noqa: B010 -- it has been, and faster
            # Lambda's are checked before: moto takes no function's name
            check = "_authenticate_and_authorize_normal_action"
            setattr(LambdaResponse, check, lambda *_: None)
            settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
            setattr(IAMRequestBase, "check_action_permitted", check_permitted)  # noqa: B010
        # it ends with the process: to stop it would take up to half a second
        threading.Thread(target=server.serve_forever, name="wrenla-emulator-moto", daemon=True).start()

    def _iam(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[self.account]["aws"]

    def _lambda(self) -> Any:
        from moto.awslambda.utils import get_backend

        return get_backend(self.account, self.region)

    @property
    def passing(self) -> tuple[str, str]:
        """The header of requests to Lambda that were checked."""
        return PASS, self._auth.pass_word

    def secret_of(self, key: str, token: str | None) -> str | None:
        """Return the secret of a key, None if there is none with this session token."""
        from moto.sts.models import sts_backends

        if key == self.key:
            return self.secret if token is None else None
        role = sts_backends[self.account]["aws"].get_assumed_role_from_access_key(key)
        if role is not None:
            return str(role.secret_access_key) if role.session_token == token else None
        user = self._iam().get_user_from_access_key_id(key)
        if user is None or token is not None:
            return None
        return next(str(found.secret_access_key) for found in user.access_keys if found.access_key_id == key)

    def check_permission(self, request: Request) -> None:
        """Check that the sender of a request to Lambda may do what he asks for.

        Raises
        ------
        Refusal
            With status 403, in AWS's words.
        """
        from moto.iam.access_control import IAMRequest

        action, _ = operation_of(request.method, request.path)
        names = {"authorization": "Authorization", "x-amz-security-token": "X-Amz-Security-Token"}
        headers = {names.get(name, name): value for name, value in request.headers.items()}
        sender = IAMRequest(self.account, request.method, request.target, {}, request.body, headers, action)
        denied = _denied(sender)
        if denied is not None:
            who = f"arn:aws:iam::{self.account}"
            raise Refusal(
                403,
                "AccessDeniedException",
                f"User: {self._caller(request) or who} is not authorized to perform: {denied.action} "
                f"on resource: {denied.resource} because no identity-based policy allows the "
                f"{denied.action} action",
            )

    def _caller(self, request: Request) -> str:
        from moto.sts.models import sts_backends

        key = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        found = sts_backends[self.account]["aws"].get_assumed_role_from_access_key(key)
        found = found or self._iam().get_user_from_access_key_id(key)
        return str(found.arn) if found else ""

    def role_exists(self, arn: str) -> bool:
        """Tell whether there is a role that Lambda may assume."""
        from moto.iam.exceptions import NotFoundException

        try:
            role = self._iam().get_role_by_arn(arn)
        except NotFoundException:
            return False
        return "lambda.amazonaws.com" in str(role.assume_role_policy_document)

    def role_credentials(self, role: str, session: str) -> dict[str, str]:
        """Return the variables with which a function acts as its role."""
        from moto.sts.models import sts_backends

        assumed = sts_backends[self.account]["aws"].assume_role(self.region, session, role, "", 43_200, "")
        return {
            "AWS_ACCESS_KEY_ID": str(assumed.access_key_id),
            "AWS_SECRET_ACCESS_KEY": str(assumed.secret_access_key),
            "AWS_SESSION_TOKEN": str(assumed.session_token),
        }

    def functions(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the configuration and the package of every function."""
        for found in self._lambda().list_functions():
            yield (
                {**found.get_configuration(), "Reserved": found.reserved_concurrency},
                bytes(found.code_bytes),
            )

    def configure(self, name: str, changes: Mapping[str, Any]) -> None:
        """Complete what moto forgets of UpdateFunctionConfiguration."""
        size = changes.get("EphemeralStorage", {}).get("Size")
        if size is not None:
            self._lambda().get_function(name).ephemeral_storage = size

    def object(self, bucket: str, key: str) -> bytes:
        """Return an object of S3.

        Raises
        ------
        Refusal
            In the words with which Lambda says that there is no such package.
        """
        from moto.s3.exceptions import MissingBucket
        from moto.s3.models import s3_backends

        code, why = "NoSuchKey", "The specified key does not exist."
        try:
            found = s3_backends[self.account]["aws"].get_object(bucket, key)
        except MissingBucket:
            found, code, why = None, "NoSuchBucket", "The specified bucket does not exist"
        if found is None:
            message = f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {why}"
            raise Refusal(400, "InvalidParameterValueException", message)
        return bytes(found.value)

    def write_logs(self, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> None:
        """Append lines, each with its time in milliseconds, to a stream of CloudWatch Logs."""
        from moto.logs.exceptions import ResourceAlreadyExistsException
        from moto.logs.models import logs_backends

        logs = logs_backends[self.account][self.region]
        with contextlib.suppress(ResourceAlreadyExistsException):
            logs.create_log_group(group, {})
        logs.ensure_log_stream(group, stream)
        events = [{"timestamp": milliseconds, "message": line} for milliseconds, line in lines]
        logs.put_log_events(group, stream, events)


def check_permitted(sender: Any, _: str) -> None:
    """Check what a request needs, in the place of a method of moto's, which knows no conditions.

    Parameters
    ----------
    sender : moto.iam.access_control.IAMRequestBase
    """
    from moto.core.exceptions import JsonRESTError

    denied = _denied(sender)
    if denied is None:
        return
    if sender._service in ("lambda", "logs"):
        who = f"User: {sender._access_key.arn} is not authorized to perform: {denied.action}"
        why = f"because no identity-based policy allows the {denied.action} action"
        raise JsonRESTError("AccessDeniedException", f"{who} on resource: {denied.resource} {why}")
    sender._action = denied.action
    sender._raise_access_denied()


def _denied(sender: Any) -> Asked | None:
    """Return what a request needs and its sender may not do, by what moto knows of both."""
    from moto.iam.access_control import IAMPolicy

    body = sender._body or b""
    sent = Sent(
        service=sender._service,
        action=sender._action,
        method=sender._method,
        path=sender._path,
        fields=sender._data,
        body=body if isinstance(body, bytes) else str(body).encode(),
        headers=sender._headers,
        account=sender.account_id,
        region=sender._region,
    )
    policies = [IAMPolicy(policy)._policy_json for policy in sender._access_key.collect_policies()]
    return next((asked for asked in permissions_for(sent) if not allowed(policies, asked)), None)
