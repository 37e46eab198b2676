"""From a checked request to the list of steps: which confinement, in which order.

`full` confines with root's rights and ends as a user id of the slot's own;
`rootless` does the same as an ordinary user inside a user namespace.
"""

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.native import Step
from funclet.sandbox.protocol import SandboxError
from funclet.sandbox.sandboxd.messages import Create, Keep
from funclet.sandbox.sandboxd.rootfs import CODE_ROOT, RUNTIME_ROOT, USER_ID
from funclet.sandbox.sandboxd.settings import SandboxdSettings

_NAMESPACES = native.CLONE_NEWPID | native.CLONE_NEWNS | native.CLONE_NEWIPC | native.CLONE_NEWUTS
FULL_FLAGS = _NAMESPACES
ZYGOTE_FLAGS = native.CLONE_NEWNS | native.CLONE_NEWIPC | native.CLONE_NEWUTS | native.CLONE_NEWNET
"""No pid namespace: a zygote cannot make one for a sibling of its own from inside another."""
ROOTLESS_FLAGS = _NAMESPACES | native.CLONE_NEWUSER | native.CLONE_NEWNET
_SIGKILL = 9
_SYSTEM = Path("/usr")
_EXTRA_TARGETS = ("/mnt/", "/opt/", "/home/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the instance is outside and inside."""

    user_id: int
    """On the host."""
    use_user_namespace: bool
    """Inside it sees itself as 1003. Without, it sees `user_id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The child's ends of what connects it to the server."""

    connection: int
    log: int
    status: int
    """Init writes the interpreter's wait status here."""
    null: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Where the interpreter is."""

    inside: str
    """Its path in the sandbox."""
    prefixes: tuple[Path, ...] = ()
    """Host folders that must be shown at the same path: the installation, and the environment that leads to it."""

    def deciding_paths(self) -> Sequence[Path]:
        """Return what says which program this is and which modules it finds, as far as it is there."""
        program = Path(self.inside)
        homes = (*self.prefixes, program.parent.parent) if program.is_symlink() else self.prefixes
        found = [program.resolve()]
        for home in dict.fromkeys(homes):
            names = (home, home / "bin", home / "pyvenv.cfg", home / "lib")
            found += [*names, *home.glob("lib/*"), *home.glob("lib/*/site-packages")]
        return [path for path in found if path.exists()]


def check_paths(spec: Create, settings: SandboxdSettings) -> None:
    """Refuse host paths that the server has no business with.

    Raises:
        SandboxError: the path is named. Symbolic links below an allowed folder are refused later, when it is opened.
    """
    # A stem has no code yet.
    code = (spec.code_dir,) if spec.code_dir else ()
    for path in (*code, spec.runtime_dir, *spec.extra_read_only):
        if not _is_below(path, settings.allowed_folders):
            raise SandboxError(f"'{path}' is not below a folder that sandboxd may show to functions.")
    for target in spec.extra_read_only.values():
        if os.path.normpath(target) != target or not target.startswith(_EXTRA_TARGETS):
            raise SandboxError(f"Nothing can be shown at '{target}': only below /mnt, /opt and /home.")


def find_interpreter(spec: Keep, settings: SandboxdSettings) -> Interpreter:
    """Return where the interpreter will be seen.

    Raises:
        SandboxError: it is neither of the system, nor of a known installation, nor in the code or language folder.
    """
    code_dir = spec.code_dir if isinstance(spec, Create) else ""
    for folder, seen_at in ((code_dir, CODE_ROOT), (spec.runtime_dir, RUNTIME_ROOT)):
        if folder and _is_below(spec.interpreter, [Path(folder)]):
            return Interpreter(inside=seen_at + spec.interpreter.removeprefix(folder))
    real = os.path.realpath(spec.interpreter)
    installation = _installation_of(real, settings)
    if not _is_below(real, [_SYSTEM]) and installation is None:
        raise SandboxError(
            f"The interpreter '{spec.interpreter}' is outside /usr: name its installation in interpreter_prefixes."
        )
    folder, name = os.path.split(spec.interpreter)
    named = f"{os.path.realpath(folder)}/{name}"
    environment = _installation_of(named, settings)
    prefixes = dict.fromkeys(prefix for prefix in (installation, environment) if prefix is not None)
    # A link in an environment that is shown keeps its name: by it the program finds the libraries there.
    is_shown = environment is not None or _is_below(named, [_SYSTEM])
    return Interpreter(inside=named if is_shown else real, prefixes=tuple(prefixes))


def _installation_of(path: str, settings: SandboxdSettings) -> Path | None:
    """Return the folder of the operator's that a path is in; of several the outermost, which shows all of them."""
    found = [prefix.resolve() for prefix in settings.interpreter_prefixes]
    return min((prefix for prefix in found if _is_below(path, [prefix])), key=lambda one: len(one.parts), default=None)


def full_steps(
    spec: Create,
    ends: Ends,
    identity: Identity,
    root: Sequence[Step],
    namespace_fd: int,
    join_fds: Sequence[int],
    syscall_filter: bytes,
    interpreter: str,
) -> list[Step]:
    """Return the steps of level `full`."""
    return [
        *_full_steps(spec, identity, root, namespace_fd, join_fds),
        *_confine(ends, syscall_filter),
        exec_step(interpreter),
    ]


def _full_steps(
    spec: Create, identity: Identity, root: Sequence[Step], namespace_fd: int, join_fds: Sequence[int]
) -> list[Step]:
    return [
        Step("SETNS", a=namespace_fd, b=native.CLONE_NEWNET),
        Step("HOSTNAME", s=spec.name.encode()),
        *root,
        # After the mounts, so that they are not charged to the function.
        *(Step("WRITE_FD", a=fd, s=b"0") for fd in join_fds),
        Step("DROP_BOUNDING"),
        *identity_steps(identity),
        # After the steps that open files: sandboxd may hold more descriptors than a function may.
        *_limits(spec),
    ]


def exec_step(interpreter: str) -> Step:
    """Return the last step of a process that becomes another program."""
    return Step("EXEC", s=os.fsencode(interpreter))


def fork_steps(
    spec: Create,
    ends: Ends,
    identity: Identity,
    root: Sequence[Step],
    namespace_fd: int,
    join_fds: Sequence[int],
    syscall_filter: bytes,
) -> list[Step]:
    """Return the steps of level `full` for a fork of a zygote."""
    return [
        *_full_steps(spec, identity, root, namespace_fd, join_fds),
        *_confine(ends, syscall_filter, is_fork=True),
        Step("RESUME"),
    ]


def zygote_steps(root: Sequence[Step], ends: Ends) -> list[Step]:
    """Return the steps of a zygote, which keeps root's rights and sees nothing but its root."""
    return [
        *root,
        Step("PDEATHSIG", a=_SIGKILL),
        Step("SETSID"),
        Step("DESCRIPTORS", a=ends.null, b=ends.log, c=ends.connection),
    ]


def identity_steps(identity: Identity) -> list[Step]:
    """Return the steps from root to the slot's own user, seen as 1003 from inside where the kernel allows it."""
    user = identity.user_id
    steps = [Step("IDS", a=user, b=user)]
    if identity.use_user_namespace:
        steps += [Step("UNSHARE", a=native.CLONE_NEWUSER), _map(user, user)]
    return steps


def rootless_steps(
    spec: Create, ends: Ends, root: Sequence[Step], syscall_filter: bytes, interpreter: str
) -> list[Step]:
    """Return the steps of level `rootless`."""
    return [
        _map(os.getuid(), os.getgid()),
        Step("LOOPBACK_UP"),
        Step("HOSTNAME", s=spec.name.encode()),
        *root,
        *_limits(spec),
        *_confine(ends, syscall_filter),
        exec_step(interpreter),
    ]


def _confine(ends: Ends, syscall_filter: bytes, *, is_fork: bool = False) -> list[Step]:
    return [
        # A new user namespace gave every capability over itself; none is needed any more.
        Step("DROP_BOUNDING"),
        Step("DROP_CAPS"),
        # Not earlier: a change of user clears it.
        Step("PDEATHSIG", a=_SIGKILL),
        Step("NO_NEW_PRIVS"),
        Step("SECCOMP", t=syscall_filter),
        Step("INIT", a=1, b=ends.status, c=int(is_fork)),
        Step("SETSID"),
        Step("DESCRIPTORS", a=ends.null, b=ends.log, c=ends.connection),
    ]


def _limits(spec: Create) -> list[Step]:
    return [
        native.limit_step(resource.RLIMIT_NOFILE, spec.open_files),
        # One more than asked for: init counts as well.
        native.limit_step(resource.RLIMIT_NPROC, spec.processes + 1),
        native.limit_step(resource.RLIMIT_CORE, 0),
        # The server wakes an instance for each request, and must not lose its processor to it in the middle of a pass.
        Step("BATCH"),
    ]


def _map(user: int, group: int) -> Step:
    return Step("MAP_IDS", s=f"{USER_ID} {user} 1\n".encode(), t=f"{USER_ID} {group} 1\n".encode())


def _is_below(path: str, folders: Sequence[Path]) -> bool:
    normal = os.path.normpath(path)
    return normal == path and path.startswith("/") and any(normal.startswith(f"{folder}/") for folder in folders)
