"""Topics, streams, stored objects, and connections to systems outside. Pure: values and their rules.

Names follow the cloud's: a topic is `urn:smn:<region>:<project>:<topic>`, a subscription has the urn of its
topic and an id behind it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from funclet.model.errors import ModelError

MAX_SUBJECT_LENGTH = 512
MAX_MESSAGE_BYTES = 256 * 1024
MAX_RECORD_BYTES = 1024 * 1024
MAX_URL_LENGTH = 1024
MAX_SECRET_LENGTH = 4096
MAX_RESOURCES = 100
ANY_RESOURCE = "*"

_TOPIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
_STREAM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONNECTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RESOURCE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_TOPIC_URN_FIELDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Takes messages and gives each to all confirmed subscriptions."""

    region: str
    project_id: str
    name: str
    display_name: str = ""
    created_at: float = 0.0

    @property
    def urn(self) -> str:
        """Its name in full."""
        return f"urn:smn:{self.region}:{self.project_id}:{self.name}"


class SubscriptionStatus(StrEnum):
    """Whether the owner of the address has agreed."""

    PENDING = "pending"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An address that gets the messages of a topic, once it has confirmed that it wants them."""

    subscription_id: str
    topic_name: str
    project_id: str
    protocol: str
    """`http` or `https`."""
    endpoint: str
    remark: str = ""
    status: SubscriptionStatus = SubscriptionStatus.PENDING
    sealed_secret: bytes = b""
    """Signs what is sent, encrypted."""
    token_digest: str = ""
    """SHA-256 of the text that confirms it."""
    token_expires_at: float = 0.0
    created_at: float = 0.0
    failures: int = 0
    """Messages that were given up."""
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What was published, as its subscribers are sent it."""

    message_id: str
    type: str
    """`Notification` or `SubscriptionConfirmation`."""
    topic_urn: str
    subject: str
    text: str
    published_at: float
    subscribe_url: str = ""
    """Opening it confirms the subscription."""
    hop: str = ""
    """Root request of the chain that led here, and the depth of what it starts; empty outside a chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A message on its way to one subscription."""

    push_id: int
    message: Message
    subscription: Subscription
    attempts: int
    """Those that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Keeps records in order, up to an age and a size."""

    project_id: str
    name: str
    retention_s: float
    max_bytes: int
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """One record of a stream."""

    sequence: int
    partition_key: str
    data: bytes
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object that a destination has written, and when it is to be deleted."""

    project_id: str
    connection: str
    """Empty for the store in the data folder."""
    bucket: str
    key: str
    size: int
    written_at: float
    expires_at: float | None = None


class ConnectionKind(StrEnum):
    """What stands at the other end."""

    S3 = "s3"
    NATS = "nats"


_SCHEMES = {ConnectionKind.S3: ("http", "https"), ConnectionKind.NATS: ("nats", "tls")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How a system outside is reached, and for which buckets or streams. Its secret is kept apart."""

    project_id: str
    name: str
    kind: ConnectionKind
    address: str
    """`http(s)://host[:port]` for S3, `nats://` or `tls://` for NATS."""
    region: str = ""
    """S3: the region that requests are signed for."""
    user: str = ""
    """The access key, or the name of the user."""
    resources: tuple[str, ...] = (ANY_RESOURCE,)
    """Buckets or streams that are there; `*` for all that no other connection names."""
    created_at: float = 0.0


def parse_topic_urn(text: str) -> tuple[str, str, str]:
    """Return region, project and name of a topic.

    Raises:
        ModelError: FSS.0400.
    """
    fields = text.split(":")
    is_sound = len(fields) == _TOPIC_URN_FIELDS and fields[:2] == ["urn", "smn"] and all(fields)
    if not is_sound or not _TOPIC_NAME.fullmatch(fields[-1]):
        raise _invalid(f"'{text[:300]}' is not a topic urn; use 'urn:smn:<region>:<project>:<topic>'.")
    return fields[2], fields[3], fields[4]


def check_topic_name(name: str) -> None:
    """Refuse a name that no topic can have.

    Raises:
        ModelError: FSS.0400.
    """
    if not _TOPIC_NAME.fullmatch(name):
        raise _invalid(f"The topic name '{name[:300]}' is invalid: 1 to 255 letters, digits, '_' and '-', not first.")


def check_stream_name(name: str) -> None:
    """Refuse a name that no stream can have.

    Raises:
        ModelError: FSS.0400.
    """
    if not _STREAM_NAME.fullmatch(name):
        raise _invalid(f"The stream name '{name[:80]}' is invalid: 1 to 64 letters, digits, '_' and '-'.")


def check_bucket_name(name: str) -> None:
    """Refuse a name that no bucket can have.

    Raises:
        ModelError: FSS.0400.
    """
    if not _BUCKET_NAME.fullmatch(name) or ".." in name:
        raise _invalid(f"The bucket name '{name[:80]}' is invalid: 3 to 63 lower-case letters, digits, '-' and '.'.")


def check_connection(connection: Connection, secret: str) -> None:
    """Refuse a connection that cannot work, whatever is at its other end.

    Raises:
        ModelError: FSS.0400.
    """
    if not _CONNECTION_NAME.fullmatch(connection.name):
        raise _invalid(f"The connection name '{connection.name[:80]}' is invalid: letters, digits, '_' and '-'.")
    _check_address(connection)
    if not 1 <= len(connection.resources) <= MAX_RESOURCES:
        raise _invalid(f"A connection needs 1 to {MAX_RESOURCES} resources; '*' stands for all.")
    for resource in connection.resources:
        if resource != ANY_RESOURCE and not _RESOURCE.fullmatch(resource):
            raise _invalid(f"The resource '{resource[:140]}' is invalid: it is the name of a bucket or stream, or '*'.")
    if len(secret) > MAX_SECRET_LENGTH or not secret.isprintable() or not connection.user.isprintable():
        raise _invalid(f"User and secret must be printable, the secret at most {MAX_SECRET_LENGTH} characters.")
    if connection.kind is ConnectionKind.S3 and not (
        connection.user and secret and _REGION.fullmatch(connection.region)
    ):
        raise _invalid("A connection of kind 's3' needs user (access key), secret (secret key) and region.")


def _check_address(connection: Connection) -> None:
    schemes = _SCHEMES[connection.kind]
    try:
        url = urlsplit(connection.address)
        is_sound = (
            len(connection.address) <= MAX_URL_LENGTH
            and connection.address.isascii()
            and connection.address.isprintable()
            and url.scheme in schemes
            and bool(url.hostname)
            and url.port != 0
            and "@" not in url.netloc
            and url.path in ("", "/")
            and not url.query
            and not url.fragment
        )
    except ValueError:
        is_sound = False
    if not is_sound:
        wanted = " or ".join(f"{scheme}://host:port" for scheme in schemes)
        raise _invalid(f"The address '{connection.address[:200]}' is invalid; use {wanted}, with nothing behind it.")


def _invalid(message: str) -> ModelError:
    return ModelError("FSS.0400", message)
