OP_WRITE_FD: int
OP_SETNS: int
OP_HOSTNAME: int
OP_LOOPBACK_UP: int
OP_PROPAGATION: int
OP_MKDIR: int
OP_TOUCH: int
OP_SYMLINK: int
OP_MOUNT: int
OP_BIND: int
OP_MOVE: int
OP_SETATTR: int
OP_PIVOT: int
OP_CHDIR: int
OP_RLIMIT: int
OP_BATCH: int
OP_SETSID: int
OP_DROP_BOUNDING: int
OP_IDS: int
OP_UNSHARE: int
OP_MAP_IDS: int
OP_DROP_CAPS: int
OP_PDEATHSIG: int
OP_NO_NEW_PRIVS: int
OP_SECCOMP: int
OP_INIT: int
OP_DESCRIPTORS: int
OP_EXEC: int
OP_RESUME: int

def spawn(
    steps: list[tuple[int, int, int, int, bytes, bytes]],
    argv: list[bytes],
    envp: list[bytes],
    flags: int,
    cgroup_fd: int,
    error_fd: int,
    /,
) -> tuple[int, int]: ...
def fork(steps: list[tuple[int, int, int, int, bytes, bytes]], flags: int, cgroup_fd: int, error_fd: int, /) -> int: ...
def unshare(flags: int, /) -> None: ...
def setns(fd: int, kind: int, /) -> None: ...
def set_parent_death_signal(signal: int, /) -> None: ...
def clone_tree(path: str, attributes: int, is_share: bool = False, owners_fd: int = -1, /) -> int: ...
def owners(uid_map: str, gid_map: str, /) -> int: ...
def attach(tree_fd: int, path: str, /) -> None: ...
def mount_detached(kind: str, source: str, attributes: int, /) -> int: ...
def mount(kind: str, source: str, path: str, flags: int, options: str, /) -> None: ...
def unmount(path: str, /) -> None: ...
def take_meters(peak_fd: int, cpu_fd: int, /) -> tuple[int, float]: ...
