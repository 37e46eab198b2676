"""Signed requests: the worked vectors, what the official signer makes, and everything that must be refused."""

import asyncio
import hashlib
from dataclasses import replace
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given, settings
from hypothesis import strategies as st

from funclet.api import auth, remembered, signing
from funclet.api.auth import Authenticator
from funclet.base.http import Request
from funclet.model.errors import ModelError
from funclet.model.identity import AccessKey, Project, Token, User
from funclet.testing.fakes import FakeClock

AK, SK = "AKEXAMPLE0000000001", "SKexample/secret+key==0000000000000001"
P = "0123456789abcdef0123456789abcdef"
AT = 1_704_164_645.0  # 20240102T030405Z
PROJECT = Project(project_id=P, name="region-1", domain_id="d", domain_name="home")
USER = User(user_id="u", name="admin", domain_id="d", password_hash="", is_owner=True)
KEY = AccessKey(access=AK, secret=SK, user_id="u", project_id=P)


class StubStore:
    """Keys and tokens in dictionaries; counts reads."""

    def __init__(self, *, key=KEY, token=None):
        self.identities = self
        self.keys = {key.access: key}
        self.tokens = {token.digest: token} if token else {}
        self.access_key = self.keys.get
        self.token = self.tokens.get
        self.reads = 0

    def user(self, user_id):
        """Return the one user."""
        return USER if user_id == USER.user_id else None

    def projects(self):
        """Return the one project."""
        return [PROJECT]

    async def read(self, work):
        """Run a piece of work."""
        self.reads += 1
        return work(self)


def authenticate(request, *, at=AT, store=None):
    return asyncio.run(Authenticator(store or StubStore(), FakeClock(at)).authenticate(request))


def refusal(request, **options):
    with pytest.raises(ModelError) as caught:
        authenticate(request, **options)
    assert (caught.value.code, caught.value.status) == ("APIG.0301", 401)
    return caught.value.message


def signed(method, path, signed_headers, signature, *, query="", body=b"", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    names |= {"host": "functiongraph.local", "x-project-id": P, "x-sdk-date": "20240102T030405Z"}
    names["authorization"] = f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders={signed_headers}, Signature={signature}"
    return Request(method=method, raw_path=path, raw_query=query, headers=names, body=body)


V1 = signed(
    "GET",
    f"/v2/{P}/fgs/functions",
    "content-type;host;x-project-id;x-sdk-date",
    "c999e0cedd22f1d107c2855ac5a21401c9123e7078c68c33beba59c531885e09",
    query="maxitems=10&func_name=a%20b&marker=0",
    content_type="application/json",
)
V2 = signed(
    "POST",
    f"/v2/{P}/fgs/functions/urn:fss:cn-north-4:{P}:function:default:hello:latest/invocations",
    "content-type;host;x-cff-log-type;x-project-id;x-sdk-date",
    "8269f3127bd97f43a97953a85c47898fac937a36e81669a08745f31e840b8a34",
    body=b'{"k": "v"}',
    content_type="application/json",
    x_cff_log_type="tail",
)
V3 = signed(
    "POST",
    f"/v2/{P}/upload",
    "content-type;host;x-project-id;x-sdk-content-sha256;x-sdk-date",
    "af62d59651907ac698bf54f3fe31f6200efd1d44ef6321a7031e1789c8611b71",
    body=b"--abc--",
    content_type="multipart/form-data; boundary=abc",
    x_sdk_content_sha256="UNSIGNED-PAYLOAD",
)
V4 = signed(
    "DELETE",
    f"/v2/{P}/fgs/functions/default:hello",
    "host;x-project-id;x-sdk-date;x-security-token",
    "76799f6432f3e81ca0600647683ddef71b1409cfeec87f4f333cc852a691cf54",
    x_security_token="tok",
)
HASHES = {
    "V1": (V1, "7f12a8fbe42e220306710373bbdf7ccb6278138831acbeb2fc5804a2d4ca4847"),
    "V2": (V2, "7327a0723071383ab89521308111dde596931365f6c77953be31e91797985d40"),
    "V3": (V3, "9a77dea518a94ff863997fd5f5ab225f146c9737cb5a16b21c4e05c7d7ed1a92"),
    "V4": (V4, "a17cc1005b8350905f6bcdc04c12df1ed9d22421d486dc3114e487b855d452ff"),
}


@pytest.mark.parametrize("name", HASHES)
def test_the_canonical_request_of_a_worked_vector_has_its_hash(name):
    request, expected = HASHES[name]
    signed_headers = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0]
    payload = "UNSIGNED-PAYLOAD" if name == "V3" else hashlib.sha256(request.body).hexdigest()

    text = signing.canonical_request(request, signed_headers, payload)

    assert hashlib.sha256(text).hexdigest() == expected


@pytest.mark.parametrize("name", HASHES)
def test_a_worked_vector_is_accepted(name):
    assert authenticate(HASHES[name][0]).project == PROJECT


def test_the_path_may_arrive_encoded_or_not():
    encoded = replace(V2, raw_path=quote(V2.raw_path))

    assert authenticate(encoded).project == PROJECT


def test_the_query_may_arrive_in_any_order():
    assert authenticate(replace(V1, raw_query="marker=0&maxitems=10&func_name=a+b")).project == PROJECT


def test_headers_added_after_signing_do_not_matter():
    added = {**V1.headers, "x-domain-id": "d", "x-security-token": "whatever"}

    assert authenticate(replace(V1, headers=added)).project == PROJECT


def sign(method, path, query, headers, body, *, key=(AK, SK)):
    """Sign with the official signer and return what a server would receive."""
    names = {"Content-Type": "application/json", "X-Sdk-Date": "20240102T030405Z"} | headers
    request = SdkRequest(
        method=method,
        schema="http",
        host="functiongraph.local:8000",
        resource_path=path,
        query_params=list(query),
        header_params=names,
        body=body,
    )
    Signer(BasicCredentials(*key, P)).sign(request)
    raw_path, _, raw_query = request.uri.partition("?")
    received = {name.lower(): value for name, value in request.header_params.items()}
    return Request(method=method, raw_path=raw_path, raw_query=raw_query, headers=received, body=request.body or b"")


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
HEADER_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    segments=st.lists(TEXT, max_size=4),
    query=st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4),
    extra=HEADER_TEXT,
    body=st.binary(max_size=64),
)
def test_what_the_official_signer_signs_is_accepted(method, segments, query, extra, body):
    path = "/v2/" + "/".join(quote(segment, safe="") for segment in segments)

    request = sign(method, path, query, {"X-Cff-Extra": extra}, body)

    assert authenticate(request).user == USER


def base():
    return sign(
        "POST", f"/v2/{P}/fgs/functions/a%3Ab/invocations", [("a", "1"), ("b", "2")], {"X-Cff-Log-Type": "tail"}, b"{}"
    )


def with_header(request, **changed):
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    return replace(request, headers={**request.headers, **names})


TAMPERED = {
    "method": lambda r: replace(r, method="PUT"),
    "path": lambda r: replace(r, raw_path=r.raw_path.replace("a%3Ab", "a%3Ac")),
    "query value": lambda r: replace(r, raw_query="a=1&b=3"),
    "query added": lambda r: replace(r, raw_query="a=1&b=2&c="),
    "query removed": lambda r: replace(r, raw_query="a=1"),
    "body": lambda r: replace(r, body=b"[]"),
    "body removed": lambda r: replace(r, body=b""),
    "signed header": lambda r: with_header(r, x_cff_log_type="none"),
    "signed header removed": lambda r: replace(
        r, headers={n: v for n, v in r.headers.items() if n != "x-cff-log-type"}
    ),
    "host": lambda r: with_header(r, host="elsewhere"),
    "date": lambda r: with_header(r, x_sdk_date="20240102T030406Z"),
    "declared hash with another body": lambda r: with_header(
        replace(r, body=b"[]"), x_sdk_content_sha256=hashlib.sha256(b"{}").hexdigest()
    ),
    "unsigned payload": lambda r: with_header(r, x_sdk_content_sha256="UNSIGNED-PAYLOAD"),
    "list of signed headers": lambda r: with_header(
        r, authorization=r.headers["authorization"].replace(";x-sdk-date", ";x-cff-log-type;x-sdk-date", 1)
    ),
    "signature": lambda r: with_header(r, authorization=r.headers["authorization"][:-1] + "0"),
}


@pytest.mark.parametrize("part", TAMPERED)
def test_a_request_with_any_part_changed_is_refused(part):
    changed = TAMPERED[part](base())
    if part == "signature" and changed == base():
        changed = with_header(changed, authorization=changed.headers["authorization"][:-1] + "1")

    assert "the access key is unknown or the signature does not match" in refusal(changed)


def test_an_unknown_key_and_a_wrong_secret_get_the_same_answer():
    unknown = sign("GET", "/v2", [], {}, b"", key=("NOSUCHKEY", SK))
    wrong = sign("GET", "/v2", [], {}, b"", key=(AK, "wrong"))

    assert refusal(unknown) == refusal(wrong)


@pytest.mark.parametrize("skew_s", [-901, 901])
def test_a_stale_date_is_refused_and_named(skew_s):
    assert "15 minutes" in refusal(base(), at=AT + skew_s)


@pytest.mark.parametrize("skew_s", [-899, 899])
def test_a_clock_that_is_a_little_off_is_accepted(skew_s):
    assert authenticate(base(), at=AT + skew_s).user == USER


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic dTpw",
        "SDK-HMAC-SM3 Access=a, SignedHeaders=x-sdk-date, Signature=" + "0" * 64,
        "V11-HMAC-SHA256 Credential=a/b, SignedHeaders=x-sdk-date, Signature=" + "0" * 64,
        "SDK-HMAC-SHA256",
        "SDK-HMAC-SHA256 Access=, SignedHeaders=x-sdk-date, Signature=" + "0" * 64,
        f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=, Signature=" + "0" * 64,
        f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date, Signature=" + "0" * 63,
        f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=host, Signature=" + "0" * 64,
        f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=x-sdk-date\nhost, Signature=" + "0" * 64,
    ],
)
def test_other_and_broken_authorizations_are_refused(authorization):
    refusal(with_header(base(), authorization=authorization))


@pytest.mark.parametrize("date", ["", "20240102", "20241302T030405Z", "20240102T030405+0100", "\uff120240102T030405Z"])
def test_a_broken_date_is_refused(date):
    assert "X-Sdk-Date" in refusal(with_header(base(), x_sdk_date=date))


def test_a_request_without_credentials_is_refused():
    assert "X-Auth-Token" in refusal(Request(method="GET", raw_path="/v2"))


def temporary(**changes):
    return StubStore(key=replace(KEY, security_token="tok", **changes))


def test_a_temporary_key_needs_its_security_token():
    assert authenticate(V4, store=temporary()).user == USER
    assert "X-Security-Token" in refusal(V1, store=temporary())
    assert "X-Security-Token" in refusal(with_header(V1, x_security_token="other"), store=temporary())


def test_an_expired_temporary_key_is_refused():
    assert "expired" in refusal(V4, store=temporary(expires_at=AT))


def test_the_signature_is_checked_before_anything_is_said_of_a_temporary_key():
    wrong = with_header(V4, x_security_token="other")

    assert "signature" in refusal(wrong, store=temporary())


def test_a_large_body_is_hashed_too():
    request = sign("POST", "/v2", [], {}, b"x" * (auth.LARGE_BODY_BYTES + 1))

    assert authenticate(request).user == USER
    refusal(replace(request, body=request.body[:-1] + b"y"))


def token(text="secret", *, expires_at=AT + 60):
    return Token(digest=auth.token_digest(text), user_id="u", project_id=P, issued_at=AT, expires_at=expires_at)


def test_a_token_stands_for_its_user_and_project():
    request = Request(method="GET", raw_path="/v2", headers={"x-auth-token": "secret"})

    assert authenticate(request, store=StubStore(token=token())).project == PROJECT


def test_unknown_and_expired_tokens_are_refused():
    request = Request(method="GET", raw_path="/v2", headers={"x-auth-token": "secret"})

    assert refusal(request) == refusal(request, store=StubStore(token=token(expires_at=AT)))


def test_a_token_that_is_remembered_expires_nevertheless():
    clock, store = FakeClock(AT), StubStore(token=token(expires_at=AT + 1))
    authenticator = Authenticator(store, clock)
    request = Request(method="GET", raw_path="/v2", headers={"x-auth-token": "secret"})
    asyncio.run(authenticator.authenticate(request))

    clock.advance(1)

    with pytest.raises(ModelError, match="expired"):
        asyncio.run(authenticator.authenticate(request))


def test_keys_are_read_once_in_a_while_whether_they_exist_or_not():
    clock, store = FakeClock(AT), StubStore()
    authenticator = Authenticator(store, clock)
    unknown = sign("GET", "/v2", [], {}, b"", key=("NOSUCHKEY", SK))
    for _ in range(3):
        asyncio.run(authenticator.authenticate(V1))
        with pytest.raises(ModelError):
            asyncio.run(authenticator.authenticate(unknown))
    reads = store.reads

    clock.advance(remembered.REMEMBERED_S)
    asyncio.run(authenticator.authenticate(V1))

    assert (reads, store.reads) == (2, 3)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(remembered, "MAX_REMEMBERED", 3)
    authenticator = Authenticator(StubStore(), FakeClock(AT))
    asyncio.run(authenticator.authenticate(V1))
    for number in range(10):
        with pytest.raises(ModelError):
            asyncio.run(authenticator.authenticate(sign("GET", "/v2", [], {}, b"", key=(f"K{number}", SK))))

    assert len(authenticator._keys._unknown) == 3
    assert AK in authenticator._keys._known
