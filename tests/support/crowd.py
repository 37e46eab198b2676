"""Clients that go on working while a server is killed under them."""

import contextlib
import threading
import time

from funclet.client import ApiError, NetworkError


class Crowd:
    """Threads that each do one kind of work again and again, with a client of their own. Can be started again."""

    def __init__(self, server):
        self.server = server
        self._stopping = threading.Event()
        self._threads = []

    def start(self, *works):
        """Begin one thread for each of these; each is called with a client."""
        self._stopping.clear()
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Let what runs come to its end."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def _repeat(self, work):
        """Work until stopped; what a kill cuts off was not acknowledged."""
        with contextlib.closing(self.server.new_client()) as client:
            while not self._stopping.is_set():
                try:
                    work(client)
                except (NetworkError, ApiError, OSError):
                    time.sleep(0.005)
