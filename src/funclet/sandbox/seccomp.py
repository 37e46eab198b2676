"""The system call filter of an instance, as BPF bytes made once per machine kind.

`build_filter` is the first function to read. It is a deny list: what a language
runtime needs stays open, what only an administrator or an attacker needs does not.
"""

import errno
import platform
import struct

from funclet.sandbox.protocol import SandboxError

_X86_64 = {
    "ptrace": 101, "syslog": 103, "personality": 135, "ustat": 136, "sysfs": 139, "pivot_root": 155, "adjtimex": 159,
    "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175,
    "delete_module": 176, "quotactl": 179, "nfsservctl": 180, "modify_ldt": 154, "vhangup": 153, "uselib": 134,
    "_sysctl": 156, "lookup_dcookie": 212, "clock_settime": 227, "kexec_load": 246, "add_key": 248,
    "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298, "fanotify_init": 300,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "clone": 56, "socket": 41, "ioctl": 16,
}  # fmt: skip

_AARCH64 = {
    "ptrace": 117, "syslog": 116, "personality": 92, "pivot_root": 41, "adjtimex": 171, "chroot": 51, "acct": 89,
    "settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142, "sethostname": 161,
    "setdomainname": 162, "init_module": 105, "delete_module": 106, "quotactl": 60, "nfsservctl": 42, "vhangup": 58,
    "lookup_dcookie": 18, "clock_settime": 112, "kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219,
    "unshare": 97, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "finit_module": 273, "kexec_file_load": 294, "bpf": 280, "userfaultfd": 282, "clone": 220, "socket": 198,
    "ioctl": 29,
}  # fmt: skip

# Since 5.0 a number means the same on every machine.
_COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438,
    "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443, "statmount": 457, "listmount": 458,
    "open_tree_attr": 467,
}  # fmt: skip

_CHECKED = frozenset({"clone", "clone3", "socket", "personality", "ioctl"})
"""Calls that are neither open nor closed: some arguments pass."""

_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

_LOAD, _JUMP_EQUAL, _JUMP_GE, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24
_X32_BIT = 0x40000000

_NEW_NAMESPACES = 0x7E020080
"""Every `CLONE_NEW*` flag."""
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK."""
_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, 32 bits of it, the old version number, both, and the question which it is."""
_TERMINAL_TRICKS = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: typing into somebody's terminal."""


def build_filter(machine: str | None = None) -> bytes:
    """Return the program for this machine, or for `machine` (`x86_64` or `aarch64`).

    Raises:
        SandboxError: no table of system calls for such a machine.
    """
    name = machine or platform.machine()
    if name not in _MACHINES:
        raise SandboxError(f"There is no system call filter for machine '{name}'.")
    architecture, own = _MACHINES[name]
    numbers = own | _COMMON
    program = [
        _row(_LOAD, _ARCHITECTURE),
        _row(_JUMP_EQUAL, architecture, yes=1),
        _row(_RETURN, _KILL),
        _row(_LOAD, _NUMBER),
        _row(_JUMP_GE, _X32_BIT, no=1),
        _row(_RETURN, _KILL),
    ]
    for call in sorted(numbers.keys() - _CHECKED):
        program += [_row(_JUMP_EQUAL, numbers[call], no=1), _deny(errno.EPERM)]
    # ENOSYS sends the C library to `clone`, whose flags a filter can read.
    program += [_row(_JUMP_EQUAL, numbers["clone3"], no=1), _deny(errno.ENOSYS)]
    program += _when(
        numbers["clone"], [_row(_LOAD, _ARGUMENT_0), _row(_JUMP_ANY_BIT, _NEW_NAMESPACES, no=1), _deny(errno.EPERM)]
    )
    program += _when(numbers["socket"], _only(_ARGUMENT_0, _FAMILIES, errno.EAFNOSUPPORT))
    program += _when(numbers["personality"], _only(_ARGUMENT_0, _PERSONALITIES, errno.EPERM))
    program += _when(numbers["ioctl"], _never(_ARGUMENT_1, _TERMINAL_TRICKS))
    program.append(_row(_RETURN, _ALLOW))
    return b"".join(program)


def _row(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _deny(number: int) -> bytes:
    return _row(_RETURN, _ERRNO | number)


def _when(call: int, rows: list[bytes]) -> list[bytes]:
    """Run `rows` for one call only; whatever they let through is allowed."""
    return [_row(_JUMP_EQUAL, call, no=len(rows) + 1), *rows, _row(_RETURN, _ALLOW)]


def _only(argument: int, values: tuple[int, ...], number: int) -> list[bytes]:
    tests = [_row(_JUMP_EQUAL, value, yes=len(values) - index) for index, value in enumerate(values)]
    return [_row(_LOAD, argument), *tests, _deny(number)]


def _never(argument: int, values: tuple[int, ...]) -> list[bytes]:
    rows = [_row(_LOAD, argument)]
    for value in values:
        rows += [_row(_JUMP_EQUAL, value, no=1), _deny(errno.EPERM)]
    return rows
