"""Options of commands for AWS: which function, whose credentials, where its matrices are."""

from __future__ import annotations

from typing import Any

import click

from wrenla.cli.parts.command import with_options

__all__ = ["function_options", "place_options", "session"]

function_options = with_options(
    click.option("--profile", help="Of ~/.aws/config.  [default: AWS_PROFILE]"),
    click.option("--region", help="[default: AWS_DEFAULT_REGION, or the profile's]"),
    click.option("--function", default="wrenla", show_default=True, help="Name of the function."),
)
"""Options that say which function: every command for AWS has them."""

place_options = with_options(
    click.option("--bucket", help="[default: the function's, or wrenla-ACCOUNT-REGION]"),
    click.option("--prefix", help="What keys begin with.  [default: the function's, or wrenla]"),
)
"""Options that say where its matrices are."""


def session(profile: str | None, region: str | None) -> Any:
    """Return a session of boto3."""
    from wrenla.aws.error_messages import translating
    from wrenla_handler.stores.s3.credentials import renewing_session

    with translating():
        return renewing_session(profile, region)
