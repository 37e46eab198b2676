"""What `ip link`, `ip addr` and `ip route` do, without starting them: requests to the kernel over rtnetlink.

A program takes milliseconds to start; the kernel answers these in microseconds. The functions
return requests, `Netlink.ask` sends them.
"""

import os
import socket
import struct
from collections.abc import Sequence

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_ANSWER_BYTES = 65536

_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE, _ERROR_KIND = 16, 20, 24, 2
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_NESTED = 0x8000
_UP = 1

_IF_NAME, _MASTER, _LINK_INFO, _AF_SPEC, _NET_NS_FD = 3, 10, 18, 26, 28
_INFO_KIND, _INFO_DATA, _SLAVE_KIND, _SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER, _PORT_ISOLATED, _ADDR_GEN_MODE, _NO_ADDRESSES = 1, 33, 8, 1
_ADDR_ADDRESS, _ADDR_LOCAL = 1, 2
_ROUTE_DEVICE, _ROUTE_GATEWAY = 4, 5
_MAIN_TABLE, _BOOT, _UNICAST = 254, 3, 1

Request = tuple[int, int, bytes]
"""Kind, flags and body."""


class Netlink:
    """A connection to the network namespace in which it was made. Close it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)

    def ask(self, requests: Sequence[Request]) -> None:
        """Do all in order; one that fails does not stop those behind it.

        Raises:
            OSError: what the kernel said to the first one that failed.
        """
        self._socket.send(
            b"".join(
                _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST | _ACK, number, 0) + body
                for number, (kind, flags, body) in enumerate(requests)
            )
        )
        failures: list[int] = []
        answered = 0
        while answered < len(requests):
            found = _errors(self._socket.recv(_ANSWER_BYTES))
            answered += len(found)
            failures += [number for number in found if number]
        if failures:
            raise OSError(failures[0], os.strerror(failures[0]))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def add_veth(name: str, *, master: int, peer: str, peer_namespace_fd: int) -> Request:
    """Make a pair: one end here, as a port of a bridge, the other in another namespace."""
    inside = _link() + _text(_IF_NAME, peer) + _number(_NET_NS_FD, peer_namespace_fd)
    kind = _text(_INFO_KIND, "veth") + _nested(_INFO_DATA, _nested(_VETH_PEER, inside))
    body = _link() + _text(_IF_NAME, name) + _number(_MASTER, master) + _nested(_LINK_INFO, kind)
    return (_NEW_LINK, _CREATE | _EXCLUSIVE, body)


def isolate_port(name: str) -> Request:
    """Let a port of a bridge reach no other such port."""
    port = _text(_SLAVE_KIND, "bridge") + _nested(_SLAVE_DATA, _attribute(_PORT_ISOLATED, b"\1"))
    return (_NEW_LINK, 0, _link() + _text(_IF_NAME, name) + _nested(_LINK_INFO, port))


def forgo_ipv6(name: str) -> Request:
    """Give a device that is not up yet no IPv6 address of its own when it comes up."""
    mode = _nested(socket.AF_INET6, _attribute(_ADDR_GEN_MODE, bytes([_NO_ADDRESSES])))
    return (_NEW_LINK, 0, _link() + _text(_IF_NAME, name) + _nested(_AF_SPEC, mode))


def bring_up(name: str) -> Request:
    """Switch a device on."""
    return (_NEW_LINK, 0, _link(_UP) + _text(_IF_NAME, name))


def add_address(index: int, address: str, prefix_bits: int) -> Request:
    """Give an IPv4 address to a device."""
    packed = socket.inet_aton(address)
    body = _ADDRESS.pack(socket.AF_INET, prefix_bits, 0, 0, index)
    body += _attribute(_ADDR_LOCAL, packed) + _attribute(_ADDR_ADDRESS, packed)
    return (_NEW_ADDRESS, _CREATE | _EXCLUSIVE, body)


def add_default_route(index: int, gateway: str) -> Request:
    """Send what is for elsewhere to a gateway."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, _BOOT, 0, _UNICAST, 0)
    body += _attribute(_ROUTE_GATEWAY, socket.inet_aton(gateway)) + _number(_ROUTE_DEVICE, index)
    return (_NEW_ROUTE, _CREATE | _EXCLUSIVE, body)


def _link(flags: int = 0) -> bytes:
    """Return the head of a request about the device that an attribute names; `flags` are to be set."""
    return _LINK.pack(socket.AF_UNSPEC, 0, 0, flags, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _errors(answer: bytes) -> list[int]:
    """Return the errno of each acknowledgement; 0 for success."""
    found, start = [], 0
    while start < len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, start)
        if kind == _ERROR_KIND:
            found.append(-_ERROR.unpack_from(answer, start + _HEADER.size)[0])
        start += max(_HEADER.size, (length + 3) & ~3)
    return found
