"""Truncated answers of S3: botocore takes some for whole ones, a cut list for a short list."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_cut_answers"]


def refuse_cut_answers(client: Any) -> None:
    """Make an S3 client retry an answer that was cut.

    botocore does not compare lengths. It asks again if it cannot parse an answer, but one that was cut to
    nothing it takes for an empty one: a list without keys. Where the head of an answer ends too early, the
    rest of the headers are missing, and an object without `ContentLength` would look like none at all.
    What `get_object` returns is a stream, which its reader checks.
    """
    client.meta.events.register("before-parse.s3", _refuse_cut, unique_id="wrenla-cut-answers")


def _refuse_cut(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    if not _is_whole(operation_model, response_dict):
        if not isinstance(response_dict["body"], bytes):
            response_dict["body"].close()
        # As botocore itself does with errors that come with status 200.
        response_dict.update(status_code=500, body=b"")


def _is_whole(operation_model: Any, response: dict[str, Any]) -> bool:
    headers, body, status = response["headers"], response["body"], response["status_code"]
    if status < 300 and operation_model.name in ("GetObject", "HeadObject"):
        length = "Content-Range" if status == 206 else "Content-Length"
        return "ETag" in headers and length in headers
    method = operation_model.http["method"]
    if method == "HEAD" or not isinstance(body, bytes):
        return True
    if method == "GET" and status == 200 and not body:
        return False
    length = headers.get("Content-Length")
    return length is None or len(body) == int(length)
