"""Destination `DIS`: the document becomes a record of a stream, of this server or of the broker that is connected."""

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import text_of
from funclet.base.clock import Clock
from funclet.model.messaging import ConnectionKind, check_stream_name
from funclet.outside.jetstream import JetStream, JetStreamFailed, NatsAddress
from funclet.outside.links import Links, OpenedConnection
from funclet.store.protocol import Store, StoreUnavailable
from funclet.vault import VaultError


class StreamDeliverer:
    """Adds the document to the stream `stream_name`; its partition key is the request id."""

    def __init__(self, store: Store, links: Links, jetstream: JetStream, clock: Clock) -> None:
        self._store = store
        self._links = links
        self._jetstream = jetstream
        self._clock = clock

    def check(self, destination: Destination) -> None:
        """Refuse a name that no stream can have.

        Raises:
            ModelError: FSS.0400.
        """
        check_stream_name(text_of(destination, "stream_name"))

    async def deliver(self, delivery: Delivery) -> None:
        """Add the document. Repeating that changes nothing as long as the stream, or the broker, knows the first.

        Raises:
            DeliveryFailed: there is no such stream, or the record is not stored.
        """
        name = text_of(delivery.destination, "stream_name")
        try:
            link = await self._links.find(delivery.project_id, ConnectionKind.NATS, name)
            if link is not None:
                await self._publish(link, name, delivery)
                return
            number = await self._store.write(
                lambda tx: tx.streams.append(
                    delivery.project_id,
                    name,
                    partition_key=delivery.request_id,
                    data=delivery.document,
                    at=self._clock.now(),
                    dedup_key=_dedup_key(delivery),
                )
            )
        except VaultError as error:
            raise DeliveryFailed(str(error), is_permanent=True) from error
        except StoreUnavailable as error:
            raise DeliveryFailed("the database cannot be used now") from error
        if number is None:
            raise DeliveryFailed(f"the stream '{name}' does not exist", is_permanent=True)

    async def _publish(self, link: OpenedConnection, name: str, delivery: Delivery) -> None:
        try:
            await self._jetstream.publish(
                nats_address(link),
                name,
                delivery.document,
                key=delivery.request_id,
                message_id=_dedup_key(delivery),
            )
        except JetStreamFailed as error:
            raise DeliveryFailed(str(error), is_permanent=error.is_permanent) from error


def _dedup_key(delivery: Delivery) -> str:
    return f"{delivery.request_id}-{'success' if delivery.is_success else 'failure'}"


def nats_address(link: OpenedConnection) -> NatsAddress:
    """Return how a connection reaches its server."""
    return NatsAddress(url=link.connection.address, user=link.connection.user, password=link.secret)
