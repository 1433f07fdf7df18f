"""Read the function's log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wrenla.aws.connect import connect
from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.spec import DeploySpec

__all__ = ["LogLine", "log_lines"]

_PAUSE = 2.0
"""Seconds between two looks for more."""

_LATE = 10_000
"""Milliseconds: lines of different machines do not come in the order of their times."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Event of the log.

    Attributes
    ----------
    when : datetime
        In UTC.
    stream : str
        Its end names the environment that wrote it.
    text : str
    """

    when: datetime
    stream: str
    text: str


def log_lines(
    session: Any, spec: DeploySpec | None = None, *, since: float = 3600.0, follow: bool = False
) -> Iterator[LogLine]:
    """Yield what the function has written.

    Parameters
    ----------
    session : boto3.Session
    spec : DeploySpec, optional
        Of which the function's name counts.
    since : float
        Seconds ago.
    follow : bool
        Go on with what it writes from now on, without end.

    Raises
    ------
    DeployError
        There is no log: nothing is deployed.
    """
    from botocore.exceptions import ClientError

    with translating():
        clients, resolved = connect(session, spec or DeploySpec())
        start = int((time.time() - since) * 1000)
        seen: dict[str, int] = {}
        while True:
            pages = clients.logs.get_paginator("filter_log_events").paginate(
                logGroupName=resolved.log_group, startTime=max(0, start)
            )
            try:
                for event in (event for page in pages for event in page["events"]):
                    if event["eventId"] not in seen:
                        seen[event["eventId"]] = event["timestamp"]
                        yield _line(event)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                raise DeployError(
                    f"there is no log group {resolved.log_group} in {resolved.region}: run wrenla deploy, "
                    "or check --function and --region"
                ) from error
            if not follow:
                return
            start = max([start, *(when - _LATE for when in seen.values())])
            seen = {name: when for name, when in seen.items() if when >= start}
            time.sleep(_PAUSE)


def _line(event: dict[str, Any]) -> LogLine:
    when = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return LogLine(when, str(event["logStreamName"]), str(event["message"]).rstrip())
