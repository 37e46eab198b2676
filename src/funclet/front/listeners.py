"""The bound sockets of one process of a server, before anything listens on them."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The sockets of the API and of the gateway, one of each for every address, and how clients reach them."""

    api: Sequence[socket.socket]
    gateway: Sequence[socket.socket]
    api_urls: Sequence[str]
    """In the order of the sockets; the first is the one that is told to programs and functions."""
    gateway_urls: Sequence[str]

    @property
    def api_url(self) -> str:
        """The first address of the API."""
        return self.api_urls[0]

    @property
    def gateway_url(self) -> str:
        """The first address of the gateway."""
        return self.gateway_urls[0]

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """All of them."""
        return (*self.api, *self.gateway)

    def close(self) -> None:
        """Close all; nothing happens to those that are closed already."""
        for one in self.sockets:
            one.close()
