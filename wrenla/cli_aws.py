"""The commands for AWS: deploy, destroy, doctor, logs, ls."""

from __future__ import annotations

import click

__all__ = ["commands"]

commands: tuple[click.Command, ...] = ()
