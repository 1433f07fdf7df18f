"""Policy evaluation with conditions, which moto does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["Asked", "allowed"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Permission that a request needs.

    Parameters
    ----------
    action : str
        Such as ``s3:GetObject``.
    resource : str
        An ARN, or ``*``.
    context : mapping
        What conditions may ask for, by names such as ``s3:prefix``.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(policies: Iterable[Mapping[str, Any]], asked: Asked) -> bool:
    """Decide as AWS does: a denial counts more than anything, and without an allowance nothing is allowed.

    Conditions on text, ARNs and truth values are evaluated; one of another kind allows nothing, and
    keeps nothing from being denied.

    Examples
    --------
    >>> statement = {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::mine/*"}
    >>> allowed([{"Statement": statement}], Asked("s3:GetObject", "arn:aws:s3:::mine/x"))
    True
    >>> allowed([{"Statement": statement}], Asked("s3:GetObject", "arn:aws:s3:::other/x"))
    False
    """
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _listed(policy["Statement"])
        if _applies(statement, asked)
    }
    return "Allow" in effects and "Deny" not in effects


def _applies(statement: Mapping[str, Any], asked: Asked) -> bool:
    return (
        _named(statement, "Action", asked.action.lower(), str.lower)
        and _named(statement, "Resource", asked.resource, str)
        and all(
            _holds(operator, name, _listed(wanted), asked.context, statement["Effect"] == "Deny")
            for operator, each in statement.get("Condition", {}).items()
            for name, wanted in each.items()
        )
    )


def _named(statement: Mapping[str, Any], kind: str, text: str, change: Callable[[str], str]) -> bool:
    """Tell whether a statement is about an action or a resource, or about all but some others."""
    if f"Not{kind}" in statement:
        return not any(_like(text, change(each)) for each in _listed(statement[f"Not{kind}"]))
    return any(_like(text, change(each)) for each in _listed(statement.get(kind, [])))


def _holds(operator: str, name: str, wanted: list[Any], context: Mapping[str, str], unknown: bool) -> bool:
    """Tell whether a condition holds; `unknown` if it is of a kind that is not known here."""
    values = {known.lower(): value for known, value in context.items()}
    value = values.get(name.lower())
    if operator == "Null":
        return (value is None) == (str(wanted[0]).lower() == "true")
    plain = operator.removesuffix("IfExists")
    negated = "Not" in plain
    compare = _COMPARISONS.get(plain.replace("Not", ""))
    if compare is None:
        return unknown
    if value is None:
        return negated or plain != operator
    return negated != any(compare(value, str(each)) for each in wanted)


def _like(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]"))


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
