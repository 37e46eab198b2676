"""The function of all targets for functions-framework with ASGI."""

import json
from typing import Any


async def hello(request: Any) -> dict[str, Any]:
    """Answer JSON with JSON."""
    event = json.loads(await request.body())
    return {"greeting": f"hello, {event['name']}", "items": len(event["items"])}
