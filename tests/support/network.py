"""A world outside this host, for instances with a network."""

import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager

PUBLIC, PRIVATE = "198.51.100.2", "172.30.77.2"
"""Addresses of the world; the host has the same with 1 at the end."""
PORT = 8080


@contextmanager
def outside_world():
    """Have a server that stands in a network namespace of its own, behind a link to this host.

    It tells whoever connects the address that they come from.
    """
    name = f"out{os.getpid()}"
    commands = [
        f"netns add {name}",
        f"link add {name} type veth peer name eth0 netns {name}",
        f"addr add 198.51.100.1/24 dev {name}",
        f"addr add 172.30.77.1/24 dev {name}",
        f"link set {name} up",
        f"-n {name} addr add {PUBLIC}/24 dev eth0",
        f"-n {name} addr add {PRIVATE}/24 dev eth0",
        f"-n {name} link set eth0 up",
        f"-n {name} link set lo up",
    ]
    program = f"""
        import socket
        with socket.create_server(("0.0.0.0", {PORT})) as server:
            print("ready", flush=True)
            while True:
                peer, address = server.accept()
                peer.sendall(address[0].encode()); peer.close()
    """
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        with subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            yield
            process.kill()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
