"""Tokens of an issuer: what is verified, and how its keys are kept."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from funclet.outside.guard import Guard, parse_networks
from funclet.outside.issuer import KEYS_AGE_S, PAUSE_S, Issuer, IssuerUnavailable, TokenRefused
from funclet.outside.outgoing import Outgoing
from funclet.testing.fakes import FakeClock

AUDIENCE = "us"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def published(key_id, key, algorithm="RS256"):
    kind = jwt.algorithms.ECAlgorithm if algorithm == "ES256" else jwt.algorithms.RSAAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "alg": algorithm, "use": "sig"}


class Pages:
    """The two documents of an issuer, and how often they were read."""

    def __init__(self):
        self.keys = [published("one", RSA), {"kty": "odd", "kid": "odd"}, published("curve", CURVE, "ES256")]
        self.name = self.discovery_status = None
        self.reads = 0


@pytest.fixture
def pages():
    made = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            made.reads += 1
            discovery = {"issuer": made.name or made.url, "jwks_uri": f"{made.url}/keys"}
            body = json.dumps({"keys": made.keys} if self.path == "/keys" else discovery).encode()
            self.send_response(made.discovery_status or 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def issuer(pages, clock):
    return Issuer(pages.url, Outgoing(Guard(parse_networks(("*",)), setting="x")), clock)


def token(pages, *, key=RSA, algorithm="RS256", key_id="one", **changes):
    now = time.time()
    claims = {"iss": pages.url, "aud": AUDIENCE, "sub": "s", "iat": now, "exp": now + 600} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    headers = {"kid": key_id} if key_id is not None else {}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def verify(issuer, *tokens):
    async def work():
        return [await issuer.verify(one, audience=AUDIENCE) for one in tokens]

    return asyncio.run(work())[-1]


def test_a_token_of_the_issuer_is_taken_and_its_keys_are_read_once(issuer, pages):
    claims = verify(issuer, token(pages), token(pages, key=CURVE, algorithm="ES256", key_id="curve"), token(pages))

    assert claims["sub"] == "s"
    assert pages.reads == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER},
        {"iss": "https://elsewhere.example"},
        {"aud": "them"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"sub": None},
        {"nbf": time.time() + 3600},
        {"key_id": "unknown"},
        {"key_id": "odd"},
        {"key_id": "curve"},
        {"key_id": None},
    ],
)
def test_what_is_not_right_is_refused(issuer, pages, changes):
    with pytest.raises(TokenRefused):
        verify(issuer, token(pages, **changes))


def test_an_audience_among_others_is_taken(issuer, pages):
    assert verify(issuer, token(pages, aud=["them", AUDIENCE]))["sub"] == "s"


def test_the_only_key_needs_no_name(issuer, pages):
    pages.keys = pages.keys[:1]

    assert verify(issuer, token(pages, key_id=None))["sub"] == "s"


def test_no_token_can_be_made_with_what_is_published(issuer, pages):
    """What is public as a shared secret, and no signature at all."""
    secret = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
    shared = token(pages, key=secret, algorithm="HS256")
    unsigned = token(pages, key=None, algorithm="none")

    for wrong in (shared, unsigned, "a.b.c", "", "x" * 20_000):
        with pytest.raises(TokenRefused):
            verify(issuer, wrong)
    assert pages.reads == 0


def test_a_new_key_is_found_and_unknown_ones_do_not_make_us_ask_again_and_again(issuer, pages, clock):
    verify(issuer, token(pages))
    pages.keys.append(published("two", OTHER))
    new = token(pages, key=OTHER, key_id="two")

    for _ in range(3):
        with pytest.raises(TokenRefused):
            verify(issuer, new)
    assert pages.reads == 2
    clock.advance(PAUSE_S + 1)

    assert verify(issuer, new)["sub"] == "s"
    assert pages.reads == 4


def test_a_key_that_was_withdrawn_is_refused_within_the_hour(issuer, pages, clock):
    verify(issuer, token(pages))
    pages.keys = [published("two", OTHER)]

    clock.advance(KEYS_AGE_S + 1)

    with pytest.raises(TokenRefused):
        verify(issuer, token(pages))


def test_an_issuer_that_cannot_be_asked_is_said_so(issuer, pages, clock):
    pages.discovery_status = 500
    for _ in range(2):
        with pytest.raises(IssuerUnavailable):
            verify(issuer, token(pages))
    assert pages.reads == 1

    pages.discovery_status = None
    clock.advance(PAUSE_S + 1)
    assert verify(issuer, token(pages))["sub"] == "s"


def test_a_document_of_another_issuer_is_not_believed(issuer, pages):
    pages.name = "https://elsewhere.example"

    with pytest.raises(IssuerUnavailable, match="calls itself"):
        verify(issuer, token(pages))
