"""Clients that use the server all the time, each in its thread. Start with `Load.start`."""

import http.client
import itertools
import json
import threading
import time
from urllib.parse import urlsplit

from funclet.client import ApiError, NetworkError
from tests.soak import functions
from tests.soak.ledger import PLATFORM, Answer
from tests.support.packages import new_function

_BROKEN = (NetworkError, OSError, http.client.HTTPException)
_KEPT_VERSIONS = 5
_GATEWAY_TIMEOUT_S = 30


class Load:
    """All clients of one soak. `start` and `stop` may be called again and again."""

    def __init__(self, server, ledger):
        self.server, self.ledger = server, ledger
        self.urns = {}
        self.acknowledged = 0
        """The number that the updated function returns at least."""
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._threads = []

    def deploy(self):
        """Create the functions; once, on an empty server."""
        server = self.server
        node = {"runtime": functions.NODE}
        self.urns = {
            "python": server.deploy("echo-python", functions.ECHO),
            "node": server.deploy("echo-node", functions.ECHO_NODE, **node),
            "slow": server.deploy("slow", functions.SLOW),
            "mirror_python": server.deploy("mirror_python", functions.MIRROR),
            "mirror_node": server.deploy("mirror_node", functions.MIRROR_NODE, **node),
            "updated": server.deploy("updated", "def handler(event, context):\n    return 0\n"),
        }
        for name, failing in functions.FAILING.items():
            self.urns[name] = server.deploy(name, failing.source, timeout=failing.timeout_s)
        for name in ("mirror_python", "mirror_node"):
            data = {"name": name, "auth": "NONE", "func_info": {"timeout": 30_000}}
            document = {"trigger_type_code": "DEDICATEDGATEWAY", "event_data": data}
            server.client.create_trigger(self.urns[name], document)

    def start(self):
        """Let all clients begin."""
        self._stopping.clear()
        works = [
            *[lambda client: self._echo(client, "python")] * 3,
            *[lambda client: self._echo(client, "node")] * 2,
            lambda client: self._echo(client, "slow"),
            *[lambda client: self._mirror(client, "mirror_python")] * 2,
            lambda client: self._mirror(client, "mirror_node"),
            *[lambda client: self._submit(client, "python")] * 2,
            lambda client: self._submit(client, "exits"),
            self._update,
            self._read_updated,
            self._come_and_go,
            *[lambda client, name=name: self._fail(client, name) for name in functions.FAILING],
        ]
        self._threads = [threading.Thread(target=self._repeat, args=(work,), daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Let all clients finish what they are at; fails those that do not."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=120)
            if thread.is_alive():
                self.ledger.fail("a client did not end: its request hangs")

    def _repeat(self, work):
        client = self.server.new_client()
        try:
            while not self._stopping.is_set():
                began_at = time.monotonic()
                try:
                    work(client)
                except _BROKEN as error:
                    answer = Answer(began_at=began_at, ended_at=time.monotonic(), status=0, detail=repr(error))
                    self.ledger.note("management", answer)
                    time.sleep(0.05)
                except Exception as error:  # noqa: BLE001 - a client that ends unseen would make the soak say nothing
                    self.ledger.fail(f"a client: {error!r}")
                    time.sleep(0.5)
        finally:
            client.close()

    def _ask(self, call):
        """Return the answer that `call` gets; `call` returns status, headers and body."""
        began_at = time.monotonic()
        try:
            status, headers, body = call()
        except _BROKEN as error:
            time.sleep(0.05)
            return Answer(began_at=began_at, ended_at=time.monotonic(), status=0, detail=repr(error)), b""
        code = int(headers.get("x-func-err-code") or 0)
        if b"FSS.0500" in body[:200]:
            code = PLATFORM
        times = {"began_at": began_at, "ended_at": time.monotonic()}
        return Answer(**times, status=status, code=code, detail=body[:300].decode(errors="replace")), body

    def _invoke(self, client, urn, event):
        def call():
            answer = self.server.invoke(urn, event, client=client)
            return answer.status, answer.headers, answer.body

        return self._ask(call)

    def _echo(self, client, name):
        event = {"n": next(self._numbers)}
        answer, body = self._invoke(client, self.urns[name], event)
        self.ledger.note(f"sync {name}", _judged(answer, lambda: json.loads(body) == event))
        self._rest(answer)

    def _mirror(self, client, name):
        text = f"number {next(self._numbers)}"

        def call():
            url = urlsplit(self.server.gateway_url)
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=_GATEWAY_TIMEOUT_S)
            try:
                connection.request("POST", f"/{name}", text)
                response = connection.getresponse()
                headers = {key.lower(): value for key, value in response.getheaders()}
                return response.status, headers, response.read()
            finally:
                connection.close()

        answer, body = self._ask(call)
        self.ledger.note(f"gateway {name}", _judged(answer, lambda: body.decode() == text))
        self._rest(answer)

    def _fail(self, client, name):
        failing = functions.FAILING[name]
        answer, _ = self._invoke(client, self.urns[name], {})
        self.ledger.note(f"failing {name}", answer, status=failing.status, code=failing.code)
        time.sleep(0.2)

    def _submit(self, client, name):
        request_id = self._manage(lambda: client.invoke_async(self.urns[name], b'{"n": 1}'))
        if request_id:
            self.ledger.accept(request_id, name)
        time.sleep(0.03 if name == "python" else 0.5)

    def _update(self, client):
        number, urn = next(self._numbers), self.urns["updated"]
        if self._manage(lambda: client.update_code(urn, functions.numbered(number))):
            self.acknowledged = number
            self._manage(lambda: client.publish_version(urn, name=f"v{number}"))
            versions = self._manage(lambda: client.list_versions(urn)) or []
            old = [row["version"] for row in versions if row["version"] != "latest"][_KEPT_VERSIONS:]
            for version in old:
                self._manage(lambda version=version: client.delete_function(f"{urn.rpartition(':')[0]}:{version}"))
        time.sleep(0.3)

    def _read_updated(self, client):
        least = self.acknowledged
        answer, body = self._invoke(client, self.urns["updated"], {})
        self.ledger.note("sync updated", _judged(answer, lambda: json.loads(body) >= least))
        self._rest(answer)

    def _come_and_go(self, client):
        name = f"passing-{next(self._numbers)}"
        urn = self._manage(lambda: client.create_function(new_function(name, {"index.py": functions.ECHO}))["func_urn"])
        if not urn:
            return
        answer, body = self._invoke(client, urn, {"n": 1})
        self.ledger.note("sync new function", _judged(answer, lambda: json.loads(body) == {"n": 1}))
        self._manage(lambda: client.delete_function(urn.rpartition(":")[0]))

    def _manage(self, call):
        """Return what an operation of the API returns; None when the server was killed meanwhile."""
        began_at = time.monotonic()
        try:
            result = call()
        except _BROKEN as error:
            result, status, detail = None, 0, repr(error)
            time.sleep(0.05)
        except ApiError as error:
            result, status, detail = None, error.status, f"{error.code} {error.message}"
        else:
            result, status, detail = (True if result is None else result), 200, ""
        answer = Answer(began_at=began_at, ended_at=time.monotonic(), status=status, detail=detail)
        if answer.status in (404, 409) and self.ledger.was_killed_during(began_at - 60, answer.ended_at, "server"):
            # It was done before the kill, and only its acknowledgement was lost.
            self.ledger.counts["management done already"] += 1
        else:
            self.ledger.note("management", answer)
        return result

    @staticmethod
    def _rest(answer):
        """Leave some of the machine to others; a refused client waits as it was told."""
        time.sleep(1.0 if answer.status in (429, 503) else 0.005)


def _judged(answer, is_right):
    """Return the answer with what the body says; only a good status has the body of the function."""
    if answer.status != 200 or answer.code:
        return answer
    try:
        right = is_right()
    except ValueError:
        right = False
    return Answer(**{**vars(answer), "is_right": right})
