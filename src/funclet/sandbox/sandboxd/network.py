"""Network namespaces of instances: loopback only, or a way out through NAT.

`Networks.make` returns a namespace to join. NAT is a bridge of our own and an
nftables table, made at first use with iproute2 and nft and removed at the end,
and one veth pair per instance, for which no other program is started.
"""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.protocol import SandboxError
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
"""Addresses of one server: 4093 instances."""
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
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {network} oifname != "{bridge}" masquerade
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class NetNamespace:
    """A network namespace without processes. The caller owns the descriptor; closing it gives everything back."""

    fd: int
    address: str
    """Its own address behind NAT; empty when it has only loopback."""

    def close(self) -> None:
        """Give it back; the veth pair goes with it."""
        os.close(self.fd)


class Networks:
    """Makes network namespaces. The process must be single-threaded: it visits each new namespace itself."""

    def __init__(self, network: str) -> None:
        self._pool = ipaddress.IPv4Network(network)
        self._network = self._pool
        self._bridge = f"fgs{os.getpid()}"
        self._home = -1
        self._host: Netlink | None = None
        self._bridge_index = 0
        self._has_ipv6 = Path("/proc/net/if_inet6").exists()
        self._serial = 0
        self._used: set[str] = set()
        self._switched_on: list[Path] = []

    def open(self) -> None:
        """Remember the host's own namespace and remove what a dead sandboxd left."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._host = Netlink()
        _remove_leftovers()

    def missing_for_nat(self) -> str:
        """Return an empty string, or what to install before `Network.NAT` works."""
        missing = [package for tool, package in _PACKAGES.items() if _find(tool) is None]
        return f"install {' and '.join(missing)}" if missing else ""

    def make(self, *, nat: bool) -> NetNamespace:
        """Return a fresh namespace.

        Raises:
            SandboxError: the kernel refused, or NAT lacks a program or a free address.
        """
        if not nat:
            with _named("A network namespace cannot be made"):
                return NetNamespace(self._fresh(), "")
        self._make_bridge()
        address = self._take_address()
        try:
            with _named("A network namespace with a way out cannot be made"):
                return NetNamespace(self._fresh(address), address)
        except SandboxError:
            self._used.discard(address)
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
        self._used.discard(namespace.address)

    def close(self) -> None:
        """Remove the bridge and its rules."""
        if self._bridge_index:
            self._remove_bridge()
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._home >= 0:
            os.close(self._home)
            self._home = -1

    def _fresh(self, address: str = "") -> int:
        """Return a new namespace in which loopback works, and with an address the way out."""
        native.helper().unshare(native.CLONE_NEWNET)
        try:
            with contextlib.ExitStack() as stack:
                inside = Netlink()
                stack.callback(inside.close)
                fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                with contextlib.ExitStack() as undo:
                    undo.callback(os.close, fd)
                    inside.ask([bring_up("lo"), *self._connect(fd, address)])
                    undo.pop_all()
                return fd
        finally:
            native.helper().setns(self._home, native.CLONE_NEWNET)

    def _take_address(self) -> str:
        # The first address is the bridge's; names and addresses are not reused before they are free.
        hosts = self._network.num_addresses - 3
        for _ in range(hosts):
            self._serial = self._serial % hosts + 1
            address = str(self._network.network_address + 1 + self._serial)
            if address not in self._used:
                self._used.add(address)
                return address
        raise SandboxError(f"Every address of {self._network} is in use: widen nat_network.")

    def _connect(self, fd: int, address: str) -> list[Request]:
        """Lead a cable from the bridge into a namespace; return what is to be done at its other end."""
        if not address or self._host is None:
            return []
        port = f"{self._bridge}v{self._serial}"
        # Nothing of IPv6 passes the bridge, and an address that nobody can use costs the kernel timers and packets.
        without_ipv6 = [forgo_ipv6] if self._has_ipv6 else []
        self._host.ask(
            [
                add_veth(port, master=self._bridge_index, peer=_DEVICE, peer_namespace_fd=fd),
                isolate_port(port),
                *(forgo(port) for forgo in without_ipv6),
                bring_up(port),
            ]
        )
        # This process stands in the new namespace.
        index = socket.if_nametoindex(_DEVICE)
        return [
            *(forgo(_DEVICE) for forgo in without_ipv6),
            add_address(index, address, self._network.prefixlen),
            bring_up(_DEVICE),
            add_default_route(index, str(self._network.network_address + 1)),
        ]

    def _make_bridge(self) -> None:
        if self._bridge_index:
            return
        missing = self.missing_for_nat()
        if missing:
            raise SandboxError(f"Functions cannot be given a network: {missing}.")
        self._network = _free_part(self._pool)
        gateway = self._network.network_address + 1
        try:
            _ip(
                f"link add name {self._bridge} type bridge",
                f"addr add {gateway}/{self._network.prefixlen} dev {self._bridge}",
                f"link set dev {self._bridge} up",
            )
            rules = _RULES.format(table=self._bridge, bridge=self._bridge, network=self._network)
            _run("nft", ["-f", "-"], rules)
            for device in _routed_devices():
                switch = _CONF / device / "forwarding"
                if switch.read_text().strip() == "0":
                    switch.write_text("1")
                    self._switched_on.append(switch)
            self._bridge_index = socket.if_nametoindex(self._bridge)
        except (SandboxError, OSError) as error:
            self._remove_bridge()
            raise SandboxError(f"The bridge for functions with a network cannot be made: {error}.") from error

    def _remove_bridge(self) -> None:
        _remove(self._bridge)
        self._bridge_index = 0
        if any(Path("/sys/class/net").glob("fgs*[0-9]")):
            return  # another server on this host forwards as well
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
        pid = device.name.removeprefix("fgs")
        if pid.isdigit() and not Path("/proc", pid).exists():
            _remove(device.name)


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SandboxError(f"{what}: {error}.") from error
