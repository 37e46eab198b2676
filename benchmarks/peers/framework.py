"""The function of all targets for functions-framework with its default server."""

import json
from typing import Any


def hello(request: Any) -> tuple[str, int, dict[str, str]]:
    """Answer JSON with JSON."""
    event = json.loads(request.get_data())
    reply = json.dumps({"greeting": f"hello, {event['name']}", "items": len(event["items"])})
    return reply, 200, {"Content-Type": "application/json"}
