"""Resource of a deployment: knows its state, and the steps to the wanted one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from wrenla.aws.error_messages import DeployError

__all__ = ["Change", "Step", "until", "until_accepted"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not as it should be.

    Attributes
    ----------
    what : str
        What is to be done, as an order: "create bucket b".
    apply : callable
        Does it. Doing it again does no harm.
    """

    what: str
    apply: Callable[[], object]


class Step(Protocol):
    """One resource, or one side of it."""

    def look(self) -> Iterator[Change]:
        """Look what is, and yield what to change. It changes nothing; only a change's `apply` does.

        A change has been applied when the next one is asked for, except when nothing shall be changed: so
        what is not there yet must not be an error.
        """
        ...


def until(done: Callable[[], bool], what: str, seconds: float, pause: float = 0.2) -> None:
    """Wait until something is so, asking more and more seldom.

    Raises
    ------
    DeployError
        After `seconds`; it says `what` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() + pause > deadline:
            raise DeployError(f"{what} after {seconds:g} s: run the same command again, it goes on from here")
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def until_accepted(
    call: Callable[[], object], not_yet: Callable[[Any], bool], seconds: float, pause: float = 1.0
) -> None:
    """Call again as long as AWS refuses because of something that was made a moment ago.

    Parameters
    ----------
    call : callable
        What to do; doing it again does no harm.
    not_yet : callable
        Tells of a refusal (a `ClientError`) whether it goes away by itself.
    seconds : float
        For how long; then the refusal is raised.
    """
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except ClientError as error:
            if not not_yet(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(1.5 * pause, 8.0)
