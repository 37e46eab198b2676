"""The document that a destination gets when an asynchronous request has ended. Pure."""

from datetime import UTC, datetime

import msgspec

from funclet.asyncq.retry import Condition, Done, Drop
from funclet.model.invocation import Submission

MAX_RESPONSE_BYTES = 256 * 1024
"""Of the result, in UTF-8; a longer one is left out, and the request has succeeded all the same."""
MAX_REQUEST_BYTES = 256 * 1024
"""Of the event. Clients cannot send a longer one, but a chain of destinations makes it: each quotes the one before."""


def build(
    submission: Submission, end: Done | Drop, *, executions: int, max_request_bytes: int = MAX_REQUEST_BYTES
) -> bytes:
    """Return the document as JSON text.

    Args:
        submission: what was accepted; its payload is quoted.
        end: how it ended.
        executions: how often the function was run.
        max_request_bytes: a longer event is left out.
    """
    document = {
        "timestamp": timestamp(submission.accepted_at),
        "request_context": {
            "request_id": submission.request_id,
            "function_urn": submission.urn,
            "condition": Condition.SUCCESS.value if isinstance(end, Done) else end.condition.value,
            # How often it was run again, as the cloud counts: 0 for a single run.
            "approximate_invoke_count": max(0, executions - 1),
        },
        "request_payload": _text(submission.payload, max_request_bytes),
        "response_context": {
            "status_code": 200 if isinstance(end, Done) else end.http_status,
            "function_error": "" if isinstance(end, Done) else end.function_error,
        },
        "response_payload": _text(end.body, MAX_RESPONSE_BYTES),
    }
    return msgspec.json.encode(document)


def timestamp(at: float) -> str:
    """Return `at` (seconds since the epoch) in the form of RFC 3339 with nanoseconds and a numeric offset."""
    nanoseconds = round(at * 1_000_000) * 1000
    moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 1_000_000_000:09d}+00:00"


def _text(body: bytes, limit: int) -> str:
    text = body.decode(errors="replace")
    return text if len(text.encode()) <= limit else ""
