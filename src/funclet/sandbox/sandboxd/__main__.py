"""Run sandboxd: `python -I -m funclet.sandbox.sandboxd FD SETTINGS [PID]`.

FD is the number of an inherited `SOCK_SEQPACKET` socket to the server,
SETTINGS the JSON of `SandboxdSettings.to_json`, PID the server if it is our child.
"""

import socket
import sys

from funclet.sandbox.sandboxd.daemon import serve
from funclet.sandbox.sandboxd.settings import SandboxdSettings
from funclet.sandbox.sandboxd.supervise import serve_and_wait, signals_as_data, stop_on_signal


def main(arguments: list[str]) -> int:
    """Serve until the server hangs up or a signal comes; return the exit status."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    settings = SandboxdSettings.from_json(arguments[1])
    if arguments[2:]:
        return serve_and_wait(control, settings, int(arguments[2]))
    with signals_as_data() as signal_fd:
        serve(control, settings, watches=[stop_on_signal(signal_fd)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
