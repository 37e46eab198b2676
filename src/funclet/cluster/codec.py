"""Invocations, outcomes and everything else that processes send each other, to and from MessagePack.

The members are taken from the classes themselves, so a new one needs no change here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from funclet.base.http import Request, Response
from funclet.model.audit import Trace
from funclet.model.function import FunctionVersion
from funclet.model.invocation import Invocation, Outcome, Report, Submission
from funclet.model.reserved import InstanceInfo
from funclet.model.usage import Sample

MAX_VERSIONS = 1024
"""Function versions that one connection remembers."""

_HINTS = get_type_hints(Invocation)
# A call-back is of this process.
_NAMES = tuple(name for name in Invocation.__struct_fields__ if name != "on_answer")
_VERSION_AT = _NAMES.index("version")
# As `Invocation`, with a number in the place of its version.
_Wire = msgspec.defstruct(
    "_Wire", [(name, int if name == "version" else _HINTS[name]) for name in _NAMES], array_like=True
)

encode = msgspec.msgpack.Encoder().encode
_decode_invocation = msgspec.msgpack.Decoder(_Wire).decode
_decode_version = msgspec.msgpack.Decoder(tuple[int, FunctionVersion]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who calls."""

    run_id: str
    """Of the start of the server; processes of different starts do not speak."""
    number: int
    """Of the calling process."""
    is_for_invocations: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What has changed: a function, or with an empty name only triggers."""

    is_of_identity: bool = False
    """Whether it is users, their credentials or their permissions instead."""

    project_id: str = ""
    package: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What became of a submission; an empty code is success."""

    request_id: str = ""
    code: str = ""
    message: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A request that shall not run any longer."""

    function_id: str
    request_id: str
    is_forced: bool


decode_traces: Callable[[bytes], list[Trace]] = msgspec.msgpack.Decoder(list[Trace]).decode
decode_cancellation = msgspec.msgpack.Decoder(Cancellation).decode
decode_flag: Callable[[bytes], bool] = msgspec.msgpack.Decoder(bool).decode
decode_hello = msgspec.msgpack.Decoder(Hello).decode
decode_hint = msgspec.msgpack.Decoder(Hint).decode
decode_submitted = msgspec.msgpack.Decoder(Submitted).decode
decode_submission = msgspec.msgpack.Decoder(Submission).decode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_response = msgspec.msgpack.Decoder(Response).decode
decode_logs = msgspec.msgpack.Decoder(list[Report]).decode
decode_instances: Callable[[bytes], list[InstanceInfo]] = msgspec.msgpack.Decoder(list[InstanceInfo]).decode
decode_names = msgspec.msgpack.Decoder(tuple[str, str]).decode
decode_samples = msgspec.msgpack.Decoder(list[Sample]).decode
decode_preparation = msgspec.msgpack.Decoder(tuple[FunctionVersion, float]).decode
decode_outcome: Callable[[bytes], Outcome] = msgspec.msgpack.Decoder(Outcome).decode


class SentVersions:
    """The numbers under which the other end of a connection knows versions."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        # Keeps the versions alive: their identity is their key.
        self._versions: list[FunctionVersion | None] = [None] * MAX_VERSIONS
        self._next = 0

    def number(self, version: FunctionVersion) -> tuple[int, bytes | None]:
        """Return the number of a version, and the body of the frame that must tell it first, if any."""
        number = self._numbers.get(id(version))
        if number is not None:
            return number, None
        number = self._next
        self._next = (number + 1) % MAX_VERSIONS
        former = self._versions[number]
        if former is not None:
            del self._numbers[id(former)]
        self._versions[number], self._numbers[id(version)] = version, number
        return number, encode((number, version))


class KnownVersions:
    """The other end of `SentVersions`."""

    def __init__(self) -> None:
        self._versions: dict[int, FunctionVersion] = {}

    def learn(self, body: bytes) -> None:
        """Take what `SentVersions.number` gave.

        Raises:
            ValueError: it is something else.
        """
        number, version = _decode_version(body)
        self._versions[number % MAX_VERSIONS] = version

    def invocation(self, body: bytes) -> Invocation:
        """Return the invocation of a frame.

        Raises:
            ValueError, KeyError: it is no invocation, or of a version that was not told.
        """
        wire = _decode_invocation(body)
        members: dict[str, Any] = {name: getattr(wire, name) for name in _NAMES}
        members["version"] = self._versions[members["version"]]
        return Invocation(**members)


def encode_invocation(invocation: Invocation, version_number: int) -> bytes:
    """Return an invocation whose version the other end knows by a number."""
    members: list[Any] = [getattr(invocation, name) for name in _NAMES]
    members[_VERSION_AT] = version_number
    return encode(members)


def encode_preparation(version: FunctionVersion, due_in_s: float) -> bytes:
    """Return what `decode_preparation` takes."""
    return encode((version, due_in_s))


def encode_logs(records: Sequence[Report]) -> bytes:
    """Return log records in their order."""
    return encode(records)
