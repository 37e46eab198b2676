"""Destination `SMN`: the document is published to a topic of this server, which sends it to its subscribers."""

import uuid
from collections.abc import Callable

from funclet.asyncq.delivery import Delivery, DeliveryFailed, Destination
from funclet.asyncq.destinations import text_of
from funclet.base.clock import Clock
from funclet.model.messaging import Message, parse_topic_urn
from funclet.store.protocol import Store, StoreUnavailable, Tx

_SPACE = uuid.UUID("3f0f1ad5-6f3e-4d25-8a0b-6d3a4d9bb1c7")


class TopicDeliverer:
    """Publishes the document to the topic of `topic_urn`; acknowledged when it is stored for every subscriber."""

    def __init__(self, store: Store, clock: Clock, *, published: Callable[[Message], None]) -> None:
        self._store = store
        self._clock = clock
        self._published = published

    def check(self, destination: Destination) -> None:
        """Refuse what is no topic urn.

        Raises:
            ModelError: FSS.0400.
        """
        parse_topic_urn(text_of(destination, "topic_urn"))

    async def deliver(self, delivery: Delivery) -> None:
        """Publish the document. What is published again while it is on its way is dropped.

        Raises:
            DeliveryFailed: there is no such topic, or nothing could be stored.
        """
        urn = text_of(delivery.destination, "topic_urn")
        _, project_id, name = parse_topic_urn(urn)
        outcome = "success" if delivery.is_success else "failure"
        message = Message(
            message_id=uuid.uuid5(_SPACE, f"{delivery.request_id} {outcome} {urn}").hex,
            type="Notification",
            topic_urn=urn,
            subject=f"FunctionGraph async {outcome}",
            text=delivery.document.decode(errors="replace"),
            published_at=self._clock.now(),
            hop=f"{delivery.root_request_id};{delivery.depth + 1}",
        )

        def publish(tx: Tx) -> bool:
            topic = tx.topics.get(project_id, name) if project_id == delivery.project_id else None
            if topic is None or topic.urn != urn:
                return False
            tx.topics.publish(project_id, name, message)
            return True

        try:
            is_published = await self._store.write(publish)
        except StoreUnavailable as error:
            raise DeliveryFailed("the database cannot be used now") from error
        if not is_published:
            raise DeliveryFailed(f"the topic '{urn}' does not exist", is_permanent=True)
        self._published(message)
