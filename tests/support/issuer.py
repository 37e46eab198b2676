"""A real OIDC issuer, and logging in there as a client would."""

import http.client
import json
from base64 import b64encode
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from tests.support.outside import BINARIES, Program, free_port

CLIENT_ID, REDIRECT = "funclet-test", "http://127.0.0.1:1/back"


class IssuerServer(Program):
    """`oidc-provider-mock`: an issuer that lets anybody be anybody, and signs with a key of its own."""

    def __init__(self, folder):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(port, [str(BINARIES / "oidc-provider-mock"), "--port", str(port)], folder / "issuer.log")

    def _send(self, method, target, body=b"", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, target, body, {name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def know(self, subject, **claims):
        """Let the issuer know a user with these claims."""
        status, _, body = self._send(
            "PUT", f"/users/{quote(subject)}", json.dumps(claims).encode(), Content_Type="application/json"
        )
        assert status == 204, body

    def id_token(self, subject, client_id=CLIENT_ID):
        """Log in by the code flow; return the ID token."""
        query = {"client_id": client_id, "redirect_uri": REDIRECT, "response_type": "code",
                 "scope": "openid profile"}  # fmt: skip
        form = urlencode({"sub": subject}).encode()
        kind = "application/x-www-form-urlencoded"
        _, headers, body = self._send("POST", f"/oauth2/authorize?{urlencode(query)}", form, Content_Type=kind)
        named = {name.lower(): value for name, value in headers.items()}
        assert "location" in named, body
        code = parse_qs(urlsplit(named["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        proof = b64encode(f"{client_id}:any".encode()).decode()
        status, _, body = self._send(
            "POST", "/oauth2/token", urlencode(form).encode(), Content_Type=kind, Authorization=f"Basic {proof}"
        )
        assert status == 200, body
        return json.loads(body)["id_token"]
