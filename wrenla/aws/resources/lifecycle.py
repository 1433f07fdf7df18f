"""Lifecycle rules of the bucket: ours among those of others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.spec import ResolvedSpec, bucket_args

__all__ = ["DAYS", "Lifecycle"]

DAYS = 14
"""How long what a failed run has left can be resumed."""

_RULE = re.compile(r"wrenla-(.+)-temporaries")
_LEAST_SIZE = "TransitionDefaultMinimumObjectSize"


@dataclass(frozen=True)
class Lifecycle:
    """All that a bucket has of rules: S3 can only replace them together.

    Attributes
    ----------
    rules : tuple
        In their order.
    least_size : str
        A setting for all of them, which stays as it is; "" if there is none.
    """

    rules: tuple[dict[str, Any], ...]
    least_size: str = ""

    @classmethod
    def of(cls, clients: Clients, spec: ResolvedSpec) -> Lifecycle:
        """Return all rules of the bucket, ours and others'."""
        found = none_if(
            clients.s3.get_bucket_lifecycle_configuration,
            "NoSuchLifecycleConfiguration",
            "NoSuchBucket",
            **bucket_args(spec),
        )
        return cls(tuple(found["Rules"]), found.get(_LEAST_SIZE, "")) if found else cls(())

    def with_ours(self, spec: ResolvedSpec) -> Lifecycle:
        """Return the rules with ours in its place; the others stay as they are, where they are."""
        rule = {
            "ID": spec.lifecycle_rule,
            "Filter": {"Prefix": spec.temporaries},
            "Status": "Enabled",
            "Expiration": {"Days": DAYS},
            # in a bucket with versioning the line above only hides an object; elsewhere this one does nothing
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        if not any(each.get("ID") == spec.lifecycle_rule for each in self.rules):
            return replace(self, rules=(*self.rules, rule))
        rules = (rule if each.get("ID") == spec.lifecycle_rule else each for each in self.rules)
        return replace(self, rules=tuple(rules))

    def without_ours(self, spec: ResolvedSpec) -> Lifecycle:
        """Return the rules of others."""
        rules = (each for each in self.rules if each.get("ID") != spec.lifecycle_rule)
        return replace(self, rules=tuple(rules))

    def functions(self) -> Mapping[str, str]:
        """Return the functions that have a rule, and what it is for; "" if it is not as we have made it."""
        return {
            found[1]: rule.get("Filter", {}).get("Prefix", "")
            for rule in self.rules
            if (found := _RULE.fullmatch(rule.get("ID", "")))
        }

    def put(self, clients: Clients, spec: ResolvedSpec) -> None:
        """Make these the rules of the bucket."""
        if not self.rules:
            clients.s3.delete_bucket_lifecycle(**bucket_args(spec))
            return
        clients.s3.put_bucket_lifecycle_configuration(
            LifecycleConfiguration={"Rules": list(self.rules)},
            **({_LEAST_SIZE: self.least_size} if self.least_size else {}),
            **bucket_args(spec),
        )
