"""The pipeline: what is matched, in which order things are refused, and how errors look."""

import asyncio
import json

import pytest

from funclet.api.app import MAX_QUERY_PARAMETERS, Api
from funclet.api.call import Operation
from funclet.base.http import Request, Response
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project, User
from funclet.model.policy import EVERYTHING
from funclet.store.protocol import StoreUnavailable

P = "0" * 32
PRINCIPAL = Principal(
    project=Project(project_id=P, name="region-1", domain_id="d", domain_name="home"),
    user=User(user_id="u", name="admin", domain_id="d", password_hash=""),
    grants=EVERYTHING,
)


class TokenAuthenticator:
    """Knows one caller, by the token `yes`."""

    async def authenticate(self, request, *, project_id=""):
        """Return that caller."""
        if request.headers.get("x-auth-token") != "yes":
            raise ModelError("APIG.0301", "Incorrect IAM authentication information.")
        return PRINCIPAL


async def show(call):
    seen = {"parameters": dict(call.parameters), "query": dict(call.query), "name": call.principal.user.name}
    return Response(status=200, body=json.dumps(seen).encode(), headers={"X-Extra": "1"})


def failing(error):
    async def serve(call):
        raise error

    return serve


def operation(name, method, path, serve=show, **more):
    return Operation(name=name, method=method, path=path, serve=serve, **more)


FUNCTIONS = "/v2/{project_id}/fgs/functions"
OPERATIONS = [
    operation("List", "GET", FUNCTIONS),
    operation("Create", "POST", FUNCTIONS, max_body_bytes=10),
    operation("Delete", "DELETE", FUNCTIONS + "/{function_urn}"),
    operation("Config", "GET", FUNCTIONS + "/{func_urn}/config"),
    operation("Reserved", "GET", FUNCTIONS + "/reservedinstances"),
    operation("Tags", "GET", "/v2/{project_id}/{resource_type}/{resource_id}/tags"),
    operation("InvokeFunction", "POST", FUNCTIONS + "/{function_urn}/invocations", max_body_bytes=10),
    operation("Unbuilt", "GET", "/v2/{project_id}/fgs/unbuilt", None),
    operation("Login", "POST", "/v3/auth/tokens", is_public=True),
    operation("Busy", "GET", "/busy", failing(ModelError("FSS.0429", "Too many.", retry_after_s=1.2))),
    operation("Down", "GET", "/down", failing(StoreUnavailable("disk /secret/path is full"))),
    operation("Identity", "GET", "/v3/broken", failing(ModelError("FSS.0401", "Wrong."))),
]
API = Api(operations=OPERATIONS, services=None, authenticator=TokenAuthenticator())


def send(method, path, *, query="", body=b"", token="yes"):
    request = Request(method=method, raw_path=path, raw_query=query, headers={"x-auth-token": token}, body=body)
    response = asyncio.run(API.handle(request))
    assert response.headers["X-Request-Id"]
    return response.status, json.loads(response.body), response.headers


def error(*args, **options):
    status, body, _ = send(*args, **options)
    return status, body["error_code"]


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        (f"/v2/{P}/fgs/functions", {"project_id": P}),
        (f"/v2/{P}/fgs/functions/", {"project_id": P}),
        (f"/v2/{P}/fgs/functions/urn:fss:!dev/config", {"project_id": P, "func_urn": "urn:fss:!dev"}),
        (f"/v2/{P}/fgs/functions/urn%3Afss%3A%21dev/config/", {"project_id": P, "func_urn": "urn:fss:!dev"}),
        (f"/v2/{P}/fgs/functions/a%2Fb/config", {"project_id": P, "func_urn": "a/b"}),
        (f"/v2/{P}/fgs/functions/%C3%A9/config", {"project_id": P, "func_urn": "é"}),
        (f"/v2/{P}/fgs/functions/reservedinstances", {"project_id": P}),
        (f"/v2/{P}/functions/u/tags", {"project_id": P, "resource_type": "functions", "resource_id": "u"}),
        # The literal `fgs` leads nowhere here, so the parameter gets its turn.
        (f"/v2/{P}/fgs/u/tags", {"project_id": P, "resource_type": "fgs", "resource_id": "u"}),
    ],
)
def test_paths_are_matched_by_raw_segments(path, parameters):
    status, body, headers = send("GET", path)

    assert (status, body["parameters"]) == (200, parameters)
    assert headers["X-Extra"] == "1"


@pytest.mark.parametrize(
    "path", ["/", "", "/v2", f"/v2/{P}/fgs/nothing", f"//v2/{P}/fgs/functions", f"/v2/{P}/fgs/functions//", "*"]
)
def test_unknown_paths_are_404(path):
    assert error("GET", path) == (404, "APIG.0101")


@pytest.mark.proves("error:FSS.0405")
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "PUT", "NONSENSE"])
def test_other_methods_are_405(method):
    status, body, headers = send(method, f"/v2/{P}/fgs/functions")

    assert (status, body["error_code"]) == (405, "FSS.0405")
    assert headers["Allow"] == "GET, POST"


def test_a_path_that_is_not_utf_8_is_400():
    assert error("GET", f"/v2/{P}/fgs/functions/%ff/config") == (400, "FSS.0400")


def test_the_query_is_decoded_and_the_last_of_a_repeated_name_wins():
    _, body, _ = send("GET", f"/v2/{P}/fgs/functions", query="a=1&a=2&b=x%20y&c=&d=%C3%A9")

    assert body["query"] == {"a": "2", "b": "x y", "c": "", "d": "é"}


@pytest.mark.parametrize("query", ["&".join(f"p{n}=1" for n in range(MAX_QUERY_PARAMETERS + 1)), "a=%ff"])
def test_queries_beyond_all_measure_are_refused(query):
    assert error("GET", f"/v2/{P}/fgs/functions", query=query) == (400, "FSS.1001")


def test_refusals_come_in_the_order_of_the_specification():
    big = b"x" * 11

    assert error("POST", "/nowhere", body=big, token="no") == (404, "APIG.0101")
    assert error("POST", "/v2/other/fgs/functions", body=big, token="no") == (401, "APIG.0301")
    assert error("POST", "/v2/other/fgs/functions", body=big) == (403, "FSS.0403")
    assert error("POST", f"/v2/{P}/fgs/functions", body=big) == (413, "FSS.0413")
    assert send("POST", f"/v2/{P}/fgs/functions", body=big[:-1])[0] == 200


def test_a_client_without_project_id_is_told_so():
    status, body, _ = send("GET", "/v2/%7Bproject_id%7D/fgs/functions")

    assert (status, body["error_code"]) == (400, "FSS.0400")
    assert "project id" in body["error_msg"]


def test_an_unbuilt_operation_is_501_and_named_but_only_to_those_who_are_known():
    status, body, _ = send("GET", f"/v2/{P}/fgs/unbuilt")

    assert (status, body["error_code"]) == (501, "FSS.0501")
    assert "Unbuilt" in body["error_msg"]
    assert error("GET", f"/v2/{P}/fgs/unbuilt", token="no") == (401, "APIG.0301")


def test_public_operations_need_no_credentials():
    status, body, _ = send("POST", "/v3/auth/tokens", token="no")

    assert (status, body["name"]) == (200, "")


def test_an_error_has_code_message_and_request_id():
    status, body, headers = send("GET", "/busy")

    assert (status, headers["Retry-After"]) == (429, "2")
    assert body == {"error_code": "FSS.0429", "error_msg": "Too many.", "request_id": headers["X-Request-Id"]}


@pytest.mark.proves("error:FSS.0503")
def test_a_failing_database_is_503_without_its_words():
    status, body, headers = send("GET", "/down")

    assert (status, body["error_code"], headers["Retry-After"]) == (503, "FSS.0503", "1")
    assert "secret" not in body["error_msg"]


def test_errors_of_identity_paths_have_the_shape_of_keystone():
    status, body, _ = send("GET", "/v3/broken")

    assert status == 401
    assert body == {"error": {"code": 401, "message": "Wrong.", "title": "Unauthorized"}}


def test_the_body_limit_is_the_one_of_the_operation():
    assert API.body_limit("POST", f"/v2/{P}/fgs/functions") == (10, "FSS.0413")
    assert API.body_limit("POST", f"/v2/{P}/fgs/functions/u/invocations") == (10, "FSS.1201")
    assert API.body_limit("POST", "/nowhere") == (1024 * 1024, "FSS.0413")


def test_two_rows_for_one_method_and_path_are_a_mistake():
    rows = [operation("A", "GET", "/a/{b}"), operation("B", "GET", "/a/{c}")]

    with pytest.raises(ValueError, match="two operations"):
        Api(operations=rows, services=None, authenticator=TokenAuthenticator())
