"""What others on this machine can reach of an emulator: nothing without its keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.waiting import until

from .stand import Stand, package

_ATTACK = """
import http.client

def attack(address, call):
    "Ask for a call, and answer one; return the statuses, None where the connection was closed."
    found = []
    forged = '"forged"'
    for method, path, body in (
        ("GET", "invocation/next", None),
        ("POST", f"invocation/{call}/response", forged),
        ("POST", f"invocation/{call}/error", '{"errorType": "forged"}'),
        ("POST", "init/error", '{"errorType": "forged"}'),
    ):
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request(method, "/2018-06-01/runtime/" + path, body)
            found.append(connection.getresponse().status)
        except (ConnectionError, http.client.HTTPException):
            found.append(None)
        finally:
            connection.close()
    return found
"""

_VICTIM = """
import json, os, time, boto3

def handler(event, context):
    "Say where our Runtime API is and which call this is, and wait to be told to go on."
    s3 = boto3.client("s3")
    told = {"address": os.environ["AWS_LAMBDA_RUNTIME_API"], "call": context.aws_request_id}
    s3.put_object(Bucket=event["bucket"], Key="running", Body=json.dumps(told))
    while not s3.list_objects_v2(Bucket=event["bucket"], Prefix="go")["KeyCount"]:
        time.sleep(0.02)
    return "mine"
"""

_THIEF = "import attack\ndef handler(event, context):\n    return attack.attack(**event)\n"


def _elsewhere(user: int | None) -> Callable[..., list[int | None]]:
    """Return what attacks from another process, as another user if one is given."""

    def attack(**event: str) -> list[int | None]:
        # Python itself may be out of the other user's reach: all that is needed is imported before
        become = f"os.setgroups([]); os.setgid({user}); os.setuid({user})" if user else ""
        code = f"import encodings.idna, json, os, sys\n{_ATTACK}\n{become}\n"
        code += "print(json.dumps(attack(**json.loads(sys.argv[1]))))"
        command = [sys.executable, "-I", "-S", "-c", code, json.dumps(event)]
        ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
        found: list[int | None] = json.loads(ran.stdout)
        return found

    return attack


def test_the_runtime_api_answers_the_runtime_only(either: Stand) -> None:
    """Not another user, not another process of this one, not another function."""
    here: dict[str, Any] = {}
    exec(_ATTACK, here)
    bucket = either.bucket()
    victim = either.function("m.handler", code=package({"m.py": _VICTIM}))
    thief = either.function("m.handler", code=package({"m.py": _THIEF, "attack.py": _ATTACK}))
    attackers: dict[str, Callable[..., Any]] = {
        "this process": here["attack"],
        "another process": _elsewhere(None),
        "a function": lambda **event: either.call(thief, event).value,
    }
    if os.geteuid() == 0:
        attackers["another user"] = _elsewhere(65_534)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(either.call, victim, {"bucket": bucket})
        running = {"Bucket": bucket, "Prefix": "running"}
        assert until(lambda: either.s3.list_objects_v2(**running)["KeyCount"])
        event = json.loads(either.s3.get_object(Bucket=bucket, Key="running")["Body"].read())
        try:
            found = {name: attack(**event) for name, attack in attackers.items()}
        finally:
            either.s3.put_object(Bucket=bucket, Key="go", Body=b"")
        answer = call.result()
    assert found == dict.fromkeys(attackers, [None] * 4)
    assert (answer.value, answer.error) == ("mine", None)
