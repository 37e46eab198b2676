"""Tests of operations that may not be built yet. Start with `check_unbuilt`."""

import re

from funclet.api.operations import OPERATIONS
from tests.support.server import PROJECT_ID

ROWS = {row.name: row for row in OPERATIONS}


def unbuilt_of(item):
    """Return those operations that the mark `needs` of a test names, and that have no serve function in the table."""
    return [name for mark in item.iter_markers("needs") for name in mark.args if ROWS[name].serve is None]


def check_unbuilt(server, name):
    """Check that an operation answers that it is not built."""
    row = ROWS[name]
    path = re.sub(r"\{\w+\}", "x", row.path.replace("{project_id}", PROJECT_ID))
    answer = server.client.call(row.method, path, raises=False)

    assert (answer.status, answer.json()["error_code"]) == (501, "FSS.0501")
    assert name in answer.json()["error_msg"]
