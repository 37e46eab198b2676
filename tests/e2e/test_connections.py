"""How many connections a real server holds."""

import contextlib
import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.support.waiting import eventually

MOST = 16


@pytest.fixture
def small_server(new_server):
    return new_server("--max-connections", str(MOST))


def connected(stack, address):
    """Open a connection and have one answer, so that it is known to be taken; return it with status and body."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    stack.callback(connection.close)
    connection.request("GET", "/nothing")
    response = connection.getresponse()
    return connection, response.status, response.read()


@pytest.mark.parametrize("port", ["api_url", "gateway_url"])
def test_connections_beyond_the_setting_are_refused(small_server, port):
    address = getattr(small_server, port)
    with contextlib.ExitStack() as stack:
        held = [connected(stack, address) for _ in range(MOST)]
        _, status, body = connected(stack, address)

        assert {taken for _, taken, _ in held} == {404}
        assert (status, json.loads(body)["error_code"]) == (503, "FSS.0503")

        held[0][0].close()
        eventually(lambda: connected(stack, address)[1] == 404, because="a place is free again")
