"""Sources of the functions that are measured, and how they become code packages. Start with `package_of`."""

import base64
import io
import zipfile
from collections.abc import Mapping

PYTHON, NODE = "Python3.10", "Node.js20.15"

HELLO = {
    "index.py": """
def handler(event, context):
    return {"greeting": f"hello, {event['name']}", "items": len(event["items"])}
"""
}
"""The work of all targets, for the invocation API: JSON in, JSON out."""

HELLO_GATEWAY = {
    "index.py": """
import base64
import json


def handler(event, context):
    body = json.loads(base64.b64decode(event["body"]))
    reply = {"greeting": f"hello, {body['name']}", "items": len(body["items"])}
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(reply)}
"""
}
"""The same behind the gateway, which wraps bodies into events."""

HELLO_NODE = {
    "index.js": """
exports.handler = async (event, context) => ({ greeting: `hello, ${event.name}`, items: event.items.length });
"""
}

BUSY = {
    "index.py": """
import time


def handler(event, context):
    time.sleep(0.010)
    return {"statusCode": 200, "body": "done"}
"""
}
"""Takes 10 ms and no CPU: with n instances, 100 n requests per second are all there is."""

HEAVY = {
    "index.py": """
import slow_library


def handler(event, context):
    return {"greeting": f"hello, {event['name']}", "loaded": slow_library.LOADED}
""",
    "slow_library.py": '''
"""Stands for a library whose import takes 200 ms of CPU time."""

import time

ends_at = time.thread_time() + 0.2
LOADED = 0
while time.thread_time() < ends_at:
    LOADED += 1
''',
}


def package_of(files: Mapping[str, str], *, mark: str) -> str:
    """Return a zip archive in Base64; `mark` makes it another one, so that nothing of an earlier one is of use."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text.lstrip("\n"))
        archive.writestr("mark.txt", mark)
    return base64.b64encode(buffer.getvalue()).decode()
