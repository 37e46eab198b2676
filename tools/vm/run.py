"""Run a command as root in a virtual machine: another kernel (Debian's), with control groups v2 and NFS.

    tools/vm/run.py [--limit-s N] [--memory-mib N] COMMAND...

The machine sees the whole file tree of this host; what it writes is in its memory and gone at the end. The command
starts in the same folder, its output is streamed, its exit status handed on; 124 stands for a time limit that was
reached. There is no network but loopback. Needs root, and the folder that `fetch.sh` fills.
"""

import argparse
import base64
import contextlib
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".venv/vm"
TIMED_OUT, NOT_RUN = 124, 125
_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
    "TERM=dumb",
)
_FILES = "-o source=/ -o sandbox=chroot -o cache=always -o log_level=err"
_PROBE = "qemu-system-x86_64 -nodefaults -no-reboot -display none -accel kvm"
_PROBE_S = 1.5
# Ends with whoever started it, even by kill -9.
_TIED = ("setpriv", "--pdeathsig", "KILL")


def main() -> int:
    """Return the exit status of the command."""
    options = _options()
    if os.geteuid() != 0 or not (FOLDER / "initramfs.gz").exists():
        print("Needs root, and `make .venv/vm/.ready` before.", file=sys.stderr)
        return NOT_RUN
    # An abstract name: there is no file to be left behind.
    name = f"funclet-vm-{os.getpid()}"
    read_fd, write_fd = os.pipe()
    with _files_of_host(name):
        command = [*_TIED, *_machine(options, name, write_fd)]
        machine = subprocess.Popen(command, pass_fds=[write_fd], stdin=subprocess.DEVNULL)  # noqa: S603  # as above
        os.close(write_fd)
        try:
            machine.wait(timeout=options.limit_s)
        except subprocess.TimeoutExpired:
            print(f"The command had not ended after {options.limit_s:.0f} s.", file=sys.stderr)
            return TIMED_OUT
        finally:
            machine.kill()
            machine.wait()
    status = os.read(read_fd, 16).strip()
    if not status.isdigit():
        print("The machine ended before the command had.", file=sys.stderr)
        return NOT_RUN
    return int(status)


@contextlib.contextmanager
def _files_of_host(name: str) -> Iterator[None]:
    """Serve the file tree to the machine that connects to an abstract socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen(1)
        command = [*_TIED, str(VIRTIOFSD), f"--fd={listener.fileno()}", *_FILES.split()]
        server = subprocess.Popen(  # noqa: S603  # our own words
            command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    try:
        yield
    finally:
        server.kill()
        told = server.communicate()[1]
        # How it says that the machine has ended.
        print(
            *[line for line in told.splitlines() if "Unexpected poll revents" not in line],
            sep="\n",
            end="",
            file=sys.stderr,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit-s", type=float, default=240.0)
    parser.add_argument("--memory-mib", type=int, default=4096)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def _machine(options: argparse.Namespace, files: str, status_fd: int) -> list[str]:
    words = {
        "command": _command(options.command),
        "folder": str(Path.cwd()),
        "layer": str(FOLDER / "layer"),
    }
    told = " ".join(f"funclet.{name}={base64.b64encode(text.encode()).decode()}" for name, text in words.items())
    arguments = f"""
        -nodefaults -no-user-config -display none -no-reboot -cpu max -smp 1
        -accel {_accelerator()} -m {options.memory_mib} -machine q35,memory-backend=memory
        -object memory-backend-memfd,id=memory,size={options.memory_mib}M,share=on
        -chardev socket,id=files,path={files},abstract=on -device vhost-user-fs-pci,chardev=files,tag=host
        -device virtio-serial-pci -chardev stdio,id=output,signal=off -device virtconsole,chardev=output
        -chardev file,id=status,path=/dev/fd/{status_fd} -device virtconsole,chardev=status
    """.split()
    kernel = ["-kernel", str(FOLDER / "vmlinuz"), "-initrd", str(FOLDER / "initramfs.gz")]
    return ["qemu-system-x86_64", *arguments, *kernel, "-append", f"loglevel=2 panic=-1 console=hvc0 {told}"]


def _command(words: list[str]) -> str:
    """Return the line for the machine's shell."""
    return shlex.join(["env", "-i", *_ENVIRONMENT, *words])


def _accelerator() -> str:
    """Return `kvm` where a machine without any system starts with it at once; nested, it may hang for ever."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    probe = [*_PROBE.split(), "-kernel", str(FOLDER / "vmlinuz"), "-append", "panic=-1"]
    try:
        subprocess.run(probe, timeout=_PROBE_S, check=True, capture_output=True)  # noqa: S603  # our own words
    except (subprocess.SubprocessError, OSError):
        return "tcg"
    return "kvm"


if __name__ == "__main__":
    sys.exit(main())
