"""Network namespaces of instances: loopback only, or a way out through NAT, to everywhere or to private addresses.

`Networks.make` returns a namespace to join. A way out is a bridge of our own and
an nftables table, made at first use with iproute2 and nft and removed at the end,
and one veth pair per instance, for which no other program is started.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.protocol import Network, SandboxError
from funclet.sandbox.sandboxd.netlink import (
    Netlink,
    Request,
    add_address,
    add_default_route,
    add_veth,
    bring_up,
    forgo_ipv6,
    isolate_port,
)

_TIMEOUT_S = 10
_PART_PREFIX = 20
"""Addresses of one bridge: 4093 instances."""
_STATISTICS = Path("/proc/thread-self/net")
_SENT_PACKETS = 9
"""Column of `dev`."""
_CONF = Path("/proc/sys/net/ipv4/conf")
_PACKAGES = {"ip": "iproute2", "nft": "nftables"}
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICE = "eth0"

_RULES = """
table inet {table} {{
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname "{bridge}" drop
  }}
  chain forward {{
    type filter hook forward priority -10; policy accept;
    iifname "{bridge}" oifname "{bridge}" drop
    iifname "{bridge}" ip daddr {{ 169.254.0.0/16, 127.0.0.0/8, 224.0.0.0/4 }} drop
    iifname "{bridge}" ip saddr != {network} drop
    iifname "{bridge}" meta nfproto ipv6 drop
    {own_rule}
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {network} oifname != "{bridge}" masquerade
  }}
}}
"""
_OWN_RULES = {
    Network.NAT: "",
    Network.PRIVATE: 'iifname "{bridge}" ip daddr != {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }} drop',
}
_BRIDGE_SUFFIX = {Network.NAT: "", Network.PRIVATE: "p"}
_PORT_LETTER = {Network.NAT: "v", Network.PRIVATE: "w"}
"""A device has a name of 15 characters at most."""
_BRIDGE = re.compile(r"fgs(\d+)p?")


@dataclass(frozen=True, slots=True)
class NetNamespace:
    """A network namespace without processes. The caller owns the descriptor; closing it gives everything back."""

    fd: int
    address: str
    """Its own address on a bridge; empty when it has only loopback."""

    def close(self) -> None:
        """Give it back; the veth pair goes with it."""
        os.close(self.fd)


class Networks:
    """Makes network namespaces. The process must be single-threaded: it visits each new namespace itself."""

    def __init__(self, network: str) -> None:
        pool = ipaddress.IPv4Network(network)
        switched_on: list[Path] = []
        self._bridges = {kind: _Bridge(kind, pool, switched_on) for kind in _OWN_RULES}
        self._home = -1
        self._host: Netlink | None = None
        self._has_ipv6 = Path("/proc/net/if_inet6").exists()

    def open(self) -> None:
        """Remember the host's own namespace and remove what a dead sandboxd left."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._host = Netlink()
        _remove_leftovers()

    def missing_for_nat(self) -> str:
        """Return an empty string, or what to install before functions can have a network."""
        missing = [package for tool, package in _PACKAGES.items() if _find(tool) is None]
        return f"install {' and '.join(missing)}" if missing else ""

    def make(self, network: Network) -> NetNamespace:
        """Return a fresh namespace.

        Raises:
            SandboxError: the kernel refused, or a way out lacks a program or a free address.
        """
        bridge = self._bridges.get(network)
        if bridge is None:
            with _named("A network namespace cannot be made"):
                return NetNamespace(self._fresh(), "")
        if not bridge.index:
            missing = self.missing_for_nat()
            if missing:
                raise SandboxError(f"Functions cannot be given a network: {missing}.")
            bridge.make()
        address = bridge.take_address()
        try:
            with _named("A network namespace with a way out cannot be made"):
                return NetNamespace(self._fresh(bridge, address), address)
        except SandboxError:
            bridge.used.discard(address)
            raise

    def is_untouched(self, namespace: NetNamespace) -> bool:
        """Tell whether nothing was sent in it, or tried to be, not even to itself. Its processes are gone already.

        Then no connection, neighbour or counter tells of who was in it.
        """
        native.helper().setns(namespace.fd, native.CLONE_NEWNET)
        try:
            return not _sent()
        except (OSError, ValueError, IndexError):
            return False
        finally:
            native.helper().setns(self._home, native.CLONE_NEWNET)

    def release(self, namespace: NetNamespace) -> None:
        """Close a namespace and free its address. Its processes are gone already."""
        namespace.close()
        for bridge in self._bridges.values():
            bridge.used.discard(namespace.address)

    def close(self) -> None:
        """Remove the bridges and their rules."""
        for bridge in self._bridges.values():
            bridge.remove()
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._home >= 0:
            os.close(self._home)
            self._home = -1

    def _fresh(self, bridge: "_Bridge | None" = None, address: str = "") -> int:
        """Return a new namespace in which loopback works, and with a bridge the way out."""
        native.helper().unshare(native.CLONE_NEWNET)
        try:
            with contextlib.ExitStack() as stack:
                inside = Netlink()
                stack.callback(inside.close)
                fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                with contextlib.ExitStack() as undo:
                    undo.callback(os.close, fd)
                    cable = self._connect(bridge, fd, address) if bridge is not None else ()
                    inside.ask([bring_up("lo"), *cable])
                    undo.pop_all()
                return fd
        finally:
            native.helper().setns(self._home, native.CLONE_NEWNET)

    def _connect(self, bridge: "_Bridge", fd: int, address: str) -> list[Request]:
        """Lead a cable from the bridge into a namespace; return what is to be done at its other end."""
        if self._host is None:
            return []
        port = bridge.port
        # Nothing of IPv6 passes the bridge, and an address that nobody can use costs the kernel timers and packets.
        without_ipv6 = [forgo_ipv6] if self._has_ipv6 else []
        self._host.ask(
            [
                add_veth(port, master=bridge.index, peer=_DEVICE, peer_namespace_fd=fd),
                isolate_port(port),
                *(forgo(port) for forgo in without_ipv6),
                bring_up(port),
            ]
        )
        # This process stands in the new namespace.
        index = socket.if_nametoindex(_DEVICE)
        return [
            *(forgo(_DEVICE) for forgo in without_ipv6),
            add_address(index, address, bridge.network.prefixlen),
            bring_up(_DEVICE),
            add_default_route(index, bridge.gateway),
        ]


class _Bridge:
    """The bridge of all instances that may reach the same; it is made when the first of them is."""

    def __init__(self, kind: Network, pool: ipaddress.IPv4Network, switched_on: list[Path]) -> None:
        self.network = pool
        """Its own part of the pool once it is made."""
        self.index = 0
        """Of the device; 0: it is not made."""
        self.used: set[str] = set()
        self._kind = kind
        self._pool = pool
        self._name = f"fgs{os.getpid()}{_BRIDGE_SUFFIX[kind]}"
        self._serial = 0
        self._switched_on = switched_on
        """Devices that forward because of us; all bridges have one list, and the last to go ends it."""

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.network.network_address + 1)

    @property
    def port(self) -> str:
        """Name of the host's end of the cable to the address that was taken last."""
        return f"fgs{os.getpid()}{_PORT_LETTER[self._kind]}{self._serial}"

    def take_address(self) -> str:
        """Return an address that nobody has.

        Raises:
            SandboxError: all are in use.
        """
        # The first address is the bridge's; names and addresses are not reused before they are free.
        hosts = self.network.num_addresses - 3
        for _ in range(hosts):
            self._serial = self._serial % hosts + 1
            address = str(self.network.network_address + 1 + self._serial)
            if address not in self.used:
                self.used.add(address)
                return address
        raise SandboxError(f"Every address of {self.network} is in use: widen nat_network.")

    def make(self) -> None:
        """Make the device and its rules.

        Raises:
            SandboxError: nothing of it is left.
        """
        self.network = _free_part(self._pool)
        try:
            _ip(
                f"link add name {self._name} type bridge",
                f"addr add {self.gateway}/{self.network.prefixlen} dev {self._name}",
                f"link set dev {self._name} up",
            )
            own_rule = _OWN_RULES[self._kind].format(bridge=self._name)
            rules = _RULES.format(table=self._name, bridge=self._name, network=self.network, own_rule=own_rule)
            _run("nft", ["-f", "-"], rules)
            for device in _routed_devices():
                switch = _CONF / device / "forwarding"
                if switch.read_text().strip() == "0":
                    switch.write_text("1")
                    self._switched_on.append(switch)
            self.index = socket.if_nametoindex(self._name)
        except (SandboxError, OSError) as error:
            self._undo()
            raise SandboxError(f"The bridge for functions with a network cannot be made: {error}.") from error

    def remove(self) -> None:
        """Remove what `make` made; nothing happens if there is nothing."""
        if self.index:
            self._undo()

    def _undo(self) -> None:
        _remove(self._name)
        self.index = 0
        if any(Path("/sys/class/net").glob("fgs*")):
            return  # another bridge of this host, or another server on it, forwards as well
        for switch in self._switched_on:
            with contextlib.suppress(OSError):  # the device has gone
                switch.write_text("0")
        self._switched_on.clear()


def _sent() -> int:
    """Return how many packets were sent, or were to be sent, in the present namespace."""
    devices = (_STATISTICS / "dev").read_text().splitlines()[2:]
    names, counts = (line.split() for line in (_STATISTICS / "snmp").read_text().splitlines()[:2])
    tried = sum(int(counts[names.index(name)]) for name in ("OutRequests", "OutDiscards", "OutNoRoutes"))
    return tried + sum(int(line.partition(":")[2].split()[_SENT_PACKETS]) for line in devices)


def _routed_devices() -> set[str]:
    """Devices with routes, the bridge among them: packets are forwarded by the rule of the device they come from."""
    return {line.split()[0] for line in Path("/proc/net/route").read_text().splitlines()[1:]}


def _free_part(pool: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
    """Return a part of the pool that no route of this host overlaps: several servers may share a host.

    Raises:
        SandboxError: all parts are routed already.
    """
    routed = [_destination(line.split()) for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    for part in pool.subnets(new_prefix=max(pool.prefixlen, _PART_PREFIX)):
        if not any(part.overlaps(route) for route in routed if route.prefixlen):
            return part
    raise SandboxError(f"Every address of {pool} is routed on this host already: set another nat_network.")


def _destination(row: Sequence[str]) -> ipaddress.IPv4Network:
    address, mask = (socket.ntohl(int(row[index], 16)) for index in (1, 7))
    return ipaddress.IPv4Network((address, mask.bit_count()))


def _find(tool: str) -> str | None:
    return shutil.which(tool, path=_SYSTEM_PATH)


def _ip(*lines: str) -> None:
    _run("ip", ["-batch", "-"], "\n".join(lines) + "\n")


def _run(tool: str, arguments: Sequence[str], text: str) -> str:
    try:
        result = subprocess.run(  # noqa: S603  # our own words only
            [_find(tool) or tool, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        raise SandboxError(f"{tool}: {error.stderr.strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"{tool}: {error}") from error
    return result.stdout


def _remove(bridge: str) -> None:
    with contextlib.suppress(SandboxError):
        _run("nft", ["delete", "table", "inet", bridge], "")
    with contextlib.suppress(SandboxError):
        _ip(f"link del dev {bridge}")


def _remove_leftovers() -> None:
    for device in Path("/sys/class/net").glob("fgs*"):
        found = _BRIDGE.fullmatch(device.name)
        if found and not Path("/proc", found[1]).exists():
            _remove(device.name)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SandboxError(f"{what}: {error}.") from error
