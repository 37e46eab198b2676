"""Every template of an application becomes one that works: pages open, timers fire, webhooks arrive."""

import functools
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from funclet.services.template_catalog import TemplateCatalog
from tests.support.outside import Receiver
from tests.support.server import PROJECT_ID, ServerProcess
from tests.support.waiting import eventually

TEMPLATES = {template.name: template.template_id for template in TemplateCatalog.load().applications}
EVERY_SECOND = "* * * * * ?"
KEY = "a key"
FUNCTION_USER = 1003


def call(server, method, path, body=None, **options):
    data = b"" if body is None else json.dumps(body).encode()
    return server.client.call(method, path, body=data, **options)


def browse(url, method="GET", body=None, **headers):
    """Send a request as a browser does; return the status and the body, JSON decoded."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, parts.path, body=data, headers={"Content-Type": "application/json"} | names)
        response = connection.getresponse()
        text = response.read()
        is_json = response.headers["Content-Type"] == "application/json" and text
        return response.status, json.loads(text) if is_json else text.decode()
    finally:
        connection.close()


class Applications:
    """Applications of one server. `close` deletes them."""

    def __init__(self, server):
        self.server = server
        self.made = []

    def make(self, name, template, **params):
        """Make one; return what the server shows of it."""
        body = {"name": name, "template_id": TEMPLATES[template], "params": params}
        made = call(self.server, "POST", self.server.path("/applications"), body).json()["application_id"]
        self.made.append(made)
        return call(self.server, "GET", self.server.path(f"/applications/{made}")).json()

    def delete(self, shown):
        """Delete one."""
        self.made.remove(shown["id"])
        call(self.server, "DELETE", self.server.path(f"/applications/{shown['id']}"))

    def invoke(self, name, event):
        """Run a function; return its answer."""
        answer = self.server.invoke(name, event)
        assert (answer.status, answer.headers["x-func-err-code"]) == (200, "0"), answer
        return answer.json()

    def close(self):
        """Delete those that are left."""
        for made in self.made:
            call(self.server, "DELETE", self.server.path(f"/applications/{made}"))


@pytest.fixture
def applications(server):
    """Return the applications of the shared server."""
    opened = Applications(server)
    yield opened
    opened.close()


# As much of a browser as the script of a page needs: it writes a note and tells what is listed and said then.
BROWSER = """
const [address, note] = process.argv.slice(2);
const nodes = { ul: { items: [], append(item) { this.items.push(item.textContent); } }, p: {}, form: {} };
nodes.form.addEventListener = (_, submit) => { nodes.form.submit = submit; };
globalThis.location = new URL(address);
globalThis.document = { querySelector: (name) => nodes[name], createElement: () => ({}) };
const send = globalThis.fetch;
let answer;
globalThis.fetch = (place, options) => (answer = send(new URL(place, address), options));
(async () => {
  const page = await (await send(address)).text();
  eval(page.match(/<script>([^]*)<[/]script>/)[1]);
  await answer;
  const field = { value: note };
  await nodes.form.submit({ preventDefault() {}, target: { elements: { note: field } } });
  console.log(JSON.stringify([nodes.ul.items.sort(), nodes.p.textContent, field.value]));
})();
"""


def test_the_page_of_notes_lists_them_and_adds_some(applications, tmp_path):
    url = applications.make("e2e-page", "notes", max_length=5)["apig_url"]
    (tmp_path / "browser.js").write_text(BROWSER)

    def visit(note):
        done = subprocess.run(
            ["node", tmp_path / "browser.js", url, note], capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(done.stdout)

    assert visit("one") == [["one"], "", ""]
    assert visit("too long") == [["one"], "The note has 8 characters; 5 are allowed.", "too long"]
    assert browse(f"{url}/notes") == (200, {"notes": ["one"]})


@pytest.mark.proves("operation:CreateFunctionApp", "operation:ShowFunctionApp")
def test_notes_open_in_a_browser_at_once_and_are_kept(applications):
    url = applications.make("e2e-notes", "notes", title="<Mine>", max_length=9)["apig_url"]

    status, page = browse(url)
    taken = browse(f"{url}/notes", "POST", {"note": " to be "})
    too_long = browse(f"{url}/notes", "POST", {"note": "0123456789"})

    assert (status, "<h1>&lt;Mine&gt;</h1>" in page, "fetch(place" in page) == (200, True, True)
    assert taken == (200, {"notes": ["to be"]})
    assert too_long == (400, {"error": "The note has 10 characters; 9 are allowed."})
    assert browse(f"{url}/notes") == (200, {"notes": ["to be"]})
    for body in (b"no JSON", b"[]", b"", b'{"note": ""}'):
        assert browse(f"{url}/notes", "POST", body) == (400, {"error": "There is no note."})
    assert browse(f"{url}/notes", "DELETE")[0] == 405


def test_things_to_do_are_added_changed_and_deleted(applications):
    url = applications.make("e2e-todo", "todo")["apig_url"]

    assert browse(url, "POST", {"title": "write"}) == (201, {"id": 1, "title": "write", "done": False})
    assert browse(url, "POST", {"title": "read", "done": True}) == (201, {"id": 2, "title": "read", "done": True})
    assert browse(f"{url}/1", "PUT", {"done": True}) == (200, {"id": 1, "title": "write", "done": True})
    assert browse(f"{url}/2", "DELETE") == (204, "")
    assert browse(url) == (200, {"things": [{"id": 1, "title": "write", "done": True}]})
    assert browse(f"{url}/1") == (200, {"id": 1, "title": "write", "done": True})


def test_things_to_do_that_are_refused(applications):
    url = applications.make("e2e-refused", "todo")["apig_url"]

    refused = [
        browse(url, "POST", body)[0]
        for body in (b"no JSON", [], {}, {"title": ""}, {"title": "t" * 201}, {"title": 1}, {"title": "t", "done": 1})
    ]

    assert refused == [400] * 7
    assert [browse(f"{url}/{name}")[0] for name in ("1", "x")] == [404, 404]
    assert (browse(url, "DELETE")[0], browse(f"{url}/1", "POST", {})[0]) == (405, 405)
    assert browse(url) == (200, {"things": []})


def test_things_to_do_can_want_credentials(applications):
    url = applications.make("e2e-closed", "todo", auth="IAM")["apig_url"]

    assert browse(url)[0] == 401


@pytest.fixture
def sharing_server(new_server, scratch):
    """A server that has opened a folder to functions."""
    folder = Path(tempfile.mkdtemp(prefix="share-", dir=scratch))
    os.chown(folder, FUNCTION_USER, FUNCTION_USER)
    inventory = folder / "inventory.toml"
    inventory.write_text(f'[[shares]]\nid = "kept"\nfolder = "{folder}"\nprojects = ["{PROJECT_ID}"]\n')
    return new_server("--inventory", str(inventory))


@pytest.mark.root
@pytest.mark.parametrize(("template", "thing"), [("todo", {"title": "t"}), ("notes", {"note": "n"})])
def test_what_is_kept_on_a_share_outlives_the_server(sharing_server, template, thing):
    shown = Applications(sharing_server).make("lasting", template, share="kept")
    url = shown["apig_url"] + ("/notes" if template == "notes" else "")
    first = browse(url, "POST", thing)
    assert first[0] in (200, 201), first
    before = browse(url)

    sharing_server.kill()
    sharing_server.start()

    assert browse(url) == before


def test_a_report_is_made_by_its_timer_and_stored(applications):
    server = applications.server
    shown = applications.make(
        "e2e-report", "report", schedule=EVERY_SECOND, lines="a: 1,b:2.5,nonsense", separator=":", bucket="e2e-reports"
    )
    bucket = f"/v2/{PROJECT_ID}/funclet/buckets/e2e-reports"

    listed = eventually(
        lambda: call(server, "GET", f"{bucket}/objects", query={"prefix": "reports/e2e-report-summarise/"}).json()[
            "objects"
        ],
        within_s=30,
        because="a report is stored",
    )
    report = call(server, "GET", f"{bucket}/object", query={"key": listed[0]["key"]}).json()

    assert shown["apig_url"] == ""
    assert json.loads(report["response_payload"]) == {"count": 2, "sum": 3.5, "largest": "b"}


def test_the_timer_of_an_application_goes_with_it(applications):
    server = applications.server
    shown = applications.make("e2e-timer", "report", schedule=EVERY_SECOND, bucket="")
    path = server.path("/functions/e2e-timer-collect/async-invocations")
    eventually(lambda: call(server, "GET", path).json()["count"] > 0, within_s=30, because="the timer fires")

    applications.delete(shown)

    assert call(server, "GET", path, raises=False).status == 404
    triggers = call(server, "GET", f"/v2/{PROJECT_ID}/fgs/triggers").json()["triggers"]
    assert not [row for row in triggers if "e2e-timer" in row["func_urn"]]


def test_a_report_is_collected_from_lines(applications):
    applications.make("e2e-lines", "report", bucket="")

    collected = applications.invoke("e2e-lines-collect", {"lines": ["a = 1", "nonsense"]})

    assert collected == {"numbers": {"a": 1.0}, "skipped": 1}
    assert applications.invoke("e2e-lines-summarise", collected) == {"count": 1, "sum": 1.0, "largest": "a"}


@pytest.fixture
def numbers(tmp_path):
    """The address of a text on this host, with two numbers."""
    (tmp_path / "numbers.txt").write_text("a=1\nb=2\n# no number\n")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as source:
        thread = threading.Thread(target=source.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{source.server_port}/numbers.txt"
        source.shutdown()
        thread.join()


def test_a_report_is_collected_from_an_address(open_applications, numbers):
    open_applications.make("remote", "report", source_url=numbers, bucket="")

    collected = open_applications.invoke("remote-collect", {"user_event": "c=3"})

    assert collected == {"numbers": {"a": 1.0, "b": 2.0}, "skipped": 1}


@pytest.fixture
def receiver():
    """A target of webhooks on this host."""
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def open_server(scratch):
    """A server whose functions reach this host, and whose retries are quick."""
    folder = scratch / "open"
    folder.mkdir(mode=0o755)
    running = ServerProcess(folder, "--isolation", "process", FGS_ASYNC_RETRY_BASE_S="0.1").start()
    yield running
    running.stop()


@pytest.fixture
def open_applications(open_server):
    """Return the applications of a server whose functions reach this host."""
    opened = Applications(open_server)
    yield opened
    opened.close()


def signature_of(message):
    return hmac.new(KEY.encode(), message, hashlib.sha256).hexdigest()


def test_a_webhook_is_passed_on_signed_and_as_often_as_it_needs(open_applications, receiver):
    receiver.statuses = [503, 200]
    url = open_applications.make("relay", "webhook-relay", secret=KEY, target_url=receiver.url)["apig_url"]
    message = b'{"order": 1}'

    status, answer = browse(url, "POST", message, X_Signature=signature_of(message))
    arrived = eventually(lambda: receiver.requests if len(receiver.requests) > 1 else [], because="it is tried again")

    assert (status, answer.keys()) == (202, {"request_id"})
    for path, headers, body in arrived:
        assert (path, body, headers["Content-Type"]) == ("/inbox", message, "application/json")
        assert headers["X-Signature"] == signature_of(message)


def test_a_webhook_whose_signature_has_another_header_is_passed_on(open_applications, receiver):
    params = {"secret": KEY, "target_url": receiver.url, "signature_header": "X-Hub-Signature-256"}
    url = open_applications.make("hub", "webhook-relay", **params)["apig_url"]

    signature = signature_of(b"\xff\x00")

    browse(url, "POST", b"\xff\x00", X_Hub_Signature_256=f"sha256={signature}")

    ((_, headers, body),) = eventually(lambda: receiver.requests)
    assert (body, headers["X-Hub-Signature-256"]) == (b"\xff\x00", signature)


def test_a_webhook_that_is_not_signed_goes_nowhere(open_applications, receiver):
    url = open_applications.make("strict", "webhook-relay", secret=KEY, target_url=receiver.url)["apig_url"]
    path = open_applications.server.path("/functions/strict-receive/async-invocations")

    _, answer = browse(url, "POST", b"forged", X_Signature="0" * 64)
    ended = eventually(
        lambda: [
            row for row in call(open_applications.server, "GET", path).json()["invocations"] if row["status"] == "FAIL"
        ],
        because="it has failed, with no other try",
    )

    assert [row["request_id"] for row in ended] == [answer["request_id"]]
    assert "is not signed" in json.dumps(ended)
    assert receiver.requests == []


def test_a_relay_without_a_target_only_logs(open_applications):
    open_applications.make("nowhere", "webhook-relay", secret=KEY)

    assert open_applications.invoke("nowhere-forward", {"body": "aGVsbG8=", "content_type": "text/plain"}) == {
        "sent": False
    }
