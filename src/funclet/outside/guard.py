"""Where the server may send what its users ask it to send: not into the operator's own networks.

`Guard.resolve` turns a name into an address that may be used. Whoever connects uses that address, not the
name again, so that a name cannot change its meaning in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

ANY_NETWORK = "*"
_RESOLVE_S = 5.0
# Addresses of version 4 inside version 6: a translator would take them out again.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(Exception):
    """The operator does not allow this address; the message says which setting does."""


class AddressUnknown(Exception):
    """The name has no address now."""


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks in the form `10.0.0.0/8`; `*` is every network.

    Raises:
        ValueError: one is none.
    """
    everything = ("0.0.0.0/0", "::/0")
    return tuple(
        ipaddress.ip_network(part) for text in texts for part in (everything if text == ANY_NETWORK else (text,))
    )


class Guard:
    """Allows public addresses, and those of the networks that the operator names."""

    def __init__(self, networks: Sequence[Network], *, setting: str) -> None:
        self._networks = tuple(networks)
        self._setting = setting

    async def resolve(self, host: str, port: int) -> str:
        """Return an address of `host` that may be used.

        Raises:
            AddressRefused: it has addresses, and none may be used.
            AddressUnknown: it has none now.
        """
        try:
            async with asyncio.timeout(_RESOLVE_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise AddressUnknown(f"the host '{host}' has no address") from error
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        for address in addresses:
            if self.allows(address):
                return address
        raise AddressRefused(
            f"the host '{host}' is at {addresses[0]}, a private or reserved address; "
            f"the operator can allow its network by the setting '{self._setting}'"
        )

    def allows(self, text: str) -> bool:
        """Tell whether an address may be used."""
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
        if any(address in network for network in self._networks):
            return True
        return address.is_global and not address.is_multicast


def _plain(address: Address) -> Address:
    """Return the address that is reached in the end."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
