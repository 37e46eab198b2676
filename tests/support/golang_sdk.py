"""Requests as the Terraform provider's library (golangsdk) sends them, which cannot be installed here.

What differs from the vendor's SDKs: the host is not signed, project and domain are
put into the headers after signing, paths go out as they are written, and only
few statuses are good.
"""

import hashlib
import hmac
import http.client
import json
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.support.server import AK, PROJECT_ID, SK

ALGORITHM = "SDK-HMAC-SHA256"
GOOD = {"GET": {200}, "POST": {200, 201, 202}, "PUT": {200, 201, 202}, "DELETE": {200, 202, 204}}
AGENT = "terraform-provider-iac terraform/1.9 terraform-provider-huaweicloud/1.80.0"
_BARE = "-_.~"


class Unexpected(Exception):
    """An answer that the library takes for an error."""

    def __init__(self, method, path, status, body):
        super().__init__(f"{method} {path}: {status} {body}")
        self.status, self.body = status, body

    @property
    def code(self):
        """The error's code."""
        return json.loads(self.body).get("error_code", "")


@dataclass(frozen=True)
class Sent:
    """One request and its answer."""

    method: str
    path: str
    status: int
    authorization: str


def go_json(value):
    """Return the bytes that Go's encoder makes: no blanks, and angle brackets and ampersands escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def authorization(method, target, headers, body, *, sk):
    """Return the Authorization header: all of `headers` are signed, and nothing else."""
    url = urlsplit(target)
    path = "/".join(quote(unquote(part), safe=_BARE) for part in url.path.split("/")).rstrip("/") + "/"
    pairs = sorted(parse_qsl(url.query, keep_blank_values=True))
    query = "&".join(f"{quote(name, safe=_BARE)}={quote(value, safe=_BARE)}" for name, value in pairs)
    names = sorted(headers, key=str.lower)
    lines = "".join(f"{name.lower()}:{headers[name]}\n" for name in names)
    signed = ";".join(names).lower()
    whole = "\n".join([method, path, query, lines, signed, hashlib.sha256(body).hexdigest()])
    text = f"{ALGORITHM}\n{headers['X-Sdk-Date']}\n{hashlib.sha256(whole.encode()).hexdigest()}"
    found = hmac.new(sk.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Access={AK}, SignedHeaders={signed}, Signature={found}"


class Provider:
    """The provider's client. `close` it."""

    def __init__(self, server, *, token="", sk=SK):
        """Prepare; with a `token` nothing is signed."""
        self._connection = http.client.HTTPConnection(urlsplit(server.api_url).netloc, timeout=60)
        self._token, self._sk = token, sk
        self.sent = []

    def send(self, method, path, body=None, *, after_signing=(), good=None):
        """Send a request; return its JSON answer, or None.

        Args:
            method: of the request.
            path: behind `/v2/<project>`, or from `/v3` on; with its query.
            body: what is sent as JSON.
            after_signing: more headers, which are not signed.
            good: the statuses that are no error, where the provider names them.

        Raises:
            Unexpected: the library returns an error.
        """
        target = path if path.startswith("/v3") else f"/v2/{PROJECT_ID}{path}"
        data = b"" if body is None else go_json(body)
        headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": AGENT}
        if self._token:
            headers["X-Auth-Token"] = self._token
        else:
            headers["X-Sdk-Date"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            headers["Authorization"] = authorization(method, target, headers, data, sk=self._sk)
        headers |= {"X-Project-Id": PROJECT_ID, **dict(after_signing)}
        self._connection.request(method, target, body=data, headers=headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        self.sent.append(Sent(method, path, response.status, headers.get("Authorization", "")))
        if response.status not in (good or GOOD[method]):
            raise Unexpected(method, path, response.status, text)
        return json.loads(text) if text else None

    def is_gone(self, path):
        """Tell whether a resource cannot be read any more, as the provider decides it after deleting."""
        try:
            self.send("GET", path)
        except Unexpected as error:
            if error.status == 404:
                return True
            raise
        return False

    def close(self):
        """Close the connection."""
        self._connection.close()
