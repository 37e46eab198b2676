"""Real systems outside for destinations: an S3 store, a NATS server, and HTTP receivers that do as they are told."""

import asyncio
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import nats

from funclet.outside.s3 import S3Credentials, sign
from tests.support.waiting import eventually

BINARIES = Path(__file__).parents[2] / ".venv" / "bin"
S3_ACCESS, S3_SECRET, S3_REGION = "TESTS3ACCESS", "test-s3-secret", "test-1"
NATS_USER, NATS_PASSWORD = "funclet", "test-nats-password"


def free_port():
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(port):
    """Tell whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Program:
    """A server program; `stop` and `start` may follow each other."""

    def __init__(self, port, command, log):
        self.port, self._command, self._log = port, command, log
        self.process = None

    def start(self):
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(lambda: answers(self.port), within_s=20, because=f"{self._command[0]}: {self._log.read_text()}")
        return self

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None


_UPLOADS = ".sgwtmp"


class S3Server(Program):
    """versitygw over a folder: checks every signature."""

    def __init__(self, folder):
        self.objects, meta = folder / "objects", folder / "meta"
        for path in (self.objects, meta):
            path.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [BINARIES / "versitygw", "--access", S3_ACCESS, "--secret", S3_SECRET, "--region", S3_REGION]
        command += ["--port", f"127.0.0.1:{port}", "--quiet", "posix", "--sidecar", meta, self.objects]
        super().__init__(port, [str(part) for part in command], folder / "s3.log")

    def keys(self, bucket):
        """Return the keys of a bucket, in order."""
        top = self.objects / bucket
        files = (path.relative_to(top) for path in top.rglob("*") if path.is_file())
        # Uploads that are not complete are files of the store's own, and no objects yet.
        return sorted(str(path) for path in files if path.parts[0] != _UPLOADS)

    def get(self, bucket, key):
        """Return headers and body of an object, asked for with a signed request."""
        path = quote(f"/{bucket}/{key}")
        headers = sign(
            "GET",
            path,
            headers={"host": f"127.0.0.1:{self.port}"},
            body=b"",
            at=datetime.now(UTC),
            credentials=S3Credentials(access=S3_ACCESS, secret=S3_SECRET, region=S3_REGION),
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
            return {name.lower(): value for name, value in response.getheaders()}, body
        finally:
            connection.close()

    def connection(self, **changes):
        """Return the body that connects this store."""
        members = {"kind": "s3", "address": self.url, "user": S3_ACCESS, "secret": S3_SECRET, "region": S3_REGION}
        return members | changes


class NatsServer(Program):
    """nats-server with JetStream."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        command = [shutil.which("nats-server", path="/usr/bin:/usr/sbin:/usr/local/bin") or "nats-server"]
        command += ["--addr", "127.0.0.1", "--port", str(port), "--user", NATS_USER, "--pass", NATS_PASSWORD]
        command += ["--jetstream", "--store_dir", str(folder / "store")]
        super().__init__(port, command, folder / "nats.log")

    def run(self, work):
        """Run `work(jetstream)` on a client of its own."""

        async def run():
            client = await nats.connect(self.url, user=NATS_USER, password=NATS_PASSWORD, allow_reconnect=False)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def add_stream(self, name, **config):
        """Make a stream that takes the subject of its name."""
        self.run(lambda js: js.add_stream(name=name, subjects=[name], **config))

    def messages(self, name):
        """Return headers and data of all messages of a stream."""

        async def read(js):
            state = (await js.stream_info(name)).state
            numbers = range(state.first_seq, state.last_seq + 1) if state.messages else ()
            found = [await js.get_msg(name, number) for number in numbers]
            return [(message.headers, message.data) for message in found]

        return self.run(read)

    def connection(self, **changes):
        """Return the body that connects this server."""
        return {"kind": "nats", "address": self.url, "user": NATS_USER, "secret": NATS_PASSWORD} | changes


class Receiver:
    """An HTTP server that keeps what it is sent; `statuses` are its next answers, then 200. Close it."""

    def __init__(self, *, certificate=None):
        self.requests, self.statuses = [], []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers.items()), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        # A daemon: a test that does not come to its end must not keep the whole run from ending.
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}/inbox"

    def bodies(self, kind="Notification"):
        """Return the parsed bodies of a type of message."""
        found = [json.loads(body) for _, _, body in self.requests]
        return [body for body in found if body["type"] == kind]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_certificate(folder, host):
    """Write a certificate for `host` that has signed itself, and its key; return both paths."""
    certificate, key = folder / f"{host}.pem", folder / f"{host}.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    command += ["-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
