"""Calls of the map API on the worker's side, and the envelope in which they travel."""

from wrenla_handler.call.callee import Callee
from wrenla_handler.call.envelope import Request, Response

__all__ = ["Callee", "Request", "Response"]
