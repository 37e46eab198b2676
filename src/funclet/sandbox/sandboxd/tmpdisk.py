"""A `/tmp` of limited size that does not count as memory: a loop device with ext4 on a sparse file without a name.

`TmpDisks.make` returns a detached mount. Nothing has to be cleaned up: when the
last descriptor and mount are gone, the kernel gives back device and file, also
after a SIGKILL of this process.
"""

import fcntl
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from funclet.sandbox import native
from funclet.sandbox.protocol import SandboxError

_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_AUTOCLEAR, _DIRECT_IO = 4, 16
_BLOCK_BYTES = 4096
_MIB = 1024 * 1024
_INODES_PER_MIB = 32
_ATTEMPTS = 16
_MKFS_TIMEOUT_S = 60
_TEMPLATES_KEPT = 4


@dataclass(frozen=True, slots=True)
class TmpDisk:
    """A mounted file system that no folder shows yet. The caller owns both descriptors."""

    mount_fd: int
    root_fd: int
    """Its root, for `fstat` and `fstatvfs` only."""
    device: str
    """Path of its loop device, which is its own as long as the disk is mounted."""
    fresh: tuple[int, ...]
    """What `_state` said before anybody had it."""

    def is_untouched(self) -> bool:
        """Tell whether nobody has made, changed or even looked for a file in it."""
        return _state(self.root_fd) == self.fresh

    def mounted_again(self) -> "TmpDisk":
        """Return the same disk with a mount that no folder shows. It takes the root's descriptor over.

        Raises:
            OSError: it cannot be mounted.
        """
        return TmpDisk(_mount_device(self.device), self.root_fd, self.device, self.fresh)

    def close(self) -> None:
        """Give it back."""
        os.close(self.mount_fd)
        os.close(self.root_fd)


class TmpDisks:
    """Makes file systems of a given size from a formatted template."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[int, int] = {}

    def probe(self) -> str:
        """Return an empty string, or why this host cannot do it."""
        if shutil.which("mkfs.ext4") is None:
            return "mkfs.ext4 is missing: install the package e2fsprogs"
        if not Path("/dev/loop-control").exists():
            return "/dev/loop-control is missing: load the kernel module loop"
        try:
            self.make(16).close()
        except SandboxError as error:
            return str(error)
        return ""

    def make(self, size_mib: int) -> TmpDisk:
        """Return a fresh file system with room for about `size_mib`.

        Raises:
            SandboxError: no device, no space, or no permission.
        """
        try:
            image = self._copy(self._template(size_mib), _bytes(size_mib))
            try:
                return self._mount(image)
            finally:
                os.close(image)
        except (OSError, subprocess.SubprocessError) as error:
            raise SandboxError(f"A disk for /tmp cannot be made in '{self._folder}': {error}.") from error

    def close(self) -> None:
        """Forget the templates."""
        for fd in self._templates.values():
            os.close(fd)
        self._templates.clear()

    def _nameless_file(self, size: int) -> int:
        fd = os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, size)
        return fd

    def _template(self, size_mib: int) -> int:
        if size_mib not in self._templates:
            if len(self._templates) >= _TEMPLATES_KEPT:
                os.close(self._templates.pop(next(iter(self._templates))))
            self._templates[size_mib] = self._format(size_mib)
        return self._templates[size_mib]

    def _format(self, size_mib: int) -> int:
        fd = self._nameless_file(_bytes(size_mib))
        command = [
            "mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(_BLOCK_BYTES), "-N", str(size_mib * _INODES_PER_MIB),
            "-O", "^has_journal,^resize_inode", "-E", "nodiscard,lazy_itable_init=1", f"/proc/self/fd/{fd}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=_MKFS_TIMEOUT_S, pass_fds=[fd])  # noqa: S603
        disk = self._mount(fd)
        try:
            root = Path(f"/proc/self/fd/{disk.root_fd}/.")
            (root / "lost+found").rmdir()
            root.chmod(0o1777)
        finally:
            disk.close()
        return fd

    def _copy(self, template: int, size: int) -> int:
        """Return a copy that shares the template's holes."""
        image = self._nameless_file(size)
        offset = 0
        while True:
            try:
                start = os.lseek(template, offset, os.SEEK_DATA)
            except OSError:  # ENXIO: no data beyond
                return image
            offset = os.lseek(template, start, os.SEEK_HOLE)
            while start < offset:
                start += os.copy_file_range(template, image, offset - start, start, start)

    @staticmethod
    def _mount(image: int) -> TmpDisk:
        device, path = _attach(image)
        try:
            mount_fd = _mount_device(path)
        finally:
            os.close(device)
        root_fd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
        return TmpDisk(mount_fd, root_fd, path, _state(root_fd))


def _mount_device(path: str) -> int:
    return native.helper().mount_detached("ext4", path, native.ATTR_NOSUID | native.ATTR_NODEV)


def _state(root_fd: int) -> tuple[int, ...]:
    """Return what changes with every file that is made, and even with a look at what is there."""
    root, system = os.fstat(root_fd), os.fstatvfs(root_fd)
    return (root.st_atime_ns, root.st_mtime_ns, root.st_ctime_ns, system.f_bfree, system.f_ffree)


def _bytes(size_mib: int) -> int:
    # Beside the data: inode tables (256 bytes an inode), bitmaps and group descriptors, and what ext4 keeps back for
    # delayed allocation (2 %, at most 4096 blocks).
    kept_back = min(size_mib * _MIB // 45, 4096 * _BLOCK_BYTES)
    overhead = size_mib * _INODES_PER_MIB * 256 + size_mib * _MIB // 256 + kept_back + _MIB
    return size_mib * _MIB + (overhead + _BLOCK_BYTES - 1) // _BLOCK_BYTES * _BLOCK_BYTES


def _attach(image: int) -> tuple[int, str]:
    """Bind a free loop device to `image`; it frees itself at its last close."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            for flags in (_AUTOCLEAR | _DIRECT_IO, _AUTOCLEAR):
                # struct loop_config: descriptor, block size, struct loop_info64 with its flags at 52, reserved
                config = struct.pack("=II52xI176x64x", image, _BLOCK_BYTES, flags)
                try:
                    fcntl.ioctl(device, _LOOP_CONFIGURE, config)
                except OSError:
                    continue  # somebody else took it, or its disk has no direct access
                return device, path
            os.close(device)
    finally:
        os.close(control)
    raise OSError("no free loop device")
