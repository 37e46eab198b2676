"""The addresses that `fgs serve` listens on. Start with `listen`: it binds all of them or none."""

import errno
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from funclet.cli.frame import ExitCode, Failure
from funclet.config import WILDCARDS, Settings
from funclet.front.listeners import Listeners

_HINTS: Mapping[int | None, str] = {
    errno.EADDRINUSE: "Is another server running? Choose other ports with --port and --gateway-port.",
    errno.EACCES: "Ports below 1024 belong to root; choose others with --port and --gateway-port.",
}


def listen(settings: Settings, count: int) -> Sequence[Listeners]:
    """Bind the listeners of so many processes, all to the same two ports of every address.

    Raises:
        Failure: an address or a port cannot be used; nothing stays bound.
    """
    with ExitStack() as stack:
        apis = _bind_all(stack, settings.hosts, settings.port, count)
        gateways = _bind_all(stack, settings.hosts, settings.gateway_port, count)
        stack.pop_all()
    urls, gateway_urls = _urls(settings.hosts, apis[0]), _urls(settings.hosts, gateways[0])
    return [
        Listeners(api=api, gateway=gateway, api_urls=urls, gateway_urls=gateway_urls)
        for api, gateway in zip(apis, gateways, strict=True)
    ]


def _urls(hosts: Sequence[str], listeners: Sequence[socket.socket]) -> Sequence[str]:
    shown = ["127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host for host in hosts]
    return [f"http://{host}:{one.getsockname()[1]}" for host, one in zip(shown, listeners, strict=True)]


def _bind_all(stack: ExitStack, hosts: Sequence[str], port: int, count: int) -> Sequence[Sequence[socket.socket]]:
    """Return the sockets of each process, one for each host; port 0 becomes one that the first host has free."""
    of_hosts: list[Sequence[socket.socket]] = []
    for host in hosts:
        bound = _bind(stack, host, port, count)
        place = bound[0].getsockname()[:2]
        if any(place == other[0].getsockname()[:2] for other in of_hosts):
            raise Failure(f"Two of the addresses to listen on are the same: {', '.join(hosts)}.")
        of_hosts.append(bound)
        port = place[1]
    return list(zip(*of_hosts, strict=True))


def _bind(stack: ExitStack, host: str, port: int, count: int) -> Sequence[socket.socket]:
    try:
        alone = _bound(host, port, is_shared=False)
        if count == 1:
            return [stack.enter_context(alone)]
        # It told whether the port is free: sockets that share one would share it with another server, too.
        port = alone.getsockname()[1]
        alone.close()
        return [stack.enter_context(_bound(host, port, is_shared=True)) for _ in range(count)]
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        raise Failure(
            f"Port {port} on {host} cannot be used: {getattr(error, 'strerror', None) or error}.",
            hint=_HINTS.get(number, "Is --host an address of this machine?"),
            exit_code=ExitCode.NETWORK,
        ) from error


def _bound(host: str, port: int, *, is_shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener
