"""The table holds every operation of the API and of the vendor's SDK, with the same names and paths."""

import inspect
import json
import re
from pathlib import Path

from huaweicloudsdkfunctiongraph.v2 import FunctionGraphClient

from funclet.api.operations import OPERATIONS

LIST = Path(__file__).parents[2] / "api" / "operations.json"
ROWS = {(row.method, row.path): row for row in OPERATIONS}


def test_the_table_and_the_specification_hold_the_same_operations():
    specified = {(row["name"], row["method"], row["path"]) for row in json.loads(LIST.read_text())}

    assert len(specified) == 108
    assert {(row.name, row.method, row.path) for row in OPERATIONS if not row.is_ours} == specified


def test_the_table_holds_every_operation_of_the_sdk():
    source = inspect.getsource(FunctionGraphClient)
    pairs = set(re.findall(r'"method": "(\w+)",\s+"resource_path": "([^"]+)"', source))

    assert len(pairs) == 92
    assert {pair for pair, row in ROWS.items() if row.in_sdk} == pairs


def test_names_are_unique():
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)


def test_only_logging_in_signed_links_and_what_describes_the_server_are_public():
    assert {row.name for row in OPERATIONS if row.is_public} == {
        "CreateToken",
        "CreateTokenWithIdToken",
        "DownloadCode",
        "ConfirmSubscription",
        "ShowIdentityVersion",
        "ShowApiDocument",
    }


def test_additions_are_served():
    assert all(row.serve is not None for row in OPERATIONS if row.is_ours)
