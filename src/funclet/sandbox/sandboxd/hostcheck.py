"""What this host offers for isolation, found by trying it.

`check_isolation` is for `fgs doctor`; sandboxd sends the same lines to the server.
"""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.native import Step
from funclet.sandbox.protocol import HostCheck, SandboxError
from funclet.sandbox.sandboxd import cgroups
from funclet.sandbox.sandboxd.network import Networks
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox.sandboxd.tmpdisk import TmpDisks
from funclet.sandbox.seccomp import build_filter

_RESOLVER_FILES = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_NAMESPACES = {
    "pid": native.CLONE_NEWPID,
    "mount": native.CLONE_NEWNS,
    "ipc": native.CLONE_NEWIPC,
    "uts": native.CLONE_NEWUTS,
    "network": native.CLONE_NEWNET,
}
_MAX_NAMESERVERS = 3


def check_isolation(settings: SandboxdSettings) -> Sequence[HostCheck]:
    """Try each ingredient as the user of this process. Takes some milliseconds and changes nothing."""
    is_root = os.geteuid() == 0
    if not native.is_available():
        detail = "the helper is missing: install a C compiler and reinstall funclet"
        return [HostCheck(name="native helper", ok=False, detail=detail)]
    found = cgroups.detect() if is_root else None
    tmp_problem = TmpDisks(settings.image_folder).probe() if is_root else "only root can mount a disk"
    nat_problem = Networks(settings.nat_network).missing_for_nat() if is_root else "only root can make a bridge"
    return [
        HostCheck(name="native helper", ok=True, detail="built"),
        *_namespaces(is_root=is_root),
        _line(
            "control groups",
            found is not None and f"{found.version} with memory, cpu, pids",
            "none that this user may use: memory is polled and CPU is not limited; run as root",
        ),
        _filter(),
        _line(
            "disk of /tmp",
            not tmp_problem and "a disk of its own, not counted as memory",
            f"counts as memory: {tmp_problem}",
        ),
        _line("function network", not nat_problem and "NAT through a bridge", f"off only: {nat_problem}"),
    ]


def host_nameservers() -> tuple[str, ...]:
    """Return the host's resolvers that an instance with a network can reach."""
    for path in _RESOLVER_FILES:
        found = tuple(_nameservers(path))
        if found:
            return found[:_MAX_NAMESERVERS]
    return ()


def _nameservers(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            if address.version == 4 and not address.is_loopback:  # noqa: PLR2004
                yield str(address)


def _namespaces(*, is_root: bool) -> Iterator[HostCheck]:
    own = 0 if is_root else native.CLONE_NEWUSER
    mapping = f"0 {os.geteuid()} 1\n".encode(), f"0 {os.getegid()} 1\n".encode()
    steps = [] if is_root else [Step("MAP_IDS", s=mapping[0], t=mapping[1])]
    user = [Step("MAP_IDS", s=mapping[0], t=mapping[1])]
    failure = native.attempt(user, flags=native.CLONE_NEWUSER)
    advice = "set sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1 or the AppArmor restriction"
    yield _line("user namespaces", not failure and "work", f"{failure}: {advice}")
    for name, flag in _NAMESPACES.items():
        failure = native.attempt(steps, flags=flag | own)
        yield _line(f"{name} namespace", not failure and "works", f"{failure}: run as root, outside a container")
    mounts = [
        *steps,
        Step("PROPAGATION", a=native.MS_REC | native.MS_PRIVATE, s=b"/"),
        Step("MOUNT", a=native.MS_NOSUID | native.MS_NODEV | native.MS_NOEXEC, s=b"/proc", t=b"proc\0"),
    ]
    failure = native.attempt(mounts, flags=own | native.CLONE_NEWNS | native.CLONE_NEWPID)
    yield _line("own /proc", not failure and "mounts", f"{failure}: a container must not mask /proc")


def _filter() -> HostCheck:
    try:
        program = build_filter()
    except SandboxError as error:
        return HostCheck(name="system call filter", ok=False, detail=str(error))
    failure = native.attempt([Step("NO_NEW_PRIVS"), Step("SECCOMP", t=program)])
    return _line("system call filter", not failure and "loads", f"{failure}: the kernel needs CONFIG_SECCOMP_FILTER")


def _line(name: str, found: str | bool, otherwise: str) -> HostCheck:
    return HostCheck(name=name, ok=bool(found), detail=str(found) if found else otherwise)
