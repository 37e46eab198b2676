"""What schemathesis is told about this server; it loads this file by SCHEMATHESIS_HOOKS.

The server under test is described by the environment: `CASES_PROJECT`, the
project of the credentials; `CASES_FUNCTIONS`, the urns of functions that exist;
`CASES_SUMMARY`, the file that tells in the end how often each operation answered with which status.
"""

import atexit
import json
import os
import re
import zlib
from collections import Counter
from pathlib import Path

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

PROJECT_ID = os.environ["CASES_PROJECT"]
FUNCTIONS = os.environ["CASES_FUNCTIONS"].split(",")
SUMMARY = Path(os.environ["CASES_SUMMARY"])
FUNCTION_FAULT = re.compile(r"FSS\.4\d\d\d")
NOT_BUILT = 501
statuses = Counter()


@atexit.register
def write_summary():
    """Write how often each operation answered with which status."""
    SUMMARY.write_text(json.dumps([[name, status, count] for (name, status), count in statuses.items()]))


def raw(case):
    """Return what the document says of the operation."""
    return case.operation.definition.raw


@schemathesis.hook
def before_call(context, case, kwargs):
    """Name what exists: generated names hit nothing, and would prove little beyond 403 and 404."""
    names = case.path_parameters
    if names and "project_id" in names:
        names["project_id"] = PROJECT_ID
    for name in ("function_urn", "func_urn"):
        if names and name in names and raw(case)["operationId"] != "DeleteFunction":
            number = zlib.crc32(str(names[name]).encode("utf-8", "surrogatepass"))
            if number % 4:
                names[name] = FUNCTIONS[number % len(FUNCTIONS)]


@schemathesis.hook
def after_call(context, case, response):
    """Count the answer."""
    statuses[raw(case)["operationId"], response.status_code] += 1


@schemathesis.check
def no_failure_of_the_server(context, response, case):
    """Refuse 5xx, except for what is not built yet, and for what the author's function does wrong."""
    status = response.status_code
    if status < 500:
        return
    if status == NOT_BUILT:
        assert raw(case).get("x-is-built") is False, "501, but the document says that it is built"
        return
    code = json.loads(response.content)["error_code"]
    assert FUNCTION_FAULT.fullmatch(code), f"{status} {code}"


@schemathesis.check
def success_is_the_one_of_the_document(context, response, case):
    """Refuse another good status than the documented one: clients take few for good, and `default` is for errors."""
    if response.status_code < 400:
        assert str(response.status_code) in raw(case)["responses"], f"{response.status_code} is not documented"


@schemathesis.check
def bad_input_is_refused(context, response, case):
    """Refuse good answers to what the document forbids; null is allowed for every member that need not be sent."""
    if not has_null(case.body):
        negative_data_rejection(context, response, case)


def has_null(value):
    """Tell whether some member or item is null."""
    if isinstance(value, dict):
        return any(has_null(one) for one in value.values())
    return value is None or (isinstance(value, list) and any(map(has_null, value)))
