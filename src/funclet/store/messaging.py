"""What the server may ask of the database about topics, streams, stored objects and connections.

Groups of `protocol.Tx`, apart because that module is long enough.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from funclet.model.messaging import (
    Connection,
    Message,
    Push,
    StoredObject,
    Stream,
    StreamRecord,
    Subscription,
    Topic,
)

Reseal = Callable[[bytes, str], bytes]
"""Gets sealed bytes and the context that they were sealed for; returns them sealed anew."""


class Topics(Protocol):
    """Topics, subscriptions, and messages on their way."""

    def add(self, topic: Topic) -> None:
        """Store a topic.

        Raises:
            Duplicate: the project has one of this name.
        """
        ...

    def get(self, project_id: str, name: str) -> Topic | None:
        """Return one topic."""
        ...

    def list(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Topic], int]:
        """Return a page of the topics of a project by name, and the count of all."""
        ...

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a topic with its subscriptions and all messages on their way; False if there is none."""
        ...

    def subscribe(self, subscription: Subscription) -> None:
        """Store a subscription; one of the same address keeps its id and gets all else from the new one."""
        ...

    def subscription(self, subscription_id: str) -> Subscription | None:
        """Return one subscription."""
        ...

    def subscriptions(self, project_id: str, *, topic_name: str = "") -> Sequence[Subscription]:
        """Return the subscriptions of a topic, or of all, oldest first."""
        ...

    def confirm(self, project_id: str, topic_name: str, *, token_digest: str, now: float) -> str | None:
        """Confirm the subscription that waits for this token, and return its id; None if there is none any more."""
        ...

    def unsubscribe(self, subscription_id: str) -> None:
        """Delete a subscription and what is on its way to it; nothing happens if there is none."""
        ...

    def publish(self, project_id: str, name: str, message: Message) -> int:
        """Put a message on its way to every confirmed subscription; return how many.

        A message id that is on its way already is ignored.
        """
        ...

    def send_to(self, subscription: Subscription, message: Message) -> None:
        """Put a message on its way to one subscription."""
        ...

    def waiting(self, project_id: str, name: str) -> int:
        """Return how many messages of a topic are on their way, each counted for every subscription."""
        ...

    def due(
        self, *, now: float, busy: Collection[str], under_way: Collection[int], limit: int
    ) -> tuple[Sequence[Push], float | None]:
        """Return pushes that are due, oldest first, and when the next one is that is not under way.

        Args:
            now: seconds since the epoch.
            busy: ids of subscriptions that get nothing more now.
            under_way: ids of pushes that are being sent.
            limit: at most so many.
        """
        ...

    def sent(self, push: Push) -> None:
        """Forget a push; its message goes with the last one."""
        ...

    def postpone(self, push: Push, *, due_at: float) -> None:
        """Try a push again later."""
        ...

    def give_up(self, push: Push, *, error: str) -> None:
        """Forget a push and note at its subscription why."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        ...


class Streams(Protocol):
    """Streams of the server's own."""

    def add(self, stream: Stream) -> None:
        """Store a stream.

        Raises:
            Duplicate: the project has one of this name.
        """
        ...

    def get(self, project_id: str, name: str) -> Stream | None:
        """Return one stream."""
        ...

    def list(self, project_id: str, *, after: str, limit: int) -> tuple[Sequence[Stream], int]:
        """Return the streams behind a name, by name, and the count of all."""
        ...

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a stream with its records; False if there is none."""
        ...

    def append(
        self, project_id: str, name: str, *, partition_key: str, data: bytes, at: float, dedup_key: str = ""
    ) -> int | None:
        """Add a record and return its number; None if there is no such stream.

        As long as the stream has a record with the same `dedup_key`, nothing is added and the number is that one's.
        The oldest records make room if the stream grows beyond its size.
        """
        ...

    def read(self, project_id: str, name: str, *, after: int, now: float, limit: int) -> Sequence[StreamRecord]:
        """Return the records behind a number that are within the age of the stream, in order."""
        ...

    def end(self, project_id: str, name: str) -> int:
        """Return the number of the last record that was added; 0 before the first."""
        ...

    def trim(self, *, now: float) -> int:
        """Delete records that are over the age of their stream, some thousands at most; return how many."""
        ...


class Objects(Protocol):
    """What destinations have stored. Repeating a call changes nothing."""

    def put(self, stored: StoredObject) -> None:
        """Remember an object, in place of one with the same name."""
        ...

    def list(self, project_id: str, bucket: str, *, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return objects of the store in the data folder by key."""
        ...

    def total(self, project_id: str) -> int:
        """Return how many bytes a project has in the data folder."""
        ...

    def expired(self, *, now: float, limit: int) -> Sequence[StoredObject]:
        """Return objects whose end has come, the oldest first."""
        ...

    def forget(self, stored: StoredObject) -> None:
        """Remember an object no more."""
        ...

    def postpone(self, stored: StoredObject, *, until: float) -> None:
        """Let an object that could not be deleted expire later."""
        ...


class Connections(Protocol):
    """How systems outside are reached, each with its sealed secret."""

    def put(self, connection: Connection, sealed_secret: bytes) -> None:
        """Create or replace a connection by its name."""
        ...

    def list(self, project_id: str) -> Sequence[tuple[Connection, bytes]]:
        """Return the connections of a project by name."""
        ...

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a connection; False if there is none."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        ...


def connection_context(project_id: str, name: str) -> str:
    """Return what the secret of a connection is sealed for."""
    return f"connection/{project_id}/{name}"


def subscription_context(subscription_id: str) -> str:
    """Return what the secret of a subscription is sealed for."""
    return f"subscription/{subscription_id}"
