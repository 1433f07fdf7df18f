"""What the functions in these tests do. It becomes a package, and is never imported here."""

import itertools
import json
import mmap
import multiprocessing
import os
import subprocess
import sys
import threading
import time

COLD = [True]
BEATS = []


def echo(event, context):
    return event


def cold(event, context):
    first, COLD[0] = COLD[0], False
    return {"cold": first, "pid": os.getpid(), "stream": context.log_stream_name}


def fails(event, context):
    raise ValueError(event["text"])


def ends(event, context):
    if event.get("signal"):
        os.kill(os.getpid(), event["signal"])
    sys.exit(event["code"])


def sleeps(event, context):
    time.sleep(event["seconds"])
    return "awake"


def remembers(event, context):
    if not event["mb"]:
        return 0
    held = mmap.mmap(
        -1,
        event["mb"] << 20,
        mmap.MAP_ANONYMOUS | (mmap.MAP_SHARED if event.get("shared") else mmap.MAP_PRIVATE),
    )
    held.madvise(mmap.MADV_HUGEPAGE)  # a function with little memory has little processor time for pages, too
    held[::4096] = b"x" * len(range(0, len(held), 4096))
    time.sleep(event.get("seconds", 0))  # without control groups somebody looks now and then
    return len(held)


def child_remembers(event, context):
    code = f"import handlers, time; handlers.remembers({event}, None); time.sleep({event['seconds']})"
    return subprocess.run([sys.executable, "-S", "-c", code], cwd=os.environ["LAMBDA_TASK_ROOT"]).returncode


def says(event, context):
    sys.stdout.write(event["text"] + "\n")
    sys.stderr.write("and to stderr\n")
    return len(event["text"])


def large(event, context):
    return "x" * event["size"]


def unserialisable(event, context):
    return {1, 2}


def where(event, context):
    return {
        "path": sys.path,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "modules": sorted(sys.modules),
        "seen": {name: os.path.exists(name) for name in event.get("look", [])},
    }


def imports(event, context):
    found = {}
    for name in event["names"]:
        try:
            found[name] = os.path.dirname(__import__(name).__file__)
        except ImportError as error:
            found[name] = str(error)
    return found


def writes(event, context):
    found = {}
    for name, size in event["files"].items():
        try:
            with open(name, "wb") as file:
                file.write(b"x" * size)
            found[name] = "written"
        except OSError as error:
            found[name] = type(error).__name__ + ": " + (error.strerror or "")
    return found


def reads(event, context):
    return os.path.exists(event["file"])


def temporary(event, context):
    import tempfile

    file = os.path.join(tempfile.gettempdir(), "mark")
    was, _ = os.path.exists(file), open(file, "w").close()
    return {"was": was, "folder": tempfile.gettempdir()}


def locks(event, context):
    try:
        multiprocessing.Lock()
    except OSError as error:
        return str(error)
    return "made"


def open_files(event, context):
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)


def beats(event, context):
    """Count in the background, also when nobody asks."""
    if not BEATS:
        BEATS.append(time.monotonic())

        def beat():
            while True:
                time.sleep(0.01)
                BEATS.append(time.monotonic())

        threading.Thread(target=beat, daemon=True).start()
    if event.get("settle"):
        time.sleep(event["settle"])
    gaps = [after - before for before, after in itertools.pairwise(BEATS)]
    return {"beats": len(BEATS), "longest": max(gaps, default=0)}


def leaves(event, context):
    """Leave processes that would live on: in a session of its own, and without parent and environment."""
    code = f"import time; time.sleep(600) # {event['mark']}"
    subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    orphan = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    subprocess.run([sys.executable, "-S", "-c", orphan, sys.executable, "-S", "-c", code], env={})
    time.sleep(event.get("seconds", 0))
    return "left"


def context_fields(event, context):
    return {
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "id": len(context.aws_request_id),
        "group": context.log_group_name,
        "client": context.client_context and context.client_context.custom,
        "left": context.get_remaining_time_in_millis(),
        "event": event,
    }


def marks(event, context):
    """Write an object, so that others see that it ran."""
    import boto3

    client = boto3.client("s3")
    client.put_object(Bucket=event["bucket"], Key=f"{event['key']}/{time.time_ns()}-{os.getpid()}", Body=b"")
    if event.get("seconds"):
        time.sleep(event["seconds"])
    if event.get("fail"):
        raise RuntimeError("as wanted")
    return "marked"


def stores(event, context):
    import boto3
    import botocore.exceptions

    try:
        boto3.client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"1")
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return "stored"


def calls(event, context):
    """Call another function."""
    import boto3
    import botocore.exceptions

    try:
        got = boto3.client("lambda").invoke(FunctionName=event["function"], Payload=b'"from a function"')
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return json.loads(got["Payload"].read())


def probes(event, context):
    """Ask the Runtime API what a client should not ask."""
    import http.client

    found = []
    for method, path, body in event["requests"]:
        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=10)
        connection.request(method, f"/2018-06-01/{path}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        try:
            kind = json.loads(text).get("errorType")
        except ValueError:
            kind = None
        found.append([method, path, answer.status, kind])
        connection.close()
    return found
