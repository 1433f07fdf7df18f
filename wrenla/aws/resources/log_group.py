"""Log group of the function, with a retention: one that Lambda makes keeps everything for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.resources.resource import Change
from wrenla.aws.spec import ResolvedSpec

__all__ = ["LogGroup", "find_log_group", "log_group_is_ours"]

_DAYS = 30


def find_log_group(clients: Clients, spec: ResolvedSpec) -> Any:
    """Return the log group's description, or None."""
    found = clients.logs.describe_log_groups(logGroupNamePrefix=spec.log_group, limit=50)["logGroups"]
    return next((group for group in found if group["logGroupName"] == spec.log_group), None)


def log_group_is_ours(clients: Clients, spec: ResolvedSpec) -> bool | None:
    """Tell whether wrenla has made the log group; None if there is none."""
    if find_log_group(clients, spec) is None:
        return None
    return "wrenla" in clients.logs.list_tags_for_resource(resourceArn=spec.log_group_arn)["tags"]


class LogGroup:
    """The log group, and how long it keeps what is written, if it is made here.

    A time that is set later deletes what is older for good, and "for ever" looks like no time at all: so a
    group that was there already keeps what it keeps.

    Parameters
    ----------
    first : bool
        There is no function yet.
    """

    def __init__(self, clients: Clients, spec: ResolvedSpec, *, first: bool) -> None:
        self._clients, self._spec, self._first = clients, spec, first

    def plan(self) -> Iterator[Change]:
        group = self._spec.log_group
        found = find_log_group(self._clients, self._spec)
        if found is None:
            yield Change(f"create log group {group}", self._create)
        if found is None or self._is_half_made(found):
            yield Change(
                f"keep log group {group} for {_DAYS} days",
                lambda: self._clients.logs.put_retention_policy(logGroupName=group, retentionInDays=_DAYS),
            )
        elif self._first and "retentionInDays" not in found:
            yield Change(
                f"leave log group {group} as it is, since it was there before: it keeps everything for ever",
                lambda: None,
            )

    def _is_half_made(self, group: Mapping[str, Any]) -> bool:
        """Tell whether a first deployment ended between making the group and saying what it keeps."""
        if not self._first or "retentionInDays" in group or group.get("storedBytes"):
            return False
        # who may only deploy need not be allowed to read tags: then it counts as another's
        found = none_if(
            self._clients.logs.list_tags_for_resource,
            "AccessDeniedException",
            resourceArn=self._spec.log_group_arn,
        )
        return found is not None and "wrenla" in found["tags"]

    def _create(self) -> None:
        self._clients.logs.create_log_group(logGroupName=self._spec.log_group, tags=self._spec.tags)
