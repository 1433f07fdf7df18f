"""Two thousand calls under way at the same time: what that takes of the driver's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_MOST = 400 << 20

_STUB = """
import asyncio, json, sys
from wrenla_handler.versions import packages
from wrenla_handler.serialize.blobs import dump, pack
from wrenla_handler.calls.messages import Response
import platform
value = pack(dump(7), lambda n, p: "")
facts = {"FunctionName": "wrenla", "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:wrenla",
         "Runtime": "python3.11", "MemorySize": 512, "Timeout": 60, "Architectures": ["x86_64"],
         "Environment": {"Variables": {"WRENLA_BUCKET": "nobodys", "WRENLA_PREFIX": "wrenla"}}}
pong = {"version": 2, "kind": "pong", "python": platform.python_version(), "packages": packages(), "blas": {}}

async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            body = b""
            if "content-length:" in head:
                body = await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
            event = json.loads(body) if head.startswith("post") else {"kind": "facts"}
            if event["kind"] == "call":
                await asyncio.sleep(5)
                answer = Response(event["id"], event["attempt"], "value", value).encode()
            else:
                answer = json.dumps(facts if event["kind"] == "facts" else pong).encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(answer) + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

_DRIVER = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
import wrenla as wl
from wrenla.executors.transport.scratch import ScratchSpace
ScratchSpace.url = property(lambda self: "s3://nobodys/wrenla")
executor = wl.LambdaExecutor(concurrency=2000)
futures = executor.submit_many(abs, range(2000))
assert {future.result(100) for future in futures} == {7}
most = executor.stats().attempts
assert most == 2000, most
executor.shutdown()
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_memory_of_many_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variables = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "WRENLA_"))}
    variables |= {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", _STUB], stdout=subprocess.PIPE, text=True, env=variables
    ) as stub:
        try:
            assert stub.stdout is not None
            variables["AWS_ENDPOINT_URL_LAMBDA"] = f"http://127.0.0.1:{stub.stdout.readline().strip()}"
            done = subprocess.run(
                [sys.executable, "-c", _DRIVER],
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                timeout=110,
            )
        finally:
            stub.kill()
    assert done.returncode == 0, done.stderr[-2000:]
    peak = int(done.stdout) << 10
    with capsys.disabled():
        print(f"\n2,000 calls under way: {peak >> 20} MiB at most")  # noqa: T201
    assert peak <= _MOST
