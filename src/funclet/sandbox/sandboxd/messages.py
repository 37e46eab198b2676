"""What the server and sandboxd say to each other, and the checks on it.

One `SOCK_SEQPACKET` socket, one JSON object per packet, descriptors beside it.
The server faces the world, so `parse` believes nothing: unknown members, wrong
types and sizes beyond the limits are refused.
"""

import array
import re
import socket
from collections.abc import Sequence

import msgspec

from funclet.sandbox.protocol import Network

MAX_PACKET_BYTES = 256 * 1024
_MAX_DESCRIPTORS = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}")
_VARIABLE = re.compile(r"[^=\0]{1,256}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?")
_ADDRESS = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}", re.ASCII)
_MAX_SHARES = 16
_MAX_USER_ID = 65_534
_MAX_STRING = 64 * 1024
_MAX_ITEMS = 512


class BadMessage(Exception):
    """A packet that the other side must not send."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """What all have in common: the member `type` is the name of the class."""


class Keep(_Message, frozen=True, kw_only=True):
    """Start sandboxes like this one ahead, without the code and variables of a function. Not answered."""

    interpreter: str
    arguments: tuple[str, ...]
    stem_environment: dict[str, str]
    """Variables of a sandbox that is started ahead; empty: none may be."""
    runtime_dir: str
    interpreter_links: tuple[str, ...]
    memory_mib: int
    cpu_millicores: int
    tmp_mib: int
    processes: int
    open_files: int
    network: str


class Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder of the host that an instance shares with others; see `protocol.SharedFolder`."""

    source: str
    target: str
    read_only: bool
    user_id: int
    group_id: int


class Create(Keep, frozen=True, kw_only=True):
    """Make a sandbox and start the interpreter. Answered by `Started` or `Failed`, and after `Started` by `Exited`."""

    id: int
    """Chosen by the server; never used twice on one socket."""
    name: str
    environment: dict[str, str]
    code_dir: str
    extra_read_only: dict[str, str]
    shares: tuple[Share, ...] = ()
    hosts: dict[str, str] = {}
    """Name to IPv4 address."""
    greeting: bytes = b""
    """Written to the connection of a sandbox that was started ahead, once it has its code."""


class Stop(_Message, frozen=True, kw_only=True):
    """End a sandbox: SIGTERM now, everything after `grace_ms`; 0 kills at once. An unknown id is no error."""

    id: int
    grace_ms: int
    out_of_memory: bool = False
    """The server saw it use more memory than it may (where there are no control groups)."""


class LimitCpu(_Message, frozen=True, kw_only=True):
    """End the CPU boost of the start."""

    id: int


class Freeze(_Message, frozen=True, kw_only=True):
    """Take the CPU from every process of a sandbox, or give it back."""

    id: int
    is_frozen: bool


class Ready(_Message, frozen=True, kw_only=True):
    """First packet of sandboxd: it can make sandboxes, or says why not."""

    level: str
    error: str
    """Empty when all is well."""
    checks: dict[str, tuple[str, ...]]
    """Name of each check to `ok` or `missing`, and the detail."""


class Started(_Message, frozen=True, kw_only=True):
    """The interpreter runs. Its descriptors come beside it, in the order of `descriptors`."""

    id: int
    pid: int
    """First process, seen from the host."""
    descriptors: tuple[str, ...]
    """What each descriptor is: `connection`, `log`, `peak`, `used`, `cpu`, `tmp`."""
    is_stem: bool
    """It was started ahead, and the greeting has been written to it."""


class Failed(_Message, frozen=True, kw_only=True):
    """Nothing of the sandbox is left."""

    id: int
    error: str
    is_mount: bool = False
    """A shared folder is the reason."""


class Exited(_Message, frozen=True, kw_only=True):
    """Every process is gone and everything given back."""

    id: int
    reason: str
    status: int


Message = Create | Keep | Stop | LimitCpu | Freeze | Ready | Started | Failed | Exited
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_ENCODER = msgspec.json.Encoder()
# Made once: so large a buffer would be mapped and cleared anew for each packet.
_buffer = bytearray(MAX_PACKET_BYTES)
_view = memoryview(_buffer)


def keep_of(spec: Keep) -> Keep:
    """Return the part of a request that says which stems can serve it."""
    return Keep(**{name: getattr(spec, name) for name in Keep.__struct_fields__})


def render(message: Message) -> bytes:
    """Return the packet."""
    return _ENCODER.encode(message)


def parse(packet: bytes) -> Message:
    """Return the message.

    Raises:
        BadMessage: not one of ours, or beyond a limit.
    """
    try:
        message = _DECODER.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"not a message: {error}") from error
    if isinstance(message, Keep):
        _check_keep(message)
    if isinstance(message, Create):
        _check_create(message)
    return message


def send(connection: socket.socket, packet: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one packet with descriptors. Raises as `socket.sendmsg` does; BlockingIOError sent nothing."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([packet], rights)


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one packet with descriptors, which the caller owns; an empty packet is the end.

    Raises:
        BadMessage: it was cut off.
    """
    length, rights, flags, _ = connection.recvmsg_into([_buffer], socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4))
    descriptors = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise BadMessage("a packet was too long")
    return bytes(_view[:length]), list(descriptors)


def _check_texts(*texts: str) -> None:
    # All at once: this is on the way of every start.
    if len(texts) > _MAX_ITEMS or max(map(len, texts), default=0) > _MAX_STRING or "\0" in "".join(texts):
        raise BadMessage("a text is too long or has a zero byte, or there are too many")


def _check_create(message: Create) -> None:
    if not _NAME.fullmatch(message.name):
        raise BadMessage("name must be letters, digits and '-', at most 60")
    if len(message.shares) > _MAX_SHARES:
        raise BadMessage(f"there are more than {_MAX_SHARES} shared folders")
    for share in message.shares:
        _check_texts(share.source, share.target)
        if not 1 <= min(share.user_id, share.group_id) <= max(share.user_id, share.group_id) <= _MAX_USER_ID:
            raise BadMessage(f"the owner of a shared folder must be 1 to {_MAX_USER_ID}")
    for name, address in message.hosts.items():
        if not _HOST.fullmatch(name) or not _ADDRESS.fullmatch(address):
            raise BadMessage("hosts must lead from names to IPv4 addresses")


def _check_keep(message: Keep) -> None:
    _check_texts(message.interpreter, message.runtime_dir)
    _check_texts(*message.arguments)
    _check_texts(*message.interpreter_links)
    tables = [message.stem_environment]
    if isinstance(message, Create):
        _check_texts(message.code_dir)
        tables += [message.environment, message.extra_read_only, message.hosts]
    for table in tables:
        _check_texts(*table)
        _check_texts(*table.values())
    ranges = {
        "memory_mib": (16, 65536),
        "cpu_millicores": (10, 256_000),
        "tmp_mib": (1, 65536),
        "processes": (1, 65536),
        "open_files": (16, 1_048_576),
    }
    for name, (low, high) in ranges.items():
        if not low <= getattr(message, name) <= high:
            raise BadMessage(f"{name} must be {low} to {high}")
    if message.network not in tuple(Network):
        raise BadMessage(f"network must be one of {', '.join(Network)}")
    own = message.environment if isinstance(message, Create) else {}
    if not all(_VARIABLE.fullmatch(name) for name in (*own, *message.stem_environment)):
        raise BadMessage("a variable's name has '=' or is too long")
    for link in message.interpreter_links:
        if link.startswith("/") or ".." in link.split("/") or not link:
            raise BadMessage("an interpreter link leaves its folder")
