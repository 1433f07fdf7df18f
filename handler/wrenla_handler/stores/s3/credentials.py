"""Renewing AWS credentials: read again with each request.

boto3 reads static keys once for each session, from the environment or the files in ``~/.aws``, and goes on
with them when they have expired, although others are there. What expires by itself (roles, SSO, a machine's
own) it renews in time. So when what boto3 has looked at has changed, it looks again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["KEYS", "renewing_session"]

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
"""Variables of the environment that are credentials, and decide nothing else."""

_VARIABLES = (
    *KEYS,
    *("AWS_CREDENTIAL_EXPIRATION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "HOME"),
    *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
)
"""Variables of the environment that boto3's search for credentials depends on."""

_FILES = (
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ("AWS_CONFIG_FILE", "~/.aws/config"),
)
"""Variables that name a file, and the file without them."""


def renewing_session(profile: str | None = None, region: str | None = None) -> Any:
    """Return a boto3 session that signs each request with the credentials of the moment.

    Parameters
    ----------
    profile, region : str, optional
        By default boto3's own settings.
    """
    import boto3
    import botocore.session

    session = botocore.session.Session()
    session.register_component("credential_provider", _Provider(profile))
    return boto3.session.Session(botocore_session=session, profile_name=profile, region_name=region)


@dataclass(frozen=True, slots=True)
class _Provider:
    """Provider of a session's credentials, called once."""

    profile: str | None

    def load_credentials(self) -> _Renewed:
        return _Renewed(self._found)

    def _found(self) -> Any:
        """Return what boto3 finds, None if there is nothing."""
        import botocore.session

        return botocore.session.Session(profile=self.profile).get_credentials()


class _Renewed:
    """Credentials to sign a request with, in the place of botocore's: each request asks for them.

    Parameters
    ----------
    find : callable
        Returns botocore's credentials, None if there are none.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._state: tuple[int, tuple[object, ...]] | None = None
        self._latest: Any = None

    def get_frozen_credentials(self) -> Any:
        """Return the keys of the moment, None if there are none."""
        latest = self._current()
        return None if latest is None else latest.get_frozen_credentials()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """Return what looks an attribute up when it is needed."""
        return lambda: getattr(self._current(), name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._current(), name, None)

    def _current(self) -> Any:
        state = _state()
        if state == self._state:
            return self._latest
        with self._lock:
            if state != self._state:
                self._look(state)
            return self._latest

    def _look(self, state: tuple[int, tuple[object, ...]]) -> None:
        from botocore.exceptions import BotoCoreError

        same_variables = self._state is not None and state[0] == self._state[0]
        try:
            found = self._find()
        except BotoCoreError:
            if not same_variables or self._latest is None:
                raise
            return  # somebody is writing the file: the old ones go on, and the next request looks again
        if found is None and same_variables and self._latest is not None:
            return
        self._latest, self._state = found, state


def _state() -> tuple[int, tuple[object, ...]]:
    """Return what is another one when there may be other credentials. It does not hold them."""
    variables = hash(tuple(map(os.environ.get, _VARIABLES)))
    return variables, tuple(_status(os.environ.get(name) or usual) for name, usual in _FILES)


def _status(path: str) -> object:
    try:
        status = os.stat(os.path.expanduser(path))
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
