"""The function that a stem loads and calls before it knows its own, so that the first real call finds all paths warm.

Its handler does what functions do: log, read and write JSON, fail.
"""

import json
import logging

# Not from typing, as in the files beside it; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def echo(event: "dict[str, Any]", context: "Any") -> "dict[str, Any]":  # noqa: ARG001 - handlers are given both
    """Return the event: what every function does at least."""
    return event


def handler(event: "dict[str, Any]", context: "Any") -> "dict[str, Any]":
    """Return the event, or raise ValueError if its member `fail` is true."""
    logger = context.getLogger()
    logger.info("request %s of %s", context.getRequestID(), context.getUserData("name"))
    logging.warning("%d ms left", context.getRemainingTimeInMilliSeconds())  # noqa: LOG015 - a logger would stay
    if event["fail"]:
        raise ValueError(json.dumps(event))
    return {"statusCode": 200, "body": json.dumps(json.loads(json.dumps(event, indent=1)))}
