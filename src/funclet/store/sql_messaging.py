"""The groups of `messaging` over named queries, as `sql` has those of `protocol`."""

import sqlite3
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

import msgspec

from funclet.model.messaging import (
    Connection,
    Message,
    Push,
    StoredObject,
    Stream,
    StreamRecord,
    Subscription,
    SubscriptionStatus,
    Topic,
)
from funclet.store.connection import Session
from funclet.store.messaging import Reseal, connection_context, subscription_context
from funclet.store.protocol import Duplicate

MAX_TRIMMED = 5_000
"""Records that one `Streams.trim` deletes, because other writes wait meanwhile."""
MAX_ERROR_LENGTH = 500
_OLDEST = 100


def _add(session: Session, query: str, taken: str, /, **values: Any) -> None:
    try:
        session.run(query, **values)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise Duplicate(taken) from error
        raise


def _columns(value: Topic | Stream | StoredObject) -> dict[str, Any]:
    columns: dict[str, Any] = msgspec.to_builtins(value)
    return columns


class SqlTopics:
    """Topics, subscriptions, and messages on their way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode = msgspec.json.Decoder(Message).decode

    def add(self, topic: Topic) -> None:
        """Store a topic.

        Raises:
            Duplicate: the project has one of this name.
        """
        _add(self._session, "add_topic", f"topic '{topic.name}' exists", **_columns(topic))

    def get(self, project_id: str, name: str) -> Topic | None:
        """Return one topic."""
        row = self._session.one("get_topic", project_id=project_id, name=name)
        return _topic(row) if row else None

    def list(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Topic], int]:
        """Return a page of the topics of a project by name, and the count of all."""
        rows = self._session.all("list_topics", project_id=project_id, offset=offset, limit=limit)
        return [_topic(row) for row in rows], self._session.number("count_topics", project_id=project_id)

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a topic with its subscriptions and all messages on their way; False if there is none."""
        return bool(self._session.run("delete_topic", project_id=project_id, name=name).rowcount)

    def subscribe(self, subscription: Subscription) -> None:
        """Store a subscription; one of the same address keeps its id and gets all else from the new one."""
        self._session.run(
            "put_subscription",
            subscription_id=subscription.subscription_id,
            project_id=subscription.project_id,
            topic_name=subscription.topic_name,
            protocol=subscription.protocol,
            endpoint=subscription.endpoint,
            remark=subscription.remark,
            status=subscription.status.value,
            sealed_secret=subscription.sealed_secret,
            token_digest=subscription.token_digest,
            token_expires_at=subscription.token_expires_at,
            created_at=subscription.created_at,
        )

    def subscription(self, subscription_id: str) -> Subscription | None:
        """Return one subscription."""
        row = self._session.one("get_subscription", subscription_id=subscription_id)
        return _subscription(row) if row else None

    def subscriptions(self, project_id: str, *, topic_name: str = "") -> Sequence[Subscription]:
        """Return the subscriptions of a topic, or of all, oldest first."""
        rows = self._session.all("find_subscriptions", project_id=project_id, topic_name=topic_name)
        return [_subscription(row) for row in rows]

    def confirm(self, project_id: str, topic_name: str, *, token_digest: str, now: float) -> str | None:
        """Confirm the subscription that waits for this token, and return its id; None if there is none any more."""
        row = self._session.one(
            "confirm_subscription", project_id=project_id, topic_name=topic_name, token_digest=token_digest, now=now
        )
        return row[0] if row else None

    def unsubscribe(self, subscription_id: str) -> None:
        """Delete a subscription and what is on its way to it; nothing happens if there is none."""
        self._session.run("delete_subscription", subscription_id=subscription_id)
        self._session.run("delete_messages_without_pushes")

    def publish(self, project_id: str, name: str, message: Message) -> int:
        """Put a message on its way to every confirmed subscription; return how many."""
        if not self._add_message(project_id, name, message):
            return 0
        session = self._session
        pushed = session.run(
            "push_to_confirmed",
            message_id=message.message_id,
            project_id=project_id,
            name=name,
            due_at=message.published_at,
        ).rowcount
        session.run("delete_message_without_pushes", message_id=message.message_id)
        return pushed

    def send_to(self, subscription: Subscription, message: Message) -> None:
        """Put a message on its way to one subscription."""
        if self._add_message(subscription.project_id, subscription.topic_name, message):
            self._session.run(
                "push_to_one",
                message_id=message.message_id,
                subscription_id=subscription.subscription_id,
                due_at=message.published_at,
            )

    def waiting(self, project_id: str, name: str) -> int:
        """Return how many messages of a topic are on their way, each counted for every subscription."""
        return self._session.number("count_pushes", project_id=project_id, name=name)

    def due(
        self, *, now: float, busy: Collection[str], under_way: Collection[int], limit: int
    ) -> tuple[Sequence[Push], float | None]:
        """Return pushes that are due, oldest first, and when the next one is that is not under way."""
        excluded = _encode(tuple(under_way))
        rows = self._session.all("due_pushes", now=now, busy=_encode(tuple(busy)), under_way=excluded, limit=limit)
        pushes = [
            Push(push_id=push_id, message=self._decode(document), subscription=subscription, attempts=attempts)
            for push_id, attempts, document, subscription_id in rows
            if (subscription := self.subscription(subscription_id))
        ]
        following = self._session.one("next_push_due", under_way=excluded)
        return pushes, following[0] if following else None

    def sent(self, push: Push) -> None:
        """Forget a push; its message goes with the last one."""
        row = self._session.one("delete_push", push_id=push.push_id)
        if row:
            self._session.run("delete_message_without_pushes", message_id=row[0])

    def postpone(self, push: Push, *, due_at: float) -> None:
        """Try a push again later."""
        self._session.run("postpone_push", push_id=push.push_id, due_at=due_at)

    def give_up(self, push: Push, *, error: str) -> None:
        """Forget a push and note at its subscription why."""
        self.sent(push)
        self._session.run(
            "note_failed_push", subscription_id=push.subscription.subscription_id, error=error[:MAX_ERROR_LENGTH]
        )

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        for name, sealed in self._session.all("list_sealed_subscriptions"):
            sealed_anew = reseal(sealed, subscription_context(name))
            self._session.run("seal_subscription", subscription_id=name, sealed_secret=sealed_anew)

    def _add_message(self, project_id: str, name: str, message: Message) -> bool:
        added = self._session.run(
            "add_message", message_id=message.message_id, document=_encode(message), project_id=project_id, name=name
        )
        return bool(added.rowcount)


class SqlStreams:
    """Streams of the server's own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, stream: Stream) -> None:
        """Store a stream.

        Raises:
            Duplicate: the project has one of this name.
        """
        _add(self._session, "add_stream", f"stream '{stream.name}' exists", **_columns(stream))

    def get(self, project_id: str, name: str) -> Stream | None:
        """Return one stream."""
        row = self._session.one("get_stream", project_id=project_id, name=name)
        return _stream(row) if row else None

    def list(self, project_id: str, *, after: str, limit: int) -> tuple[Sequence[Stream], int]:
        """Return the streams behind a name, by name, and the count of all."""
        rows = self._session.all("list_streams", project_id=project_id, after=after, limit=limit)
        return [_stream(row) for row in rows], self._session.number("count_streams", project_id=project_id)

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a stream with its records; False if there is none."""
        return bool(self._session.run("delete_stream", project_id=project_id, name=name).rowcount)

    def append(
        self, project_id: str, name: str, *, partition_key: str, data: bytes, at: float, dedup_key: str = ""
    ) -> int | None:
        """Add a record and return its number, or that of the one with this key; None if there is no such stream."""
        if dedup_key:
            known = self._session.one("find_record", project_id=project_id, name=name, dedup_key=dedup_key)
            if known is not None:
                return int(known[0])
        row = self._session.one("number_record", project_id=project_id, name=name, size=len(data))
        if row is None:
            return None
        stream_id, sequence, excess = row
        self._session.run(
            "add_record",
            stream_id=stream_id,
            sequence=sequence,
            partition_key=partition_key,
            at=at,
            size=len(data),
            data=data,
            dedup_key=dedup_key,
        )
        while excess > 0:
            excess -= self._drop_oldest(stream_id, excess)
        return int(sequence)

    def read(self, project_id: str, name: str, *, after: int, now: float, limit: int) -> Sequence[StreamRecord]:
        """Return the records behind a number that are within the age of the stream, in order."""
        rows = self._session.all("read_records", project_id=project_id, name=name, after=after, now=now, limit=limit)
        return [
            StreamRecord(sequence=sequence, partition_key=key, data=data, at=at) for sequence, key, data, at in rows
        ]

    def end(self, project_id: str, name: str) -> int:
        """Return the number of the last record that was added; 0 before the first."""
        row = self._session.one("stream_end", project_id=project_id, name=name)
        return row[0] if row else 0

    def trim(self, *, now: float) -> int:
        """Delete records that are over the age of their stream, at most `MAX_TRIMMED`; return how many."""
        rows = self._session.all("expired_records", now=now, limit=MAX_TRIMMED)
        for stream_id, group in groupby(rows, key=lambda row: row[0]):
            records = list(group)
            self._drop(stream_id, last=records[-1][1], size=sum(size for _, _, size in records))
        return len(rows)

    def _drop_oldest(self, stream_id: int, excess: int) -> int:
        """Delete the oldest records, up to `_OLDEST`, until `excess` bytes are free; return how many are."""
        freed = last = 0
        for sequence, size in self._session.all("oldest_records", stream_id=stream_id, limit=_OLDEST):
            freed, last = freed + size, sequence
            if freed >= excess:
                break
        self._drop(stream_id, last=last, size=freed)
        return freed

    def _drop(self, stream_id: int, *, last: int, size: int) -> None:
        self._session.run("delete_records", stream_id=stream_id, last=last)
        self._session.run("shrink_stream", stream_id=stream_id, size=size)


class SqlObjects:
    """What destinations have stored."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, stored: StoredObject) -> None:
        """Remember an object, in place of one with the same name."""
        self._session.run("put_object", **_columns(stored))

    def list(self, project_id: str, bucket: str, *, prefix: str, after: str, limit: int) -> Sequence[StoredObject]:
        """Return objects of the store in the data folder by key."""
        rows = self._session.all(
            "list_objects", project_id=project_id, bucket=bucket, prefix=prefix, after=after, limit=limit
        )
        return [_object(row) for row in rows]

    def total(self, project_id: str) -> int:
        """Return how many bytes a project has in the data folder."""
        return self._session.number("sum_objects", project_id=project_id)

    def expired(self, *, now: float, limit: int) -> Sequence[StoredObject]:
        """Return objects whose end has come, the oldest first."""
        return [_object(row) for row in self._session.all("expired_objects", now=now, limit=limit)]

    def forget(self, stored: StoredObject) -> None:
        """Remember an object no more."""
        self._session.run("forget_object", **_key(stored))

    def postpone(self, stored: StoredObject, *, until: float) -> None:
        """Let an object that could not be deleted expire later."""
        self._session.run("postpone_object", **_key(stored), expires_at=until)


class SqlConnections:
    """How systems outside are reached."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode = msgspec.json.Decoder(Connection).decode

    def put(self, connection: Connection, sealed_secret: bytes) -> None:
        """Create or replace a connection by its name."""
        self._session.run(
            "put_connection",
            project_id=connection.project_id,
            name=connection.name,
            sealed_secret=sealed_secret,
            document=_encode(connection),
        )

    def list(self, project_id: str) -> Sequence[tuple[Connection, bytes]]:
        """Return the connections of a project by name."""
        rows = self._session.all("list_connections", project_id=project_id)
        return [(self._decode(document), sealed) for document, sealed in rows]

    def delete(self, project_id: str, name: str) -> bool:
        """Delete a connection; False if there is none."""
        return bool(self._session.run("delete_connection", project_id=project_id, name=name).rowcount)

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        for project_id, name, sealed in self._session.all("list_sealed_connections"):
            sealed_anew = reseal(sealed, connection_context(project_id, name))
            self._session.run("seal_connection", project_id=project_id, name=name, sealed_secret=sealed_anew)


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _topic(row: tuple[Any, ...]) -> Topic:
    region, project_id, name, display_name, created_at = row
    return Topic(region=region, project_id=project_id, name=name, display_name=display_name, created_at=created_at)


def _subscription(row: tuple[Any, ...]) -> Subscription:
    names = (
        "subscription_id",
        "topic_name",
        "project_id",
        "protocol",
        "endpoint",
        "remark",
        "status",
        "sealed_secret",
        "token_digest",
        "token_expires_at",
        "created_at",
        "failures",
        "last_error",
    )
    values = dict(zip(names, row, strict=True))
    return Subscription(**values | {"status": SubscriptionStatus(values["status"])})


def _stream(row: tuple[Any, ...]) -> Stream:
    project_id, name, retention_s, max_bytes, created_at = row
    return Stream(project_id=project_id, name=name, retention_s=retention_s, max_bytes=max_bytes, created_at=created_at)


def _object(row: tuple[Any, ...]) -> StoredObject:
    project_id, connection, bucket, key, size, written_at, expires_at = row
    return StoredObject(
        project_id=project_id,
        connection=connection,
        bucket=bucket,
        key=key,
        size=size,
        written_at=written_at,
        expires_at=expires_at,
    )


def _key(stored: StoredObject) -> dict[str, Any]:
    return {
        "project_id": stored.project_id,
        "connection": stored.connection,
        "bucket": stored.bucket,
        "key": stored.key,
    }
