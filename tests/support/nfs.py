"""The kernel's own NFS server, in the virtual machine of `tools/vm/run.py`."""

import socket
import subprocess
from pathlib import Path

from tests.support.waiting import eventually

HOST = "127.0.0.1"
HUNG_HOST = "127.0.0.2"
"""Nobody answers there, see `hung_server`."""


class NfsServer:
    """Exports folders of one folder, by versions 3 and 4; paths of exports begin there."""

    def __init__(self, folder):
        self.folder = folder

    def start(self):
        # Those of the client too: an emulated processor takes seconds for them, which no mount is to be charged for.
        run("modprobe", "-a", "nfsd", "nfsv3", "nfsv4")
        if not Path("/proc/fs/nfsd/threads").exists():
            run("mount", "-t", "nfsd", "nfsd", "/proc/fs/nfsd")
        for path in ("/run/rpcbind", "/var/lib/nfs/v4recovery"):
            Path(path).mkdir(parents=True, exist_ok=True)
        for path in ("/var/lib/nfs/etab", "/var/lib/nfs/rmtab", "/etc/exports"):
            Path(path).touch()
        Path("/etc/nfs.conf").write_text(f"[exports]\nrootdir={self.folder}\n")
        run("rpcbind")
        run("rpc.mountd", "--no-udp")
        self.resume()
        return self

    def export(self, name, *options):
        """Export a new folder that everyone may write in; return it."""
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o777)
        run("exportfs", "-o", ",".join(["rw", "no_subtree_check", "insecure", *options]), f"*:/{name}")
        return folder

    def pause(self):
        """Stop answering: connections end, new ones are refused."""
        run("rpc.nfsd", "0")

    def resume(self):
        """Answer again, with what clients held forgotten."""
        run("rpc.nfsd", "--host", HOST, "--no-udp", "2")
        # There are no old clients to wait for.
        Path("/proc/fs/nfsd/v4_end_grace").write_text("Y")

    def stop(self):
        self.pause()
        for name in ("rpc.mountd", "rpcbind"):
            for pid in pids_of(name):
                run("kill", pid)
            eventually(lambda name=name: not pids_of(name), because=f"{name} has ended")


def hung_server():
    """Return a socket that takes connections of NFS clients and never answers."""
    listener = socket.create_server((HUNG_HOST, 2049))
    listener.listen(16)
    return listener


def nfs_volumes():
    """Return a line for each NFS file system that this kernel has mounted, in whatever namespace."""
    listed = Path("/proc/fs/nfsfs/volumes")
    return listed.read_text().splitlines()[1:] if listed.exists() else []


def pids_of(name):
    return subprocess.run(["pidof", name], check=False, capture_output=True, text=True).stdout.split()


def run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=30)
