"""The client: signing, repetition, errors."""

import hashlib
import socket
import ssl
import subprocess
import threading
from http.server import ThreadingHTTPServer

import pytest

from funclet.client import ApiError, Client, Credentials, Link, NetworkError, segment, sign
from tests.support.stub import Stub, handler_of

AK, SK = "AKEXAMPLE0000000001", "SKexample/secret+key==0000000000000001"
P = "0123456789abcdef0123456789abcdef"
BASE = {"host": "functiongraph.local", "x-project-id": P, "x-sdk-date": "20240102T030405Z"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        (
            "GET", f"/v2/{P}/fgs/functions", "maxitems=10&func_name=a%20b&marker=0", {**BASE, **JSON}, b"",
            "c999e0cedd22f1d107c2855ac5a21401c9123e7078c68c33beba59c531885e09",
        ),
        (
            "POST", f"/v2/{P}/fgs/functions/urn:fss:cn-north-4:{P}:function:default:hello:latest/invocations", "",
            {**BASE, **JSON, "x-cff-log-type": "tail"}, b'{"k": "v"}',
            "8269f3127bd97f43a97953a85c47898fac937a36e81669a08745f31e840b8a34",
        ),
        (
            "POST", f"/v2/{P}/upload", "",
            {**BASE, "content-type": "multipart/form-data; boundary=abc", "x-sdk-content-sha256": "UNSIGNED-PAYLOAD"},
            b"--abc--", "af62d59651907ac698bf54f3fe31f6200efd1d44ef6321a7031e1789c8611b71",
        ),
        (
            "DELETE", f"/v2/{P}/fgs/functions/default:hello", "", {**BASE, "x-security-token": "tok"}, b"",
            "76799f6432f3e81ca0600647683ddef71b1409cfeec87f4f333cc852a691cf54",
        ),
    ],
)  # fmt: skip
def test_signature_is_that_of_the_official_signer(method, path, query, headers, body, signature):
    text = sign(method=method, path=path, query=query, headers=headers, body=body, ak=AK, sk=SK)

    assert text.endswith(f"Signature={signature}")
    assert f"SignedHeaders={';'.join(sorted(headers))}" in text


def test_encoding_of_the_path_does_not_change_the_signature():
    one, other = (
        sign(method="GET", path=path, query="", headers=BASE, body=b"", ak=AK, sk=SK)
        for path in ("/a/x:!y", f"/a/{segment('x:!y')}")
    )

    assert one == other


@pytest.fixture
def client(stub):
    made = Client(stub.url, Credentials(project_id=P, ak=AK, sk=SK), Link(timeout_s=5, retries=2))
    yield made
    made.close()


def test_connection_is_kept_between_calls(client, stub):
    stub.on("GET", "/fgs/functions", 200, {"functions": []})

    client.list_functions()
    first = client._connection
    client.list_functions()

    assert client._connection is first


def test_refusal_carries_code_message_and_request_id(client, stub):
    stub.on("GET", "/fgs/functions", 409, {"error_code": "FSS.1066", "error_msg": "taken"}, X_Request_Id="r-1")

    with pytest.raises(ApiError) as caught:
        client.list_functions()

    error = caught.value
    assert (error.status, error.code, error.message, error.request_id) == (409, "FSS.1066", "taken", "r-1")


def test_identity_errors_are_read_in_their_own_shape(client, stub):
    stub.on("GET", "/v3/projects", 401, {"error": {"code": 401, "message": "no", "title": "Unauthorized"}})

    with pytest.raises(ApiError, match="no") as caught:
        client.find_project("local-1")

    assert caught.value.status == 401


def test_answer_that_is_no_json_is_an_error_of_its_own(client, stub):
    stub.on("GET", "/fgs/functions", 502, b"<html>bad gateway</html>")

    with pytest.raises(ApiError, match="bad gateway"):
        client.list_functions()


def test_redirect_is_not_followed(client, stub):
    stub.on("GET", "/fgs/functions", 302, b"", Location="http://elsewhere.test/")

    with pytest.raises(ApiError):
        client.list_functions()


def test_throttled_request_is_sent_again_when_the_server_says_so(client, stub):
    stub.on("POST", "/fgs/functions", 429, {"error_code": "FSS.0429", "error_msg": "busy"}, Retry_After="0")
    stub.on("POST", "/fgs/functions", 200, {"func_name": "a"})

    assert client.create_function({})["func_name"] == "a"


def test_all_pages_are_read(client, stub):
    row = {"func_name": "a"}
    stub.on("GET", "/fgs/functions", 200, {"functions": [row] * 400, "next_marker": 400})
    stub.on("GET", "/fgs/functions", 200, {"functions": [row], "next_marker": 401})

    assert len(client.list_functions()) == 401
    assert "marker=400" in stub.seen[1].query


def test_unreachable_server_is_named_with_what_to_do():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = Client(address, Credentials(project_id=P, token="t"), Link(retries=0))

    with pytest.raises(NetworkError, match=address) as caught:
        client.list_functions()

    assert "fgs serve" in caught.value.hint


def test_lost_post_is_not_repeated():
    """A request that may have been carried out must not run twice."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Client(
            f"http://127.0.0.1:{listener.getsockname()[1]}", Credentials(project_id=P, token="t"), Link(timeout_s=0.3)
        )
        with pytest.raises(NetworkError, match=r"0\.3 s"):
            client.invoke("hello", b"{}")
        client.close()
        listener.accept()[0].close()
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.proves("faq:FAQ-209")
def test_http_goes_through_the_proxy_with_its_credentials(stub):
    client = Client(
        "http://fgs.example.test:1234",
        Credentials(project_id=P, token="t"),
        Link(proxy=stub.url.replace("http://", "http://user:p%40ss@")),
    )
    stub.answers["GET", f"http://fgs.example.test:1234/v2/{P}/fgs/functions"] = [(200, {"functions": []}, {})]

    client.list_functions()
    client.close()

    assert stub.seen[0].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert stub.seen[0].headers["host"] == "fgs.example.test:1234"


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody trusts."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=20)
    return tmp_path


@pytest.fixture
def secure_stub(certificate):
    """The stub behind TLS."""
    made = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # a client that goes away at the handshake is what one test wants
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"https://127.0.0.1:{server.server_address[1]}"
    made.on("GET", "/fgs/functions", 200, {"functions": []})
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_unknown_certificate_is_refused_with_a_way_out(secure_stub):
    client = Client(secure_stub.url, Credentials(project_id=P, token="t"))

    with pytest.raises(NetworkError, match="not trusted") as caught:
        client.list_functions()

    assert "--ca" in caught.value.hint


@pytest.mark.parametrize("by", ["ca", "insecure"])
def test_own_certificate_is_accepted_when_asked_to(secure_stub, certificate, by):
    link = Link(ca=str(certificate / "cert.pem")) if by == "ca" else Link(insecure=True)
    client = Client(secure_stub.url, Credentials(project_id=P, token="t"), link)

    found = client.list_functions()
    client.close()

    assert found == []


@pytest.mark.proves("faq:FAQ-209")
def test_https_goes_through_a_tunnel_of_the_proxy(secure_stub, certificate):
    """The proxy sees CONNECT with its own credentials, and nothing of the request."""
    port = int(secure_stub.url.rpartition(":")[2])
    heads = []

    def relay(proxy):
        near, _ = proxy.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(1024)
        heads.append(head.decode())
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            near.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def pump(source, target):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        thread = threading.Thread(target=relay, args=(proxy,))
        thread.start()
        link = Link(
            ca=str(certificate / "cert.pem"), proxy=f"http://user:pass@127.0.0.1:{proxy.getsockname()[1]}", retries=0
        )
        client = Client(secure_stub.url, Credentials(project_id=P, token="t"), link)
        found = client.list_functions()
        client.close()
        thread.join()

    assert found == []
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{port} ")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in heads[0]
    assert "X-Auth-Token" not in heads[0]


def test_secrets_are_not_in_the_text_of_credentials():
    shown = repr(Credentials(project_id=P, ak=AK, sk=SK, token="top-secret", security_token="tok"))

    assert SK not in shown
    assert "top-secret" not in shown


def test_unsigned_payload_of_an_empty_body_is_the_hash_of_nothing():
    headers = {**BASE, "x-sdk-content-sha256": "UNSIGNED-PAYLOAD"}
    same = {**BASE, "x-sdk-content-sha256": hashlib.sha256(b"").hexdigest()}

    texts = [sign(method="GET", path="/", query="", headers=h, body=b"", ak=AK, sk=SK) for h in (headers, same)]

    assert texts[0] != texts[1]  # the header itself is signed
    assert all("Signature=" in text for text in texts)
