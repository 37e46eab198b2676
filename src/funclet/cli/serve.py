"""`fgs serve`: one command from an empty folder to a running server.

The order matters: settings, ports and interpreters first, while the process may
still do everything; then it forks. The child becomes an ordinary user, opens
the data and serves. The parent writes the profile of whoever started it, forgets
all it knew, and is from then on the only one that can make sandboxes.
"""

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from funclet import __version__, config
from funclet.cli import local_profile, profiles
from funclet.cli.frame import ExitCode, Failure

if TYPE_CHECKING:
    from funclet.cluster.member import Member, Standby
    from funclet.front.listeners import Listeners
    from funclet.keyring.shared import SharedKeys
    from funclet.model.inventory import Inventory
    from funclet.runtimes.registry import Registry
    from funclet.server import Identity
    from funclet.services.identity import Credentials


def _options() -> list[click.Parameter]:
    """Return one option per row of the settings table."""
    options: list[click.Parameter] = []
    for setting in fields(config.Settings):
        assert setting.default is not MISSING
        if setting.metadata["secret"]:
            # Command lines can be read by everyone on the machine.
            continue
        several = isinstance(setting.default, tuple)
        choices = setting.metadata["choices"]
        default = ", ".join(setting.default) if several else setting.default
        shown = "" if default in ("", -1) else f" Default: {default}."
        options.append(
            click.Option(
                [f"--{setting.name.replace('_', '-')}", setting.name],
                type=click.Choice(choices) if choices else str if several else type(setting.default),
                multiple=several,
                default=None,
                help=setting.metadata["help"] + shown,
            )
        )
    return options


def _serve(**given: Any) -> None:
    """Start a server on this machine.

    Every option is also an environment variable: FGS_ and its name in capitals, for example FGS_PORT.
    Stop with Ctrl-C: running requests are finished first; once more ends them.
    """
    try:
        settings = config.load(given, os.environ)
    except config.SettingError as error:
        raise Failure(str(error)) from error
    from funclet.cli import privileges  # noqa: PLC0415 - the client side of fgs must not pay for the server

    privileges.forget_variable("FGS_ADMIN_SK")
    log_to_stderr()
    os.umask(0o022)
    raise SystemExit(start(settings))


serve = click.Command("serve", callback=_serve, params=_options(), help=_serve.__doc__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a process of the server is given before the fork that makes it."""

    settings: config.Settings
    listeners: Sequence["Listeners"]
    """Those of each process by its number; the kernel spreads connections over them."""
    registry: "Registry"
    inventory: "Inventory"
    profile: str = ""
    """Name of the profile that a first start writes; empty beside the server, where there is nothing to write."""
    member: "Member | None" = None
    """Of the server among several processes; None: it is the only one, or a process beside the server."""
    standby: "Standby | None" = None
    """Of a process beside the server."""
    shared_keys: "SharedKeys | None" = None
    """Where processes beside the server have keys from that a program has unwrapped; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How the processes of the server isolate instances, and whose they are."""

    has_sandboxd: bool
    user: tuple[int, int] | None = None
    """User and group that the process becomes while its sandboxd stays root; None: that of the starter for both."""


def start(settings: config.Settings) -> int:
    """Serve until told to stop; return the exit status.

    Raises:
        Failure: the server cannot start; says why and what to do.
    """
    from funclet.cli.listening import listen  # noqa: PLC0415 - the client side of fgs must not pay for the server
    from funclet.server import load_registry  # noqa: PLC0415 - as above

    _refuse_impossible(settings)
    # Its default depends on the user, and the server becomes another one.
    settings = replace(settings, data_dir=str(settings.data_folder))
    # Looked for by whoever starts us: the server's own user may not be able to enter the folders of interpreters.
    registry = load_registry(settings)
    for fault in registry.faults_of(settings.runtime_map):
        raise Failure(fault, hint="Name an interpreter with --runtime NAME=PATH; fgs doctor lists what is found.")
    inventory = load_inventory(settings)
    count = processes_of(settings)
    listeners = listen(settings, count)
    # Chosen here: the server's own user cannot read the home of whoever starts it.
    profile = local_profile.name_for(listeners[0].api_url)
    start_ = Start(settings=settings, listeners=listeners, registry=registry, inventory=inventory, profile=profile)
    level = _as_root(start_) if os.geteuid() == 0 else _as_user(start_)
    if count == 1:
        return serve_one(start_, level)
    from funclet.cli import processes  # noqa: PLC0415 - as above

    return processes.serve_several(start_, level, count)


def load_inventory(settings: config.Settings) -> "Inventory":
    """Return what the operator has opened to functions.

    Raises:
        Failure: the file cannot be used.
    """
    from funclet import inventory  # noqa: PLC0415 - as above

    try:
        return inventory.load(settings.inventory)
    except inventory.InventoryError as error:
        raise Failure(str(error), hint="docs/reference/function-configuration.md says what it may hold.") from error


def processes_of(settings: config.Settings) -> int:
    """Return how many data-plane processes a server with these settings has on this host."""
    from funclet.cluster.ownership import choose_count  # noqa: PLC0415 - as above
    from funclet.wiring import instance_memory_mib  # noqa: PLC0415

    cores = len(os.sched_getaffinity(0))
    return choose_count(settings.processes, cores=cores, memory_mib=instance_memory_mib(settings))


def _refuse_impossible(settings: config.Settings) -> None:
    """Refuse what this user cannot have before anything is made: what a first start makes is shown only once."""
    from funclet.cli import privileges  # noqa: PLC0415 - as above

    try:
        privileges.find_user(settings.user)
    except privileges.PrivilegeError as error:
        raise Failure(str(error)) from error
    if settings.port == settings.gateway_port != 0:
        raise Failure("The API and the gateway need a port each.", hint="Choose another with --gateway-port.")
    if os.geteuid() == 0:
        return
    if settings.user:
        raise Failure("Only root can start the server as another user.", hint=f"sudo fgs serve --user {settings.user}")
    if settings.isolation == "full":
        raise Failure("Full isolation needs root.", hint="sudo fgs serve, or --isolation rootless")


def _as_root(start_: Start) -> Level:
    """Isolate fully; where that cannot be, become an ordinary user first: functions never run as root."""
    from funclet import server  # noqa: PLC0415 - as above
    from funclet.cli import privileges  # noqa: PLC0415
    from funclet.store.folder import DataFolderInUse  # noqa: PLC0415

    settings = start_.settings
    try:
        ids = privileges.find_user(settings.user)
        privileges.give_folder(settings.data_folder, ids)
    except DataFolderInUse as error:
        raise Failure(f"{error}.", exit_code=ExitCode.CONFLICT) from error
    except (privileges.PrivilegeError, OSError) as error:
        raise Failure(
            f"The data folder {settings.data_folder} cannot be used: {error}",
            hint="Choose another one with --data-dir.",
        ) from error
    missing = server.missing_for_isolation()
    if settings.isolation in ("auto", "full") and not missing:
        return Level(has_sandboxd=True, user=ids)
    if settings.isolation == "full":
        raise Failure(f"Full isolation cannot be had: {missing}", hint="'fgs doctor' says what this host allows.")
    folders = _program_folders(start_.registry)
    privileges.become(ids, read_only=folders, writable=[settings.data_folder], dies_with_parent=False)
    return _as_user(start_)


def _as_user(start_: Start) -> Level:
    """Isolate as far as an ordinary user can."""
    from funclet import server  # noqa: PLC0415 - as above

    isolation = start_.settings.isolation
    missing = "" if isolation == "process" else server.missing_for_isolation()
    if isolation == "rootless" and missing:
        raise Failure(f"Instances cannot be isolated: {missing}", hint="'fgs doctor' says what this host allows.")
    return Level(has_sandboxd=isolation != "process" and not missing)


def serve_one(start_: Start, level: Level) -> int:
    """Be one process of the server, or its sandboxd with the process as a child; return the exit status.

    The server tells its identity to whoever may write in the home of the starter.
    """
    if not level.has_sandboxd:
        return _run(start_, None, lambda identity: _keep_profile(start_, identity))
    read_fd, write_fd = os.pipe()

    def child(control: socket.socket) -> int:
        """Be the server's process, as its own user, and tell the parent whose server it is."""
        os.close(read_fd)
        if level.user is not None:
            from funclet.cli import privileges  # noqa: PLC0415 - as above

            folders, data = _program_folders(start_.registry), start_.settings.data_folder
            privileges.become(level.user, read_only=folders, writable=[data], dies_with_parent=True)
        if start_.standby is not None:
            # Only the server has an identity to tell.
            os.close(write_fd)
        return _run(start_, control, lambda identity: _tell(write_fd, identity))

    def hear() -> None:
        """Write the profile when the server has told whose it is."""
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as pipe:
            told = pipe.read()
        if told:
            _keep_profile(start_, _told_identity(told))

    return _supervise(start_, child, hear)


def _supervise(start_: Start, child: Callable[[socket.socket], int], meanwhile: Callable[[], None]) -> NoReturn:
    """Fork the process and become its sandboxd."""
    from funclet import server  # noqa: PLC0415 - as above
    from funclet.sandbox.sandboxd.settings import SandboxdSettings, ShareRoot  # noqa: PLC0415
    from funclet.sandbox.sandboxd.supervise import supervise  # noqa: PLC0415

    folder = start_.settings.data_folder
    supervise(
        child,
        settings=SandboxdSettings(
            allowed_folders=(folder / "code", server.language_folder()),
            shares=[
                ShareRoot(
                    folder=Path(share.folder),
                    read_only=share.read_only,
                    maps_owners=not share.is_nfs,
                    name=share.id,
                    nfs_versions=share.nfs_versions,
                )
                for share in start_.inventory.shares.values()
            ],
            interpreter_prefixes=server.interpreter_prefixes(start_.registry),
            image_folder=folder,
            forkable=server.forkable(start_.registry),
            max_stems=start_.settings.max_stems,
        ),
        meanwhile=meanwhile,
        of_server=[one for own in start_.listeners for one in own.sockets],
    )


def _tell(write_fd: int, identity: "Identity") -> None:
    """Tell the first process whose server this is; it alone may write in the home of whoever started it."""
    with os.fdopen(write_fd, "wb") as pipe:
        pipe.write(json.dumps(asdict(identity)).encode())


def _told_identity(told: bytes) -> "Identity":
    from funclet.server import Identity  # noqa: PLC0415 - as above
    from funclet.services.identity import Credentials  # noqa: PLC0415

    members = json.loads(told)
    created = members["created"]
    return Identity(project_id=members["project_id"], created=Credentials(**created) if created else None)


def _program_folders(registry: "Registry") -> Sequence[Path]:
    """Return the folders that the server's own code and the interpreters are in."""
    from funclet.server import interpreter_prefixes, language_folder  # noqa: PLC0415 - as above

    package = Path(__file__).parents[1]
    installed = [Path(sys.prefix), Path(sys.base_prefix), package, language_folder(), *interpreter_prefixes(registry)]
    return [path for path in dict.fromkeys(installed) if not path.is_relative_to("/usr")]


def _keep_profile(start_: Start, identity: "Identity") -> None:
    local_profile.keep(
        start_.profile, start_.listeners[0].api_url, start_.settings.region, identity.project_id, identity.created
    )


def _run(start_: Start, control: socket.socket | None, identify: "Callable[[Identity], None]") -> int:
    """Be the server, or a data-plane process beside it."""
    import uvloop  # noqa: PLC0415 - as above

    from funclet.cluster.mesh import MeshError  # noqa: PLC0415
    from funclet.keyring.errors import KeyCommandFailed  # noqa: PLC0415
    from funclet.sandbox.protocol import SandboxError  # noqa: PLC0415
    from funclet.store.folder import DataFolderInUse  # noqa: PLC0415
    from funclet.store.protocol import StoreError  # noqa: PLC0415
    from funclet.vault import VaultError  # noqa: PLC0415

    folder = start_.settings.data_folder
    try:
        uvloop.run(_serve_until_stopped(start_, control, identify))
    except DataFolderInUse as error:
        click.echo(f"error: {error}", err=True)
        return ExitCode.CONFLICT
    except KeyCommandFailed as error:
        click.echo(f"error: The secrets cannot be opened. {error}", err=True)
        click.echo("hint: Nothing has changed. Run the program by hand; docs/howto/secrets.md says how.", err=True)
        return ExitCode.USAGE
    except (StoreError, VaultError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) and error.filename else error
        click.echo(f"error: The data folder {folder} cannot be used: {reason}", err=True)
        click.echo(f"hint: Choose another one with --data-dir{_or_as_owner(folder, error)}.", err=True)
        return ExitCode.USAGE
    except SandboxError as error:
        click.echo(f"error: Instances cannot be made: {error}", err=True)
        click.echo("hint: 'fgs doctor' says what this machine allows.", err=True)
        return ExitCode.UNEXPECTED
    except MeshError as error:
        click.echo(f"error: {error}", err=True)
        return ExitCode.UNEXPECTED
    if start_.standby is None:
        from funclet import server  # noqa: PLC0415 - as above

        server.remove_state(folder)
    return ExitCode.OK


def _or_as_owner(folder: Path, error: Exception) -> str:
    """Return whom a folder belongs to that this user may not use; empty when that is not the reason."""
    if not isinstance(error, PermissionError):
        return ""
    try:
        status = folder.stat()
    except OSError:
        return ""
    return "" if status.st_uid == os.geteuid() else f", or start the server as its owner (uid {status.st_uid})"


async def _serve_until_stopped(
    start_: Start, control: socket.socket | None, identify: "Callable[[Identity], None]"
) -> None:
    from funclet import data_process, server  # noqa: PLC0415 - as above
    from funclet.cluster.mesh import SOCKETS, Mesh  # noqa: PLC0415

    driver, member = server.make_driver(control), start_.member
    own, *others = start_.listeners

    def announce(identity: "Identity") -> None:
        """Tell other programs and the terminal that the server answers."""
        server.write_state(start_.settings.data_folder, own, driver.level)
        _banner(start_, driver.level, identity.created)

    if start_.standby is not None:
        process = data_process.DataProcess(
            start_.settings,
            start_.listeners,
            driver,
            start_.registry,
            start_.standby,
            start_.inventory,
            start_.shared_keys,
        )
        await process.run()
    else:
        for unwanted in others:
            unwanted.close()
        mesh = Mesh(member, start_.settings.data_folder / SOCKETS) if member else None
        this = server.Server(start_.settings, own, driver, start_.registry, mesh, start_.inventory, start_.shared_keys)
        await this.run(identify=identify, announce=announce)


_LEVELS = {
    "full": "full: namespaces, cgroups, system call filter, an own user for each instance",
    "rootless": "rootless: namespaces and a system call filter, but no cgroups: memory is polled, CPU is not limited",
    "process": "NONE: functions run as plain processes of this user and can read what it can read",
}


def _banner(start_: Start, level: str, created: "Credentials | None") -> None:
    settings, listeners = start_.settings, start_.listeners[0]
    lines = [
        f"Funclet {__version__}",
        f"  API        {', '.join(listeners.api_urls)}",
        f"  gateway    {', '.join(listeners.gateway_urls)}",
        f"  data       {settings.data_folder}",
        f"  isolation  {_LEVELS[level]}",
    ]
    if start_.member is not None:
        lines.append(f"  processes  {start_.member.count}")
    if level != "full":
        lines.append("             'fgs doctor' says what is missing")
    if created is not None:
        lines += [
            "First start. These credentials are shown once:",
            f"  project    {created.project_id} ({settings.region})",
            f"  access key {created.access}",
            f"  secret key {'as you gave it' if settings.admin_sk else created.secret}",
            f"  password   {created.password} (user {created.user_name})",
            f"They are also in profile '{start_.profile}' of {profiles.path_of(os.environ)}; try: {_first_try(start_)}",
        ]
    lines.append("Stop with Ctrl-C.")
    click.echo("\n".join(lines))
    sys.stdout.flush()


def _first_try(start_: Start) -> str:
    """Return a command that reaches this server."""
    return "fgs whoami" if start_.profile == local_profile.NAME else f"fgs whoami -P {start_.profile}"


def log_to_stderr() -> None:
    """Have every process of the server write its own log to stderr."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
