"""A server that listens on more than one address: reached on each, on no other, and refused as a whole."""

import socket
from urllib.parse import urlsplit

import pytest

from funclet.client import Client, Credentials, Link
from tests.e2e.test_gateway_and_timers import publish, send
from tests.support.server import AK, PROJECT_ID, SK
from tests.support.waiting import eventually

INSIDE, OUTSIDE, ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
PAGE = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'page'}\n"
ONE, SEVERAL = ("--processes", "1"), ("--processes", "2")


def port_of(url):
    return urlsplit(url).port


def is_listening(host, port):
    """Whether somebody accepts connections there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0


@pytest.mark.proves("faq:FAQ-302")
@pytest.mark.parametrize("processes", [ONE, SEVERAL], ids=["one process", "two processes"])
def test_api_and_gateway_answer_on_each_address_and_on_no_other(new_server, processes):
    server = new_server("--host", INSIDE, "--host", OUTSIDE, "--isolation", "process", *processes)
    publish(server, "page", PAGE)
    ports = [port_of(server.api_url), port_of(server.gateway_url)]

    for host in (INSIDE, OUTSIDE):
        client = Client(f"http://{host}:{ports[0]}", Credentials(project_id=PROJECT_ID, ak=AK, sk=SK), Link(retries=0))
        # More connections than there are processes.
        assert [client.list_functions()[0]["func_name"] for _ in range(4)] == ["page"] * 4
        client.close()
        assert {send(f"http://{host}:{ports[1]}", "GET", "/page")[0] for _ in range(6)} == {200}
    assert [is_listening(ELSEWHERE, port) for port in ports] == [False, False]
    eventually(lambda: "Stop with Ctrl-C" in server.log())
    assert f"API        http://{INSIDE}:{ports[0]}, http://{OUTSIDE}:{ports[0]}\n" in server.log()
    assert f"gateway    http://{INSIDE}:{ports[1]}, http://{OUTSIDE}:{ports[1]}\n" in server.log()
    assert server.stop() == 0
    assert not any(is_listening(host, port) for host in (INSIDE, OUTSIDE) for port in ports)


def test_an_address_of_version_6_stands_in_brackets(new_server):
    server = new_server("--host", f"[::1],{INSIDE}", "--isolation", "process")

    port = port_of(server.api_url)

    assert server.api_url == f"http://[::1]:{port}"
    assert server.client.list_functions() == []
    assert is_listening(INSIDE, port)


@pytest.mark.parametrize("processes", [ONE, SEVERAL], ids=["one process", "two processes"])
@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ((INSIDE, "203.0.113.7"), "on 203.0.113.7 cannot be used: Cannot assign requested address"),
        ((INSIDE, "localhost"), "Two of the addresses to listen on are the same: 127.0.0.1, localhost"),
        ((INSIDE, INSIDE), "host 127.0.0.1 is given twice"),
        ((INSIDE, "0.0.0.0"), "host 0.0.0.0 stands for every address"),
    ],
)
def test_addresses_that_cannot_be_had_are_named_and_nothing_starts(new_server, processes, hosts, message):
    with pytest.raises(AssertionError, match=message):
        new_server("--host", ",".join(hosts), "--isolation", "process", *processes)


@pytest.mark.parametrize("processes", [ONE, SEVERAL], ids=["one process", "two processes"])
def test_a_port_that_is_taken_on_one_address_leaves_the_other_alone(new_server, processes):
    with socket.create_server((OUTSIDE, 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--port", str(port), "--isolation", "process", *processes)

        with pytest.raises(AssertionError, match=f"Port {port} on {OUTSIDE} cannot be used: Address already in use"):
            new_server("--host", INSIDE, "--host", OUTSIDE, *options)

        assert not is_listening(INSIDE, port)
        # And with that address only, the server starts.
        assert port_of(new_server("--host", INSIDE, *options).api_url) == port
