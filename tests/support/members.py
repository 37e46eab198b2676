"""What a test sees of a server with several data-plane processes."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.support.processes import children_of, has_mount, is_alive, namespaced_pids_of, status_of

_SERVES = re.compile(r"data-plane process (\d+) serves: pid=(\d+)")


def member_pids(server):
    """Return the pids of the processes of a server by their numbers; the newest where one was started again."""
    return {0: server.server_pid} | {int(number): int(pid) for number, pid in _SERVES.findall(server.log())}


def instances_of(pid):
    """Return the pids of the first processes of all instances of one data-plane process with isolation."""
    sandboxd = int(status_of(pid)["PPid"])
    isolated = [child for child in children_of(sandboxd) if namespaced_pids_of(child)[1:] == ["1"]]
    return [child for child in isolated if has_mount(child, "/opt/function/code")]


def is_back(server, number, former_pid):
    """Whether a process that was killed has been started again."""
    pid = member_pids(server)[number]
    return pid != former_pid and is_alive(pid)


class Callers:
    """Many connections, so that every process accepts some; each is used by one thread at a time."""

    def __init__(self, server, count):
        self.server = server
        self._pool = ThreadPoolExecutor(count)
        self._mine = threading.local()
        self._clients = []

    def invoke_all(self, requests):
        """Invoke each pair of urn and event, on as many connections as there are; return the answers in order."""
        return list(self._pool.map(lambda request: self.invoke(*request), requests))

    def invoke(self, urn, event):
        """Invoke on the connection of this thread."""
        client = getattr(self._mine, "client", None)
        if client is None:
            client = self._mine.client = self.server.new_client()
            self._clients.append(client)
        return self.server.invoke(urn, event, client=client)

    def close(self):
        """Close all connections."""
        self._pool.shutdown()
        for client in self._clients:
            client.close()
