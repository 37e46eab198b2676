"""The vendor's own Python SDK against a server of the tests."""

import re
import uuid

import pytest
from huaweicloudsdkfunctiongraph import v2

from tests.support.packages import zip_base64

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ECHO = "def handler(event, context):\n    print('seen', event)\n    return {'got': event}\n"


def request_type(operation):
    """Return the class of the requests of an operation, which is named as its method in the SDK."""
    return getattr(v2, "".join(part.title() for part in operation.split("_")) + "Request")


class Sdk:
    """A client of the SDK; its operations are called by name, and what succeeded is remembered."""

    def __init__(self, server, client):
        self.server, self.client = server, client
        self.succeeded = []

    def call(self, operation, **members):
        """Call an operation with the members of its request."""
        response = getattr(self.client, operation)(request_type(operation)(**members))
        self.succeeded.append(operation)
        return response

    def create(self, source=ECHO, **fields):
        """Create a function with a name of its own; return what the SDK made of the answer."""
        members = {
            "func_name": f"sdk_{uuid.uuid4().hex[:12]}",
            "package": "default",
            "runtime": "Python3.10",
            "timeout": 7,
            "handler": "index.handler",
            "memory_size": 256,
            "code_type": "zip",
            "code_filename": "index.zip",
            "func_code": v2.FuncCode(file=zip_base64({"index.py": source})),
        } | fields
        return self.call("create_function", body=v2.CreateFunctionRequestBody(**members))

    def invoke(self, urn, body=None, **members):
        """Invoke in the form that the SDK can read whatever the result is."""
        return self.call("invoke_function", function_urn=urn, x_cff_request_version="v1", body=body or {}, **members)

    def publish(self, urn, version):
        """Publish `latest` under a name."""
        body = v2.CreateFunctionVersionRequestBody(version=version, description=f"as {version}")
        return self.call("create_function_version", function_urn=urn, body=body)

    def add_alias(self, urn, name, version, **fields):
        """Create an alias."""
        body = v2.CreateVersionAliasRequestBody(name=name, version=version, **fields)
        return self.call("create_version_alias", function_urn=urn, body=body)

    def add_timer(self, urn, **fields):
        """Create a timer that does not fire while the tests run."""
        data = v2.TriggerEventDataRequestBody(**{"name": "tick", "schedule_type": "Rate", "schedule": "30d"} | fields)
        body = v2.CreateFunctionTriggerRequestBody(trigger_type_code="TIMER", event_data=data)
        return self.call("create_function_trigger", function_urn=urn, body=body)


def refused(error_type, work, *arguments, **members):
    """Return status and code of the exception that a call must raise; it must be whole."""
    with pytest.raises(error_type) as caught:
        work(*arguments, **members)
    error = caught.value
    assert error.error_msg
    assert UUID.fullmatch(error.request_id)
    return error.status_code, error.error_code
