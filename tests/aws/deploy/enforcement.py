"""IAM as AWS does it, in the place of moto's: the emulator's, for moto in this process.

moto checks keys and session tokens (its check of signatures refuses right ones of some services: it is off).
"""

from __future__ import annotations

import pytest
from moto import settings
from moto.iam.access_control import IAMRequestBase

from wrenla.emulator.backend.moto_backend import check_permitted
from wrenla.emulator.backend.policies import Asked, allowed

__all__ = ["Asked", "allowed", "enforce"]


def enforce(patch: pytest.MonkeyPatch) -> None:
    """Let moto check every request from now on."""
    patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
    patch.setattr(IAMRequestBase, "check_action_permitted", check_permitted)
    patch.setattr(IAMRequestBase, "check_signature", lambda self: None)
