"""A server of three data-plane processes: one platform to its clients, whichever process takes their connection."""

import contextlib
import itertools
import json
import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from funclet.client import NetworkError
from funclet.cluster.ownership import owner_of
from tests.e2e.test_gateway_and_timers import publish, send
from tests.e2e.test_lifecycle import limit_instances
from tests.e2e.test_shutdown import refuses_connections
from tests.support.members import Callers, instances_of, is_back, member_pids
from tests.support.packages import zip_base64
from tests.support.processes import children_of, is_alive, status_of, tree_of
from tests.support.server import SK, ServerProcess
from tests.support.traces import traces_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.root

COUNT = 3
ECHO = "def handler(event, context):\n    print('saw', event)\n    return event\n"
RECORDER = """
import os, time

instance = os.urandom(8).hex()

def handler(event, context):
    began = time.monotonic()
    time.sleep(0.01)
    return [instance, began, time.monotonic()]
"""
SLEEPER = "import time\n\ndef handler(event, context):\n    time.sleep(event['s'])\n    return 'slept'\n"
PAGE = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'page'}\n"


@pytest.fixture(scope="module")
def several(scratch):
    """A server that the tests of this module share."""
    folder = scratch / "several"
    folder.mkdir()
    running = ServerProcess(folder, "--processes", str(COUNT), "--admission-wait-ms", "20000").start()
    wait_for_all(running)
    yield running
    running.stop()


@pytest.fixture
def new_several(new_server):
    """Start servers of one's own with several processes."""

    def start(*options):
        return wait_for_all(new_server("--processes", str(COUNT), *options))

    return start


def wait_for_all(server):
    """Return the server once each of its processes has said that it serves."""
    eventually(lambda: len(member_pids(server)) == COUNT and "Stop with Ctrl-C" in server.log())
    return server


@pytest.fixture
def callers(several):
    """Connections to the shared server."""
    made = Callers(several, 24)
    yield made
    made.close()


def deploy_everywhere(server, name, source, **settings):
    """Deploy functions until every process owns one; return their urns by the number of the owner."""
    urns = {}
    for number in itertools.count():
        if len(urns) == COUNT:
            break
        urn = server.deploy(f"{name}-{number}", source, **settings)
        pids = member_pids(server)
        before = {member: set(instances_of(pid)) for member, pid in pids.items()}
        assert server.invoke(urn, {"s": 0}).status == 200
        owner = next(member for member, pid in pids.items() if set(instances_of(pid)) - before[member])
        urns.setdefault(owner, urn)
    return urns


def test_the_start_says_how_many_processes_there_are(several):
    assert f"processes  {COUNT}\n" in several.log()
    assert sorted(member_pids(several)) == list(range(COUNT))


def test_a_second_server_on_the_same_port_is_refused(several, new_server):
    port = several.api_url.rsplit(":", 1)[1]

    with pytest.raises(AssertionError, match=f"Port {port} on 127.0.0.1 cannot be used"):
        new_server("--processes", str(COUNT), "--port", port)


def test_every_process_serves_and_is_an_ordinary_user(several):
    users = {status_of(pid)["Uid"].split()[0] for pid in member_pids(several).values()}

    assert len(users) == 1
    assert users != {"0"}


def test_functions_run_on_whatever_connection_their_callers_come(several, callers):
    urns = [several.deploy(f"many-{number}", ECHO) for number in range(12)]
    requests = [(urns[number % len(urns)], {"n": number}) for number in range(600)]

    answers = callers.invoke_all(requests)

    assert {answer.status for answer in answers} == {200}
    assert [answer.json() for answer in answers] == [event for _, event in requests]
    owners = {owner_of(function_id_of(several, urn), COUNT) for urn in urns}
    assert owners <= {number for number, pid in member_pids(several).items() if instances_of(pid)}


def function_id_of(server, urn):
    return server.client.call("GET", server.path(f"/functions/{urn}/config")).json()["func_id"]


def test_the_gateway_answers_on_every_connection(several):
    for number in range(6):
        publish(several, f"page_{number}", PAGE)

    answers = [send(several.gateway_url, "GET", f"/page_{number % 6}") for number in range(60)]

    assert {(status, body) for status, _, body in answers} == {(200, b"page")}


def test_the_api_is_one_on_every_connection(several):
    names = [f"api-{number}" for number in range(12)]
    for name in names:
        several.deploy(name, ECHO)

    listed = [rows_on_a_new_connection(several) for _ in range(12)]
    assert listed == [set(names)] * 12
    with contextlib.closing(several.new_client(sk="wrong")) as stranger:
        assert stranger.call("GET", several.path("/functions"), raises=False).status == 401


def rows_on_a_new_connection(server):
    """Return the names of functions as whichever process takes the connection tells them."""
    with contextlib.closing(server.new_client()) as client:
        return {row["func_name"] for row in client.list_functions(name="api-")}


def test_the_instance_maximum_is_exact_over_all_processes(several, callers):
    urn = several.deploy("alone", RECORDER)
    limit_instances(several, urn, 1)

    answers = callers.invoke_all([(urn, {})] * 200)

    assert {answer.status for answer in answers} == {200}
    runs = sorted(answer.json() for answer in answers)
    assert len({instance for instance, _, _ in runs}) == 1
    times = sorted((began, ended) for _, began, ended in runs)
    assert all(former[1] <= following[0] for former, following in itertools.pairwise(times))


def test_no_connection_gets_an_old_answer_after_an_update_was_acknowledged(several, callers):
    urn = several.deploy("changing", "def handler(event, context):\n    return 0\n")
    limit_instances(several, urn, 4)
    for number in range(1, 13):
        source = f"def handler(event, context):\n    return {number}\n"
        body = {"code_type": "zip", "func_code": {"file": zip_base64({"index.py": source})}}
        with contextlib.closing(several.new_client()) as client:
            client.call("PUT", several.path(f"/functions/{urn}/code"), body=json.dumps(body).encode())

        answers = callers.invoke_all([(urn, {})] * 48)
        assert {(answer.status, answer.body) for answer in answers} == {(200, str(number).encode())}


def test_a_function_that_was_deleted_is_gone_for_all(several, callers):
    urn = several.deploy("short-lived", ECHO)
    assert {answer.status for answer in callers.invoke_all([(urn, {})] * 48)} == {200}

    several.client.delete_function(urn.rsplit(":", 1)[0])

    assert {answer.status for answer in callers.invoke_all([(urn, {})] * 48)} == {404}


def test_the_log_of_every_request_is_found_at_once_and_in_order(several, callers):
    for number in range(4):
        urn = several.deploy(f"logged-{number}", ECHO)
        ids = [answer.headers["x-cff-request-id"] for answer in callers.invoke_all([(urn, {"n": 1})] * 20)]
        last = several.invoke(urn, {"n": "last"}).headers["x-cff-request-id"]

        records = several.client.logs(urn)

        assert {record["request_id"] for record in records} >= {*ids, last}
        assert records[-1]["request_id"] == last


def test_asynchronous_requests_run_wherever_their_function_is(several):
    urns = deploy_everywhere(several, "later", ECHO)
    requests = [(urn, submit(several, urn)) for urn in urns.values() for _ in range(5)]

    for urn, request_id in requests:
        eventually(lambda urn=urn, request_id=request_id: is_done(several, urn, request_id))


def submit(server, urn):
    """Submit on a connection of its own; return the request id."""
    with contextlib.closing(server.new_client()) as client:
        return client.invoke_async(urn, b'{"n": 1}')


def is_done(server, urn, request_id):
    """Whether an asynchronous request has succeeded, asked on a connection of its own."""
    with contextlib.closing(server.new_client()) as client:
        record = client.async_record(urn, request_id)
    return record is not None and record["status"] == "SUCCESS"


# Faults


def zombies_below(pid):
    """Return the ended processes that nobody has waited for."""
    return [below for below in tree_of(pid) if not is_alive(below) and Path("/proc", str(below)).exists()]


class Load:
    """Callers of functions that go on until stopped, and what they saw."""

    def __init__(self, server, urns):
        self.server = server
        self.seen = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._repeat, args=(urn,)) for urn in urns for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """End; return when, urn and answer (None for a connection that broke) of every call."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive(), "a call hangs"
        return self.seen

    def _repeat(self, urn):
        client = self.server.new_client()
        while not self._stopping.is_set():
            try:
                answer = self.server.invoke(urn, {"n": 1}, client=client)
            except NetworkError:
                client.close()
                client = self.server.new_client()
                answer = None
            self.seen.append((time.monotonic(), urn, answer))
        client.close()


@pytest.mark.parametrize("options", [[], ["--isolation", "rootless"]], ids=["full", "rootless"])
def test_kill_9_of_a_data_plane_process_costs_less_than_a_second(new_several, options):
    server = new_several(*options)
    urns = [server.deploy(f"echo-{number}", ECHO) for number in range(6)]
    for urn in urns:
        assert server.invoke(urn, {"n": 1}).status == 200
    former = member_pids(server)
    sandboxds = {number: int(status_of(pid)["PPid"]) for number, pid in former.items()}

    load = Load(server, urns)
    time.sleep(0.5)
    killed_at = time.monotonic()
    os.kill(former[1], signal.SIGKILL)
    eventually(lambda: is_back(server, 1, former[1]))
    time.sleep(1.5)
    seen = load.stop()

    for urn in urns:
        good = [at for at, called, answer in seen if called == urn and answer and answer.status == 200]
        pause_s = max(later - earlier for earlier, later in itertools.pairwise([*good]))
        assert pause_s < 1.0, f"{urn} was away for {pause_s:.2f} s"
    bad = [
        (at - killed_at, answer and (answer.status, answer.body))
        for at, _, answer in seen
        if not answer or answer.status != 200
    ]
    # Its own connections, and the calls of others that it had begun with.
    assert len(bad) <= 2 * 2 * len(urns)
    assert all(answer is None or answer[0] == 500 for _, answer in bad), bad
    assert all(0 <= after < 1.5 for after, _ in bad), bad
    eventually(lambda: not zombies_below(server.process.pid))
    assert not traces_of(sandboxds[1], Path("/none"))
    assert member_pids(server)[0] == former[0]
    assert member_pids(server)[2] == former[2]


def test_asynchronous_requests_outlive_the_process_that_ran_them(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "slow", SLEEPER, timeout=20)
    requests = [(urn, server.client.invoke_async(urn, b'{"s": 0.5}')) for urn in urns.values() for _ in range(4)]
    time.sleep(0.3)

    former = member_pids(server)
    for number in (1, 2):
        os.kill(former[number], signal.SIGKILL)

    for urn, request_id in requests:
        eventually(lambda urn=urn, request_id=request_id: is_done(server, urn, request_id), within_s=60)


def test_kill_9_of_a_sandboxd_replaces_its_process_too(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "echo", ECHO)
    former = member_pids(server)
    sandboxd = int(status_of(former[2])["PPid"])

    os.kill(sandboxd, signal.SIGKILL)

    eventually(lambda: is_back(server, 2, former[2]))
    eventually(lambda: not is_alive(former[2]))
    with contextlib.closing(server.new_client()) as client:
        eventually(lambda: server.invoke(urns[2], {"s": 0}, client=client).status == 200)
    eventually(lambda: not zombies_below(server.process.pid))


def test_kill_9_of_the_server_ends_everything(new_several):
    server = new_several()
    deploy_everywhere(server, "echo", ECHO)
    tree = tree_of(server.process.pid)
    sandboxds = children_of(server.process.pid)

    os.kill(server.server_pid, signal.SIGKILL)

    assert server.process.wait(timeout=20) == 128 + signal.SIGKILL
    eventually(lambda: not any(is_alive(pid) for pid in tree))
    assert not [trace for sandboxd in sandboxds for trace in traces_of(sandboxd, server.folder)]


def test_kill_9_of_the_supervisor_ends_everything(new_several):
    server = new_several()
    tree = tree_of(server.process.pid)

    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(timeout=20)

    eventually(lambda: not any(is_alive(pid) for pid in tree))


# The end


def test_sigterm_lets_the_requests_of_every_process_finish(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "sleeper", SLEEPER, timeout=20)
    tree = tree_of(server.process.pid)
    sandboxds = children_of(server.process.pid)
    running = [server.begin(urn, {"s": 2}) for urn in urns.values() for _ in range(4)]
    time.sleep(0.8)

    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses_connections(server.api_url), because="nothing new is taken")

    assert [future.result(timeout=20).status for future in running] == [200] * len(running)
    assert server.process.wait(timeout=20) == 0
    eventually(lambda: not any(is_alive(pid) for pid in tree))
    assert not [trace for sandboxd in sandboxds for trace in traces_of(sandboxd, server.folder)]


def test_a_second_signal_ends_every_process_at_once(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "sleeper", SLEEPER, timeout=60)
    for urn in urns.values():
        server.begin(urn, {"s": 50}).add_done_callback(lambda future: future.exception())
    time.sleep(0.5)

    server.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)

    assert server.process.wait(timeout=20) == 0
    assert time.monotonic() - began < 5


def test_the_supervisor_does_not_know_the_first_credentials(new_several):
    server = new_several()
    server.invoke(server.deploy("echo", ECHO))

    assert SK.encode() not in memory_of(server.process.pid)
    # It does find what is there: the server has been given them.
    assert SK.encode() in memory_of(server.server_pid)


def memory_of(pid):
    """Return what a process can write, as its administrator reads it."""
    parts = []
    with Path("/proc", str(pid), "mem").open("rb", buffering=0) as memory:
        for line in Path("/proc", str(pid), "maps").read_text().splitlines():
            addresses, flags = line.split()[:2]
            begin, end = (int(address, 16) for address in addresses.split("-"))
            if flags.startswith("rw"):
                memory.seek(begin)
                parts.append(memory.read(end - begin))
    return b"".join(parts)


# Metrics


def scraped(server):
    """Return metrics by name with labels, read on a connection of its own."""
    with contextlib.closing(server.new_client()) as client:
        text = client.call("GET", "/metrics").body.decode()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}


def successes(server, names):
    """Return how many requests of functions have succeeded, as a scrape tells it."""
    found = scraped(server)
    labels = [f'project="{server.project_id}",function="default:{name}",version="latest"' for name in names]
    return [found.get(f'fgs_invocations_total{{{label},result="success"}}', 0) for label in labels]


def first_scrape(server):
    """Scrape on many connections, some of which come to a process that stands still; return the first answer.

    With it how long it took, in seconds.
    """
    began = time.monotonic()
    pool = ThreadPoolExecutor(12)
    done, _ = wait([pool.submit(scraped, server) for _ in range(12)], timeout=10, return_when=FIRST_COMPLETED)
    pool.shutdown(wait=False)
    return done.pop().result(), time.monotonic() - began


def test_a_scrape_adds_up_all_processes(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "counted", ECHO)
    names = [urn.split(":")[-2] for urn in urns.values()]
    for number, urn in enumerate(urns.values()):
        for _ in range(number + 1):
            assert server.invoke(urn, {"n": 1}).status == 200

    # One more each: those that found out who owns what.
    assert {tuple(successes(server, names)) for _ in range(6)} == {(2, 3, 4)}
    found = scraped(server)
    assert {found[f'fgs_process_up{{process="{number}"}}'] for number in range(COUNT)} == {1}
    assert found['fgs_instances{kind="idle"}'] >= COUNT


def test_a_process_that_does_not_answer_a_scrape_is_named_and_its_counts_stay(new_several):
    server = new_several()
    urns = deploy_everywhere(server, "counted", ECHO)
    names = [urn.split(":")[-2] for urn in urns.values()]
    before = successes(server, names)
    pid = member_pids(server)[2]

    os.kill(pid, signal.SIGSTOP)
    try:
        found, took_s = first_scrape(server)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert (found['fgs_process_up{process="1"}'], found['fgs_process_up{process="2"}']) == (1, 0)
    assert took_s < 2
    eventually(lambda: scraped(server)['fgs_process_up{process="2"}'] == 1)
    assert successes(server, names) == before

    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_back(server, 2, pid))
    eventually(lambda: scraped(server)['fgs_process_up{process="2"}'] == 1)
    assert successes(server, names) == before
    # The connections of before may have been to the process that is gone.
    with contextlib.closing(server.new_client()) as client:
        for urn in urns.values():
            assert server.invoke(urn, {"n": 1}, client=client).status == 200
    assert successes(server, names) == [count + 1 for count in before]
