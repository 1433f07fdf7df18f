"""The command `wrenla sandbox`: a Lambda on this machine."""

from __future__ import annotations

import click

__all__ = ["commands"]

commands: tuple[click.Command, ...] = ()
