"""Regions: which one a session uses, and whether it exists."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from wrenla.aws.error_messages import DeployError
from wrenla_handler.aws_errors import NO_REGION

__all__ = ["region_of"]


def region_of(session: Any) -> str:
    """Return a boto3 session's region.

    A misspelt one would otherwise show as an address that nobody answers at.

    Raises
    ------
    DeployError
        There is none, or boto3 knows none of that name.
    """
    region = session.region_name
    if not region:
        raise DeployError(NO_REGION)
    known = [
        name
        for partition in session.get_available_partitions()
        for name in session.get_available_regions("lambda", partition_name=partition)
    ]
    if region not in known:
        near = get_close_matches(region, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise DeployError(
            f"boto3 knows no region {region!r}{hint}: check --region, AWS_DEFAULT_REGION and ~/.aws/config; "
            "for a region that is newer than this boto3: pip install -U boto3"
        )
    return str(region)
