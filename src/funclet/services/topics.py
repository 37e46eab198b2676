"""Topics and subscriptions: created, confirmed, published to."""

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlencode, urlsplit

from funclet.base.clock import Clock
from funclet.base.ids import new_hex_id
from funclet.model.errors import ModelError
from funclet.model.identity import Principal
from funclet.model.messaging import (
    MAX_MESSAGE_BYTES,
    MAX_SUBJECT_LENGTH,
    MAX_URL_LENGTH,
    Message,
    Subscription,
    SubscriptionStatus,
    Topic,
    check_topic_name,
    parse_topic_urn,
)
from funclet.outside.guard import AddressRefused, AddressUnknown, Guard
from funclet.outside.topics import SECRET_PREFIX
from funclet.store.messaging import subscription_context
from funclet.store.protocol import Duplicate, Store, Tx
from funclet.vault import Vault

MAX_TOPICS = 3000
MAX_SUBSCRIPTIONS = 1000
MAX_WAITING = 100_000
"""Messages of a topic on their way, each counted for every subscription."""
MAX_DISPLAY_NAME_LENGTH = 192
MAX_REMARK_LENGTH = 128
TOKEN_LIFETIME_S = 48 * 3600.0
SUBSCRIBE_PATH = "/smn/subscription/subscribe"
_SECRET_BYTES = 32
_PORTS = {"http": 80, "https": 443}


class TopicService:
    """Use cases of topics."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        guard: Guard,
        clock: Clock,
        *,
        region: str,
        api_url: str,
        wake: Callable[[], None],
        published: Callable[[Message], None],
    ) -> None:
        """Take the parts.

        Args:
            store: rows.
            vault: seals secrets.
            guard: says which addresses may be subscribed.
            clock: for what is written.
            region: of the urns.
            api_url: where subscribers confirm.
            wake: called when an invitation is to be sent.
            published: called with what was published.
        """
        self._store = store
        self._vault = vault
        self._guard = guard
        self._clock = clock
        self._region = region
        self._api_url = api_url
        self._wake = wake
        self._published = published

    async def create(self, principal: Principal, name: str, display_name: str) -> Topic:
        """Create a topic; return the one that is there if there is one of this name, as the cloud does.

        Raises:
            ModelError: FSS.0400 for a wrong name, FSS.0403 beyond the quota.
        """
        check_topic_name(name)
        _check_length("display_name", display_name, MAX_DISPLAY_NAME_LENGTH)
        project_id = principal.project.project_id
        topic = Topic(
            region=self._region,
            project_id=project_id,
            name=name,
            display_name=display_name,
            created_at=self._clock.now(),
        )

        def add(tx: Tx) -> Topic:
            """Add the topic, in one transaction with the count of the others."""
            if tx.topics.list(project_id, offset=0, limit=1)[1] >= MAX_TOPICS:
                raise ModelError("FSS.0403", f"The project has {MAX_TOPICS} topics already.")
            tx.topics.add(topic)
            return topic

        try:
            return await self._store.write(add)
        except Duplicate:
            return await self.get(principal, topic.urn)

    async def get(self, principal: Principal, urn: str) -> Topic:
        """Return a topic.

        Raises:
            ModelError: FSS.1171.
        """
        project_id, name = self._names(principal, urn)
        return _require(await self._store.read(lambda tx: tx.topics.get(project_id, name)), urn)

    async def list(self, principal: Principal, *, offset: int, limit: int) -> tuple[Sequence[Topic], int]:
        """Return a page of the topics of the project, and the count of all."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.topics.list(project_id, offset=offset, limit=limit))

    async def delete(self, principal: Principal, urn: str) -> None:
        """Delete a topic with its subscriptions; what is on its way is dropped.

        Raises:
            ModelError: FSS.1171.
        """
        project_id, name = self._names(principal, urn)
        if not await self._store.write(lambda tx: tx.topics.delete(project_id, name)):
            raise _missing(urn)

    async def subscribe(
        self, principal: Principal, urn: str, *, protocol: str, endpoint: str, remark: str
    ) -> tuple[Subscription, str]:
        """Subscribe an address, and send it the request to confirm that.

        Returns:
            The subscription, and the secret that signs what it is sent, which is told only now. An address that
            is subscribed and confirmed already keeps its secret: the text is empty then.

        Raises:
            ModelError: FSS.1171, FSS.0400 for an address that cannot be used, FSS.0403 beyond the quota.
        """
        _check_length("remark", remark, MAX_REMARK_LENGTH)
        await self._check_endpoint(protocol, endpoint)
        project_id, name = self._names(principal, urn)
        secret = SECRET_PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()
        token, now = secrets.token_urlsafe(32), self._clock.now()
        fresh_id = new_hex_id()

        def put(tx: Tx) -> tuple[Subscription, str]:
            """Store the subscription and its invitation; return it with its secret, or with none if it is confirmed."""
            topic = _require(tx.topics.get(project_id, name), urn)
            others = tx.topics.subscriptions(project_id, topic_name=name)
            known = next((one for one in others if one.endpoint == endpoint), None)
            if known is not None and known.status is SubscriptionStatus.CONFIRMED:
                return known, ""
            if known is None and len(others) >= MAX_SUBSCRIPTIONS:
                raise ModelError("FSS.0403", f"The topic has {MAX_SUBSCRIPTIONS} subscriptions already.")
            subscription_id = known.subscription_id if known else fresh_id
            subscription = Subscription(
                subscription_id=subscription_id,
                topic_name=name,
                project_id=project_id,
                protocol=protocol,
                endpoint=endpoint,
                remark=remark,
                sealed_secret=self._vault.seal(secret, context=subscription_context(subscription_id)),
                token_digest=_digest(token),
                token_expires_at=now + TOKEN_LIFETIME_S,
                created_at=now,
            )
            tx.topics.subscribe(subscription)
            tx.topics.send_to(subscription, self._invitation(topic, token, now))
            return subscription, secret

        done = await self._store.write(put)
        self._wake()
        return done

    async def confirm(self, urn: str, token: str) -> str:
        """Confirm the subscription that was sent this token; return its urn. Whoever has the token may.

        Raises:
            ModelError: FSS.0404 if no subscription waits for it any more.
        """
        _, project_id, name = parse_topic_urn(urn)
        digest, now = _digest(token), self._clock.now()
        found = await self._store.write(lambda tx: tx.topics.confirm(project_id, name, token_digest=digest, now=now))
        if found is None:
            raise ModelError("FSS.0404", "The token is wrong, used or older than 48 hours; subscribe again.")
        return f"{urn}:{found}"

    async def subscriptions(self, principal: Principal, urn: str = "") -> Sequence[Subscription]:
        """Return the subscriptions of a topic, or of all topics of the project.

        Raises:
            ModelError: FSS.1171.
        """
        project_id, name = self._names(principal, urn) if urn else (principal.project.project_id, "")

        def find(tx: Tx) -> Sequence[Subscription]:
            """Return the subscriptions of the topic, or of the whole project."""
            if urn:
                _require(tx.topics.get(project_id, name), urn)
            return tx.topics.subscriptions(project_id, topic_name=name)

        return await self._store.read(find)

    async def unsubscribe(self, principal: Principal, urn: str) -> None:
        """Delete a subscription.

        Raises:
            ModelError: FSS.0404.
        """
        topic_urn, _, subscription_id = urn.rpartition(":")
        project_id, name = self._names(principal, topic_urn)

        def delete(tx: Tx) -> None:
            """Delete the subscription if it is one of this topic."""
            found = tx.topics.subscription(subscription_id)
            if found is None or (found.project_id, found.topic_name) != (project_id, name):
                raise ModelError("FSS.0404", f"The subscription '{urn[:300]}' does not exist.")
            tx.topics.unsubscribe(subscription_id)

        await self._store.write(delete)

    async def publish(self, principal: Principal, urn: str, *, subject: str, text: str) -> str:
        """Publish a message and return its id; it is stored for every confirmed subscription when this returns.

        Raises:
            ModelError: FSS.1171, FSS.0400 if it is empty or too large, FSS.0429 if too many are on their way.
        """
        project_id, name = self._names(principal, urn)
        _check_length("subject", subject, MAX_SUBJECT_LENGTH)
        if not text or len(text.encode(errors="replace")) > MAX_MESSAGE_BYTES:
            raise ModelError("FSS.0400", f"message must be a text of 1 to {MAX_MESSAGE_BYTES} bytes.")
        message = Message(
            message_id=new_hex_id(),
            type="Notification",
            topic_urn=urn,
            subject=subject,
            text=text,
            published_at=self._clock.now(),
        )

        def publish(tx: Tx) -> None:
            """Store the message for all who are confirmed, unless too many are on their way."""
            _require(tx.topics.get(project_id, name), urn)
            if tx.topics.waiting(project_id, name) >= MAX_WAITING:
                raise ModelError("FSS.0429", f"{MAX_WAITING} messages of the topic are on their way.", retry_after_s=5)
            tx.topics.publish(project_id, name, message)

        await self._store.write(publish)
        self._published(message)
        return message.message_id

    def _names(self, principal: Principal, urn: str) -> tuple[str, str]:
        """Return project and name of a topic of the caller."""
        region, project_id, name = parse_topic_urn(urn)
        if project_id != principal.project.project_id:
            raise ModelError("FSS.0403", f"The topic '{urn[:300]}' is of another project than your credentials.")
        if region != self._region:
            raise _missing(urn)
        return project_id, name

    def _invitation(self, topic: Topic, token: str, now: float) -> Message:
        return Message(
            message_id=new_hex_id(),
            type="SubscriptionConfirmation",
            topic_urn=topic.urn,
            subject="",
            text=f"You are invited to the topic {topic.urn}. Open subscribe_url within 48 hours to get its messages.",
            published_at=now,
            subscribe_url=f"{self._api_url}{SUBSCRIBE_PATH}?{urlencode({'topic_urn': topic.urn, 'token': token})}",
        )

    async def _check_endpoint(self, protocol: str, endpoint: str) -> None:
        if protocol not in _PORTS:
            raise ModelError("FSS.0400", f"protocol '{protocol[:40]}' is not possible here: 'http' or 'https'.")
        try:
            url = urlsplit(endpoint)
            is_sound = (
                len(endpoint) <= MAX_URL_LENGTH
                and endpoint.isascii()
                and endpoint.isprintable()
                and " " not in endpoint
                and url.scheme == protocol
                and bool(url.hostname)
                and "@" not in url.netloc
                and not url.fragment
            )
            is_sound = is_sound and url.port != 0
            port = url.port or _PORTS[protocol]
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ModelError("FSS.0400", f"endpoint '{endpoint[:200]}' is no address like {protocol}://host/path.")
        try:
            await self._guard.resolve(url.hostname or "", port)
        except (AddressRefused, AddressUnknown) as error:
            raise ModelError("FSS.0400", f"endpoint '{endpoint[:200]}' cannot be used: {error}.") from error


def _check_length(field: str, text: str, maximum: int) -> None:
    if len(text) > maximum:
        raise ModelError("FSS.0400", f"{field} has {len(text)} characters, at most {maximum} are possible.")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _require(topic: Topic | None, urn: str) -> Topic:
    if topic is None:
        raise _missing(urn)
    return topic


def _missing(urn: str) -> ModelError:
    return ModelError("FSS.1171", f"The topic '{urn[:300]}' does not exist.")
