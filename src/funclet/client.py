"""A synchronous client of the function API, over the standard library.

`Client.call` sends one signed request; the other methods name the operations
that the command line uses. A client is used by one thread at a time.
"""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from funclet import __version__

ALGORITHM = "SDK-HMAC-SHA256"
MAX_ANSWER_BYTES = 256 * 1024 * 1024
DEFAULT_TIMEOUT_S = 90.0
DEFAULT_RETRIES = 3
_PAGE_SIZE, _MAX_PAGES = 400, 10_000
# A kept connection that was idle longer may be half closed; a POST on it could not be repeated safely.
_MAX_IDLE_S = 4.0
_MAX_RETRY_PAUSE_S = 10.0
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})

Json = Any
Document = dict[str, Any]


class ClientError(Exception):
    """Anything that keeps a call from giving an answer."""


class NetworkError(ClientError):
    """The server was not reached or did not answer in time; says which address and what to do."""

    def __init__(self, address: str, reason: str, hint: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.hint = hint


class ApiError(ClientError):
    """The server refused the request."""

    def __init__(self, *, status: int, code: str, message: str, request_id: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """As in the error table, such as `FSS.1051`; may be empty."""
        self.message = message
        self.request_id = request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls: a token, or an access key with its secret. Secrets stay out of `repr`."""

    project_id: str
    ak: str = ""
    sk: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How the server is reached."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    retries: int = DEFAULT_RETRIES
    """Repetitions of a request that certainly, or harmlessly, was not carried out."""
    ca: str = ""
    """File of trusted certificates; empty: those of the system."""
    insecure: bool = False
    """Whether the certificate of the server is not checked."""
    proxy: str = field(default="", repr=False)
    """`http://user:password@host:port`; empty: direct."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the parsed body; None when it is empty.

        Raises:
            ApiError: the body is not JSON, so the address is probably not a function server.
        """
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            message = "The answer is not JSON. Is the endpoint a function server?"
            raise ApiError(status=self.status, code="", message=message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What one request and its answer looked like, for whoever watches."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    duration_s: float


def segment(text: str) -> str:
    """Return `text` as one segment of a path."""
    return quote(text, safe="")


def sign(*, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, ak: str, sk: str) -> str:
    """Return the Authorization header of a request.

    Args:
        method: upper case.
        path: as sent; percent-encoded in any way.
        query: as sent, without the question mark.
        headers: those to sign, by name in lower case; must hold `x-sdk-date`.
        body: the bytes sent.
        ak: the access key.
        sk: its secret.
    """
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        (
            method,
            _canonical_path(path),
            _canonical_query(query),
            "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers)),
            names,
            (body and headers.get("x-sdk-content-sha256")) or hashlib.sha256(body).hexdigest(),
        )
    )
    text = f"{ALGORITHM}\n{headers['x-sdk-date']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(sk.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Access={ak}, SignedHeaders={names}, Signature={signature}"


def _canonical_path(path: str) -> str:
    encoded = "/".join(quote(unquote(part), safe="") for part in path.split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        pairs.append((unquote(name.replace("+", " ")), unquote(value.replace("+", " "))))
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(pairs))


class Client:
    """Talks to one server in the name of one caller; keeps its connection until `close`."""

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        link: Link | None = None,
        *,
        observe: Callable[[Exchange], None] | None = None,
    ) -> None:
        url = urlsplit(endpoint if "//" in endpoint else f"http://{endpoint}")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise NetworkError(endpoint, "is no address", "Write it like http://127.0.0.1:8000.")
        self.credentials = credentials
        self.endpoint = f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"
        self._url = url
        self._link = link or Link()
        self._observe = observe
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        raises: bool = True,
    ) -> Answer:
        """Send one request and return its answer.

        Args:
            method: upper case.
            path: percent-encoded, starting with `/`.
            query: empty values are left out.
            body: the bytes to send.
            headers: in addition to those of every request.
            raises: whether an answer of 300 and above is raised as `ApiError`.

        Raises:
            NetworkError: no answer.
            ApiError: the server refused, if `raises`.
        """
        text = urlencode({k: v for k, v in (query or {}).items() if v not in ("", None)}, quote_via=quote)
        target = self._url.path.rstrip("/") + path
        for attempt in range(self._link.retries + 1):
            pause_s = min(0.2 * 2**attempt, _MAX_RETRY_PAUSE_S)
            is_last = attempt == self._link.retries
            try:
                answer = self._exchange(method, target, text, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if is_last or not _is_worth_repeating(error, method):
                    raise self._network_error(error) from error
            else:
                wanted_s = _retry_after_s(answer)
                if is_last or wanted_s is None or wanted_s > _MAX_RETRY_PAUSE_S:
                    break
                pause_s = wanted_s
            time.sleep(pause_s)
        if raises and answer.status >= http.client.MULTIPLE_CHOICES:
            raise error_of(answer)
        return answer

    def send(self, method: str, path: str, document: Json = None, **query: str | int) -> Json:
        """Call with a JSON body (None: no body) and return the parsed answer; `path` is below the project."""
        body = json.dumps(document, ensure_ascii=False).encode() if document is not None else b""
        return self.call(method, self.path(path), query=query, body=body).json()

    def list_functions(self, *, package: str = "", name: str = "") -> list[Document]:
        """Return all functions whose name contains `name`, of all packages or of one."""
        return list(self.pages("/fgs/functions", "functions", package_name=package, func_name=name))

    def function_config(self, urn: str) -> Document:
        """Return the configuration of a version."""
        return _document(self.send("GET", f"/fgs/functions/{segment(urn)}/config"))

    def create_function(self, document: Document) -> Document:
        """Create a function."""
        return _document(self.send("POST", "/fgs/functions", document))

    def update_config(self, urn: str, document: Document) -> Document:
        """Change settings; members that are absent stay as they are."""
        return _document(self.send("PUT", f"/fgs/functions/{segment(urn)}/config", document))

    def update_code(self, urn: str, archive: bytes) -> Document:
        """Replace the code by a zip archive."""
        file = base64.b64encode(archive).decode()
        document = {"code_type": "zip", "code_filename": "index.zip", "func_code": {"file": file}}
        return _document(self.send("PUT", f"/fgs/functions/{segment(urn)}/code", document))

    def function_code(self, urn: str) -> Document:
        """Return what is known of the code, with the file or a link to it."""
        return _document(self.send("GET", f"/fgs/functions/{segment(urn)}/code"))

    def export_function(self, urn: str) -> bytes:
        """Return the code and the settings of a version as one zip archive."""
        path, both = f"/fgs/functions/{segment(urn)}/export", {"code": "true", "config": "true"}
        return self.call("GET", self.path(path), query=both).body

    def delete_function(self, urn: str) -> None:
        """Delete a function, or the version that the urn names."""
        self.send("DELETE", f"/fgs/functions/{segment(urn)}")

    def list_versions(self, urn: str) -> list[Document]:
        """Return all versions, `latest` among them."""
        return list(self.pages(f"/fgs/functions/{segment(urn)}/versions", "versions"))

    def publish_version(self, urn: str, *, name: str, description: str = "", digest: str = "") -> Document:
        """Freeze `latest` under a name; `digest`, if given, must be that of its code."""
        document = {"version": name, "description": description} | ({"digest": digest} if digest else {})
        return _document(self.send("POST", f"/fgs/functions/{segment(urn)}/versions", document))

    def list_aliases(self, urn: str) -> list[Document]:
        """Return all aliases of a function."""
        return _documents(self.send("GET", f"/fgs/functions/{segment(urn)}/aliases"))

    def save_alias(self, urn: str, document: Document, *, create: bool) -> Document:
        """Create an alias, or replace what it points to."""
        path = f"/fgs/functions/{segment(urn)}/aliases"
        if create:
            return _document(self.send("POST", path, document))
        return _document(self.send("PUT", f"{path}/{segment(document['name'])}", document))

    def delete_alias(self, urn: str, name: str) -> None:
        """Delete one alias."""
        self.send("DELETE", f"/fgs/functions/{segment(urn)}/aliases/{segment(name)}")

    def list_triggers(self, urn: str) -> list[Document]:
        """Return the triggers of a function version or alias."""
        return _documents(self.send("GET", f"/fgs/triggers/{segment(urn)}"))

    def create_trigger(self, urn: str, document: Document) -> Document:
        """Create a trigger."""
        return _document(self.send("POST", f"/fgs/triggers/{segment(urn)}", document))

    def trigger(self, method: str, urn: str, trigger: Document, document: Document | None = None) -> Json:
        """Read (GET), change (PUT) or delete (DELETE) one trigger, known by its type code and id."""
        tail = f"{segment(trigger['trigger_type_code'])}/{segment(trigger['trigger_id'])}"
        return self.send(method, f"/fgs/triggers/{segment(urn)}/{tail}", document)

    def delete_triggers(self, urn: str) -> None:
        """Delete all triggers of a function version, or of all its versions when the urn names none."""
        self.send("DELETE", f"/fgs/triggers/{segment(urn)}")

    def invoke(self, urn: str, event: bytes, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Run a function with `event` (JSON text, may be empty); failures of the function do not raise."""
        path = self.path(f"/fgs/functions/{segment(urn)}/invocations")
        return self.call("POST", path, body=event, headers=headers, raises=False)

    def invoke_async(self, urn: str, event: bytes) -> str:
        """Queue an invocation and return its request id."""
        path = self.path(f"/fgs/functions/{segment(urn)}/invocations-async")
        return str(_document(self.call("POST", path, body=event).json())["request_id"])

    def async_record(self, urn: str, request_id: str) -> Document | None:
        """Return what became of a queued invocation; None if nothing is recorded yet."""
        path = f"/fgs/functions/{segment(urn)}/async-invocations"
        found = _document(self.send("GET", path, request_id=request_id))
        return next((_document(row) for row in found.get("invocations") or []), None)

    def logs(self, urn: str, **filters: str | int) -> list[Document]:
        """Return log records, oldest first; filters: since, until (epoch seconds), request_id, tag, after, limit."""
        answer = _document(self.send("GET", f"/funclet/functions/{segment(urn)}/logs", None, **filters))
        return _documents(answer.get("records"))

    def find_project(self, region: str) -> Document:
        """Return the caller's project in a region (an empty region: the only project).

        Raises:
            ApiError: there is none, or more than one.
        """
        found = _documents((self.call("GET", "/v3/projects", query={"name": region}).json() or {}).get("projects"))
        if len(found) != 1:
            message = f"There are {len(found)} projects in region '{region}'; name one with --project-id."
            raise ApiError(status=404, code="", message=message)
        return found[0]

    def path(self, path: str) -> str:
        """Return the whole path of one below the project."""
        return f"/v2/{segment(self.credentials.project_id)}{path}"

    def pages(self, path: str, member: str, **query: str | int) -> Iterator[Document]:
        """Return all rows of a list, page by page; `member` is where they stand in an answer."""
        marker = 0
        for _ in range(_MAX_PAGES):
            page = _document(self.send("GET", path, None, marker=marker, maxitems=_PAGE_SIZE, **query))
            rows = _documents(page.get(member))
            yield from rows
            following = int(page.get("next_marker") or 0)
            if len(rows) < _PAGE_SIZE or following <= marker:
                return
            marker = following

    def _exchange(self, method: str, target: str, query: str, body: bytes, extra: Mapping[str, str]) -> Answer:
        headers = self._headers(method, target, query, body, extra)
        url = f"{target}?{query}" if query else target
        if self._link.proxy and self._url.scheme == "http":
            url = f"http://{self._url.netloc}{url}"
            headers |= _proxy_headers(self._link.proxy)
        started_at = time.monotonic()
        if self._connection is not None and started_at - self._used_at > _MAX_IDLE_S:
            self.close()
        connection = self._connection = self._connection or self._open()
        connection.request(method, url, body, headers)
        response = connection.getresponse()
        data = response.read(MAX_ANSWER_BYTES + 1)
        if len(data) > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        self._used_at = time.monotonic()
        if self._observe:
            seen = {name: value for name, value in headers.items() if name != "Proxy-Authorization"}
            took_s = self._used_at - started_at
            self._observe(
                Exchange(method=method, url=url, headers=seen, body=body, status=response.status, duration_s=took_s)
            )
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=received, body=data)

    def _headers(self, method: str, target: str, query: str, body: bytes, extra: Mapping[str, str]) -> dict[str, str]:
        who = self.credentials
        headers = {"Host": self._host(), "Content-Type": "application/json", "X-Project-Id": who.project_id, **extra}
        if who.token:
            headers["X-Auth-Token"] = who.token
        elif who.ak:
            headers["X-Sdk-Date"] = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            if who.security_token:
                headers["X-Security-Token"] = who.security_token
            signed = {name.lower(): value for name, value in headers.items()}
            headers["Authorization"] = sign(
                method=method, path=target, query=query, headers=signed, body=body, ak=who.ak, sk=who.sk
            )
        return headers | {"User-Agent": f"funclet/{__version__}", "Accept": "application/json"}

    def _host(self) -> str:
        host = self._url.hostname or ""
        host = f"[{host}]" if ":" in host else host
        usual = {"http": 80, "https": 443}[self._url.scheme]
        return host if self._url.port in (None, usual) else f"{host}:{self._url.port}"

    def _open(self) -> http.client.HTTPConnection:
        link, url = self._link, self._url
        host, port = url.hostname or "", url.port
        via = urlsplit(link.proxy) if link.proxy else None
        first, first_port = (via.hostname or "", via.port or 80) if via else (host, port)
        if url.scheme == "http":
            return http.client.HTTPConnection(first, first_port, timeout=link.timeout_s)
        context = ssl.create_default_context(cafile=link.ca or None)
        if link.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(first, first_port, timeout=link.timeout_s, context=context)
        if via:
            connection.set_tunnel(host, port, headers=_proxy_headers(link.proxy))
        return connection

    def _network_error(self, error: Exception) -> NetworkError:
        address = f"cannot reach {self.endpoint}"
        match error:
            case TimeoutError():
                hint = "Give it longer with --timeout, or run the function with --async."
                return NetworkError(address, f"no answer within {self._link.timeout_s:g} s", hint)
            case ConnectionRefusedError():
                hint = "Start the server with 'fgs serve', or name another with --endpoint."
                return NetworkError(address, "nothing listens there", hint)
            case ssl.SSLCertVerificationError():
                hint = "Name its certificate with --ca FILE (or do not check it: --insecure)."
                return NetworkError(address, f"its certificate is not trusted ({error.verify_message})", hint)
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
                return NetworkError(address, "it does not speak TLS", "Write its address with http://.")
            case socket.gaierror():
                return NetworkError(address, "the name cannot be resolved", "Check --endpoint and the name server.")
            case _:
                hint = "Check the address, the proxy and whether the server still runs."
                return NetworkError(address, f"{error}" or type(error).__name__, hint)


def error_of(answer: Answer) -> ApiError:
    """Read the error out of an answer, in any of the shapes that servers of this API use."""
    request_id = answer.headers.get("x-request-id", "")
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    if not isinstance(found, dict):
        text = answer.body[:300].decode("utf-8", "replace").strip()
        message = text or f"The server answered {answer.status} {http.client.responses.get(answer.status, '')}".strip()
        return ApiError(status=answer.status, code="", message=message, request_id=request_id)
    code = found.get("error_code") or found.get("errorCode") or found.get("code") or ""
    message = found.get("error_msg") or found.get("errorMsg") or found.get("message") or f"status {answer.status}"
    request_id = str(found.get("request_id") or request_id)
    return ApiError(status=answer.status, code=str(code), message=str(message), request_id=request_id)


def _is_worth_repeating(error: Exception, method: str) -> bool:
    """A refused connection carried nothing; other losses may have, so only what can be repeated is."""
    hopeless = isinstance(error, (TimeoutError, ssl.SSLError, socket.gaierror))
    return isinstance(error, ConnectionRefusedError) or (method in _REPEATABLE and not hopeless)


def _retry_after_s(answer: Answer) -> float | None:
    """When a refused request may be sent again; None when it was not refused or the server does not say."""
    text = answer.headers.get("retry-after", "")
    is_refused = answer.status in (http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE)
    return float(text) if is_refused and text.isdigit() else None


def _proxy_headers(proxy: str) -> dict[str, str]:
    url = urlsplit(proxy)
    if not url.username:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def _document(value: Json) -> Document:
    return value if isinstance(value, dict) else {}


def _documents(value: Json) -> list[Document]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
