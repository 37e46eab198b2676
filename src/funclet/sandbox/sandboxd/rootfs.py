"""What an instance sees as its file system, as steps for the child.

`Skeleton` prepares once what all instances share; `plan` gives the steps of one.
The root is a tmpfs of folders and links, read-only in the end; everything with
content is a read-only bind of the host, except `/tmp`.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.native import Step
from funclet.sandbox.sandboxd.messages import Create, Keep
from funclet.sandbox.sandboxd.shares import Own

USER_ID = 1003
CODE_ROOT = "/opt/function/code"
RUNTIME_ROOT = "/home/snuser/runtime"
WORKING_DIRECTORY = "/opt/function"

HELPER = "/tmp/native.so"  # noqa: S108  # on a root that nobody can write to
"""Where a zygote finds the C module."""
_TMP = "tmp"
_READ_ONLY = native.ATTR_RDONLY | native.ATTR_NOSUID | native.ATTR_NODEV
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# The lib folder is covered by the code. A process that is started before it has code must see one all the same: a
# folder of LD_LIBRARY_PATH that is not there at the first search is never searched again.
_FOLDERS = (
    "dev", "etc", "home", "home/snuser", "home/snuser/log", "home/snuser/runtime", "mnt", "opt", "opt/function",
    "opt/function/code", "opt/function/code/lib", "opt/function/runtime", "proc", "tmp", "usr", "var",
)  # fmt: skip
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_SEALED_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_EMPTY_PROC_FILES = ("kcore", "keys", "kmsg", "sched_debug", "timer_list", "kallsyms", "key-users")
_EMPTY_PROC_FOLDERS = ("acpi", "scsi")

_COPIED_FROM_ETC = (
    "alternatives", "ca-certificates.conf", "crypto-policies", "fonts", "gai.conf", "host.conf", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "mime.types", "pki/ca-trust/extracted", "pki/tls/certs", "protocols", "services",
    "ssl/certs", "ssl/openssl.cnf",
)  # fmt: skip
_COPIED_PATTERNS = ("java*", "php*")
_ETC = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\nsnuser:x:{USER_ID}:{USER_ID}::/home/snuser:/bin/sh\n",
    "group": f"root:x:0:\nsnuser:x:{USER_ID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hostname": "function\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmp:
    """Where `/tmp` comes from: a detached mount, or (-1) a tmpfs that counts as memory."""

    mount_fd: int = -1


class Skeleton:
    """What all instances share: the folder their root is mounted on, and an `/etc` of our own."""

    def __init__(self, folder: Path, *, nameservers: tuple[str, ...]) -> None:
        self._mount_point = folder / "root"
        self._etc = folder / "etc"
        self._nameservers = nameservers
        self._shared_steps: tuple[Step, ...] = ()
        self._process_steps: tuple[Step, ...] = ()

    def build(self) -> None:
        """Write the shared files and steps. The copies of host files are those of this moment."""
        self._mount_point.mkdir(parents=True, exist_ok=True)
        self._etc.mkdir(exist_ok=True)
        host = Path("/etc")
        for name in (*_COPIED_FROM_ETC, *(path.name for pattern in _COPIED_PATTERNS for path in host.glob(pattern))):
            _copy(host / name, self._etc / name)
        for name, text in _ETC.items():
            (self._etc / name).write_text(text)
        lines = "".join(f"nameserver {address}\n" for address in self._nameservers)
        (self._etc / "resolv.conf").write_text(lines)
        for path in (self._etc, *self._etc.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() else 0o644)
        root = str(self._mount_point)
        self._process_steps = _process_files(root)
        self._shared_steps = (
            Step("PROPAGATION", a=native.MS_REC | native.MS_PRIVATE, s=b"/"),
            _mount(root, "tmpfs", "mode=755,size=1m,nr_inodes=1024", native.MS_NOSUID | native.MS_NODEV),
            *(_folder(root, name) for name in _FOLDERS),
            *_system(root),
            _bind(root, "etc", self._etc),
            *_devices(root),
        )

    def plan(
        self, spec: Create, *, interpreter: str, prefixes: Sequence[Path], tmp: Tmp, own: Sequence[Own] = ()
    ) -> list[Step]:
        """Return the steps that build and enter the root of one instance.

        Args:
            spec: what was asked for, checked. With an empty code folder the code comes later, see `mount_code`.
            interpreter: where the interpreter is seen inside.
            prefixes: host folders of an interpreter outside `/usr`; seen at the same paths inside.
            tmp: where `/tmp` comes from.
            own: what only this instance is shown.
        """
        root = str(self._mount_point)
        steps = [*self._shared_steps, *self._process_steps, *_languages(root, spec, prefixes)]
        if spec.code_dir:
            steps.append(_bind(root, CODE_ROOT, Path(spec.code_dir)))
        for source, target in spec.extra_read_only.items():
            steps += [*_folders_to(root, target), _bind(root, target, Path(source))]
        for one in own:
            steps += [*(_folders_to(root, one.target) if one.is_folder else ()), _move(root, one)]
        return [
            *steps,
            # The links come last, so that no folder above is ever made through one of them.
            *_links(root, spec.interpreter_links, interpreter),
            _temporary(root, tmp, spec.tmp_mib),
            *_enter(root),
        ]

    def plan_template(self, spec: Keep, *, interpreter: str, prefixes: Sequence[Path], helper: Path) -> list[Step]:
        """Return the steps that build and enter the root of a zygote: all that its forks have in common.

        `helper` is shown at `HELPER`, which the `/tmp` of a fork covers.
        """
        root = str(self._mount_point)
        return [
            *self._shared_steps,
            *_languages(root, spec, prefixes),
            *_links(root, spec.interpreter_links, interpreter),
            Step("TOUCH", s=_inside(root, HELPER)),
            _bind(root, HELPER, helper),
            *_enter(root),
        ]

    def remove(self) -> None:
        """Delete the shared files."""
        shutil.rmtree(self._etc, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._mount_point.rmdir()


def plan_fork(spec: Create, *, tmp: Tmp, code_fd: int) -> list[Step]:
    """Return the steps that make a copy of a zygote's root that of one instance: what is its own comes above it.

    Args:
        spec: what was asked for.
        tmp: where `/tmp` comes from.
        code_fd: detached mount of the code; -1: it comes later, see `mount_code`.
    """
    steps = [*_process_files(""), _temporary("", tmp, spec.tmp_mib)]
    if code_fd >= 0:
        steps.append(Step("MOVE", a=code_fd, s=CODE_ROOT.encode()))
    return steps


def open_code(code_dir: str) -> int:
    """Return a detached, read-only mount of a folder without symbolic links in its path; the caller closes it."""
    return native.helper().clone_tree(code_dir, _READ_ONLY)


def _languages(root: str, spec: Keep, prefixes: Sequence[Path]) -> Iterator[Step]:
    yield _bind(root, RUNTIME_ROOT, Path(spec.runtime_dir))
    for prefix in prefixes:
        yield from _folders_to(root, str(prefix))
        yield _bind(root, str(prefix), prefix)


def _enter(root: str) -> Iterator[Step]:
    yield Step("PIVOT", s=os.fsencode(root))
    # Only the mount of the root itself: the attribute is set recursively, and /tmp must stay writable.
    yield Step("MOUNT", a=native.MS_RDONLY | native.MS_NOSUID | native.MS_NODEV | _REMOUNT_BIND, s=b"/", t=b"\0")
    yield Step("CHDIR", s=WORKING_DIRECTORY.encode())


_REMOUNT_BIND = 32 | 4096


def mount_code(pidfd: int, code_dir: str, home_fd: int) -> None:
    """Mount code into an instance that runs already.

    Args:
        pidfd: of a process in it.
        code_dir: host folder; no part of its path may be a symbolic link.
        home_fd: the mount namespace of this process, which has one thread.

    Raises:
        OSError: nothing was mounted.
    """
    helper = native.helper()
    with contextlib.ExitStack() as stack:
        tree = open_code(code_dir)
        stack.callback(os.close, tree)
        helper.setns(pidfd, native.CLONE_NEWNS)
        stack.callback(helper.setns, home_fd, native.CLONE_NEWNS)
        helper.attach(tree, CODE_ROOT)


def remove_dead_folders(parent: Path, prefix: str) -> None:
    """Delete what a sandboxd that is dead has left: folders whose names are the prefix and its pid."""
    for folder in parent.glob(f"{prefix}[0-9]*"):
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    # An unreadable or half-made file of the host is left out; what needs it says so by itself.
    with contextlib.suppress(OSError, shutil.Error):
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)


def _inside(root: str, path: str) -> bytes:
    return os.fsencode(f"{root}/{path.lstrip('/')}")


def _folder(root: str, path: str, mode: int = 0o755) -> Step:
    return Step("MKDIR", a=mode, s=_inside(root, path))


def _folders_to(root: str, path: str) -> Iterator[Step]:
    for parent in reversed(Path(path.lstrip("/")).parents[:-1]):
        yield _folder(root, str(parent))
    yield _folder(root, path)


def _mount(target: str, kind: str, options: str, flags: int) -> Step:
    return Step("MOUNT", a=flags, s=os.fsencode(target), t=f"{kind}\0{options}".encode())


def _bind(root: str, target: str, source: Path, attributes: int = _READ_ONLY, *, optional: bool = False) -> Step:
    return Step("BIND", a=attributes, b=int(optional), s=_inside(root, target), t=os.fsencode(source))


def _move(root: str, own: Own) -> Step:
    return Step("MOVE", a=own.fd, s=_inside(root, own.target))


def _system(root: str) -> Iterator[Step]:
    yield _bind(root, "usr", Path("/usr"))
    for name in _SYSTEM_FOLDERS:
        host = Path("/", name)
        if host.is_symlink():
            yield Step("SYMLINK", s=_inside(root, name), t=os.fsencode(host.readlink()))
        elif host.is_dir():
            yield _folder(root, name)
            yield _bind(root, name, host)


def _devices(root: str) -> Iterator[Step]:
    for name in _DEVICES:
        yield Step("TOUCH", s=_inside(root, f"dev/{name}"))
        yield _bind(root, f"dev/{name}", Path("/dev", name), native.ATTR_NOSUID | native.ATTR_NOEXEC)
    for name, target in _DEVICE_LINKS.items():
        yield Step("SYMLINK", s=_inside(root, f"dev/{name}"), t=target.encode())


@cache
def _process_files(root: str) -> tuple[Step, ...]:
    """Return the steps of a /proc of the own pid namespace, with the parts that speak of the host covered."""
    hidden = _READ_ONLY | native.ATTR_NOEXEC
    files = [name for name in _EMPTY_PROC_FILES if Path("/proc", name).exists()]
    folders = [name for name in _EMPTY_PROC_FOLDERS if Path("/proc", name).exists()]
    return (
        _mount(f"{root}/proc", "proc", "", native.MS_NOSUID | native.MS_NODEV | native.MS_NOEXEC),
        *(_bind(root, f"proc/{name}", Path(f"{root}/proc/{name}"), hidden, optional=True) for name in _SEALED_PROC),
        *(
            _bind(root, f"proc/{name}", Path("/dev/null"), native.ATTR_NOSUID | native.ATTR_NOEXEC, optional=True)
            for name in files
        ),
        *(_mount(f"{root}/proc/{name}", "tmpfs", "size=0,mode=555", native.MS_RDONLY) for name in folders),
    )


def _links(root: str, links: tuple[str, ...], interpreter: str) -> Iterator[Step]:
    for link in links:
        path = f"/opt/function/runtime/{link}"
        yield from _folders_to(root, str(Path(path).parent))
        yield Step("SYMLINK", s=_inside(root, path), t=os.fsencode(interpreter))


def _temporary(root: str, tmp: Tmp, size_mib: int) -> Step:
    if tmp.mount_fd >= 0:
        return Step("MOVE", a=tmp.mount_fd, s=_inside(root, _TMP))
    options = f"mode=1777,size={size_mib}m,nr_inodes={size_mib * 32}"
    return _mount(f"{root}/{_TMP}", "tmpfs", options, native.MS_NOSUID | native.MS_NODEV)
