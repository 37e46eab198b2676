"""The functions that the load invokes, and how each may end."""

from dataclasses import dataclass

from tests.support.packages import zip_of

PYTHON, NODE = "Python3.10", "Node.js20.15"

ECHO = "def handler(event, context):\n    return event\n"
ECHO_NODE = "exports.handler = async (event, context) => event;\n"
MIRROR = """
import base64

def handler(event, context):
    return {"statusCode": 200, "body": base64.b64decode(event["body"]).decode()}
"""
MIRROR_NODE = """
exports.handler = async (event, context) => ({
  statusCode: 200,
  body: Buffer.from(event.body, 'base64').toString(),
});
"""
SLOW = "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return event\n"
RAISES = "def handler(event, context):\n    raise ValueError('on purpose')\n"
EXITS = "import os\n\ndef handler(event, context):\n    os._exit(3)\n"
HANGS = "import time\n\ndef handler(event, context):\n    time.sleep(60)\n"
HOARDS = "def handler(event, context):\n    return len(bytearray(512 << 20))\n"


@dataclass(frozen=True, kw_only=True)
class Failing:
    """A function that fails in one way."""

    source: str
    code: int
    """As documented for this failure."""
    status: int = 500
    timeout_s: int = 10


FAILING = {
    "raises": Failing(source=RAISES, code=4002, status=200),
    "exits": Failing(source=EXITS, code=4204),
    "hangs": Failing(source=HANGS, code=4010, timeout_s=3),
    "hoards": Failing(source=HOARDS, code=4205),
}


def numbered(number):
    """Return the code of a function that returns a number."""
    return zip_of({"index.py": f"def handler(event, context):\n    return {number}\n"})
