"""A server of several data-plane processes: who forks whom.

`serve_several` forks process 0, which goes the way of a server with one process, and turns the calling process
into the supervisor of all. The supervisor is executed anew, so that nothing which the start knew, such as the
first credentials, is in its memory or in that of the processes that it forks.
"""

import gc
import json
import os
import signal
import socket
import sys
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, NoReturn

from funclet import config
from funclet.cli import privileges
from funclet.cli.serve import Level, Start, load_inventory, log_to_stderr, serve_one
from funclet.cluster.member import Member, Progress, Standby
from funclet.cluster.supervisor import Supervisor
from funclet.front.listeners import Listeners
from funclet.keyring.shared import SharedKeys
from funclet.sandbox.sandboxd.supervise import FORWARDED
from funclet.server import load_registry


def serve_several(start_: Start, level: Level, count: int) -> NoReturn:
    """Fork process 0 and become the supervisor of `count` processes; its exit status is that of the server."""
    progress = Progress.make(count)
    run_id = uuid.uuid4().hex
    keys = SharedKeys.make() if start_.settings.secret_key_command else None
    # Blocked until the supervisor can pass them on: one that comes now must not end it before the server.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    pid = os.fork()
    if pid == 0:
        member = Member(number=0, count=count, run_id=run_id, progress=Progress(progress, count))
        _exit_as(replace(start_, member=member, shared_keys=None if keys is None else SharedKeys(keys)), level)
    for kept in (
        progress,
        *([] if keys is None else [keys]),
        *(one.fileno() for own in start_.listeners for one in own.sockets),
    ):
        os.set_inheritable(kept, True)
    secrets = {setting.name: "" for setting in fields(config.Settings) if setting.metadata["secret"]}
    plan = {
        "settings": asdict(start_.settings) | secrets | {"admin_ak": ""},
        "listeners": [
            {
                "api": [one.fileno() for one in own.api],
                "gateway": [one.fileno() for one in own.gateway],
                "api_urls": own.api_urls,
                "gateway_urls": own.gateway_urls,
            }
            for own in start_.listeners
        ],
        "level": asdict(level),
        "count": count,
        "run_id": run_id,
        "progress": progress,
        "shared_keys": keys,
        "server_pid": pid,
    }
    command = [sys.executable, "-I", "-m", __name__, json.dumps(plan)]
    os.execve(sys.executable, command, {"PATH": os.environ.get("PATH", os.defpath)})  # noqa: S606


def _be_supervisor(plan: Mapping[str, Any]) -> int:
    """Supervise what `serve_several` has begun; return the exit status of the server."""
    settings = config.Settings(**{name: _untangled(value) for name, value in plan["settings"].items()})
    listeners = [
        Listeners(**own | {kind: [_kept(descriptor) for descriptor in own[kind]] for kind in ("api", "gateway")})
        for own in plan["listeners"]
    ]
    user = plan["level"]["user"]
    level = Level(has_sandboxd=plan["level"]["has_sandboxd"], user=None if user is None else (user[0], user[1]))
    count: int = plan["count"]
    progress = Progress(plan["progress"], count)
    os.close(plan["progress"])
    start_ = Start(
        settings=settings,
        listeners=listeners,
        registry=load_registry(settings),
        inventory=load_inventory(settings),
        shared_keys=_kept_keys(plan["shared_keys"]),
    )

    def be_process(descriptor: int) -> int:
        """Be a process of this server; the number comes through the descriptor."""
        standby = Standby(count=count, run_id=plan["run_id"], progress=progress, descriptor=descriptor)
        return _be_member(replace(start_, standby=standby), level)

    def take_nothing_new() -> None:
        """Close the supervisor's copies of the listeners."""
        # A listener that stayed open here would take connections that nobody answers.
        for unwanted in listeners:
            unwanted.close()

    privileges.adopt_orphans()
    gc.freeze()
    return Supervisor(plan["server_pid"], count, be_process, stopping=take_nothing_new).run()


def _be_member(start_: Start, level: Level) -> int:
    """Be a process of several, in a child of the supervisor."""
    # A group of its own: Ctrl-C in a terminal reaches the supervisor, which passes it on once.
    os.setpgid(0, 0)
    privileges.end_with_parent()
    if not level.has_sandboxd:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    return serve_one(start_, level)


def _exit_as(start_: Start, level: Level) -> NoReturn:
    status = 1
    try:
        status = _be_member(start_, level)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  # the bottom of a process: nobody else would show it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _kept(descriptor: int) -> socket.socket:
    """Return a socket that was kept open over the change of program, and is not to be over another one."""
    listener = socket.socket(fileno=descriptor)
    listener.set_inheritable(False)
    return listener


def _kept_keys(descriptor: int | None) -> SharedKeys | None:
    """As `_kept`, of the memory of keys."""
    if descriptor is None:
        return None
    os.set_inheritable(descriptor, False)
    return SharedKeys(descriptor)


def _untangled(value: Any) -> Any:
    """Return a value of the settings as it was before it went through JSON."""
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    log_to_stderr()
    os.umask(0o022)
    sys.exit(_be_supervisor(json.loads(sys.argv[1])))
