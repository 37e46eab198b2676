"""A service that keeps a master key, with the requests and answers of Vault's engine `transit`; and its script."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.markdown import fenced_blocks

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "secrets.md"
TOKEN = "hvs.of-the-tests"


class KeyService:
    """Encrypts and decrypts with the key `funclet` for whoever has the token. `close` it."""

    def __init__(self):
        self.keys = [AESGCM(AESGCM.generate_key(256))]
        """The versions of the master key."""
        self.calls = []
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _handler(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = service.answer(self.path, self.headers.get("X-Vault-Token"), body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                """Say nothing."""

        return Handler

    def answer(self, path, token, body):
        """Return status and body of an answer."""
        verb = path.removeprefix("/v1/transit/").removesuffix("/funclet")
        self.calls.append(verb)
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if verb == "encrypt":
            nonce = base64.b64decode("AAAAAAAAAAAAAAAA")
            sealed = self.keys[-1].encrypt(nonce, base64.b64decode(body["plaintext"], validate=True), None)
            return 200, {
                "request_id": "r",
                "data": {
                    "ciphertext": f"vault:v{len(self.keys)}:{base64.b64encode(sealed).decode()}",
                    "key_version": 1,
                },
            }
        try:
            _, version, sealed = body["ciphertext"].split(":")
            key = self.keys[int(version[1:]) - 1]
            plain = key.decrypt(base64.b64decode("AAAAAAAAAAAAAAAA"), base64.b64decode(sealed), None)
        except (InvalidTag, ValueError, IndexError):
            return 400, {"errors": ["cipher: message authentication failed"]}
        return 200, {"request_id": "r", "data": {"plaintext": base64.b64encode(plain).decode()}}

    def close(self):
        """Stop."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join(timeout=10)


def script_of_page(word, target, **replacements):
    """Write the script of the how-to page that has a word in it, with other names in it, as a program; return it."""
    scripts = ["\n".join(block.lines) + "\n" for block in fenced_blocks(PAGE)]
    (script,) = [text for text in scripts if text.startswith("#!/bin/sh") and word in text]
    for old, new in replacements.values():
        assert old in script
        script = script.replace(old, new)
    target.write_text(script)
    target.chmod(0o755)
    return target
