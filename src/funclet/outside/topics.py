"""Sends what was published to the subscribers of a topic, signed, until each has acknowledged it.

`TopicSender.run` takes due rows; `send_one` sees one attempt through. Signatures and headers are those of
Standard Webhooks, for which there are libraries in many languages; the body has the members of the cloud's.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial

import msgspec

from funclet.base.clock import Clock, utc_text
from funclet.base.tasks import TaskOwner
from funclet.model.messaging import Message, Push
from funclet.outside.outgoing import Outgoing, SendFailed
from funclet.outside.topic_counters import TopicCounters
from funclet.store.messaging import Topics, subscription_context
from funclet.store.protocol import Store, StoreUnavailable
from funclet.vault import Vault, VaultError

log = logging.getLogger(__name__)

MAX_SENDING = 32
MAX_SENDING_TO_ONE = 2
"""So that an address that hangs does not keep the others waiting."""
DELAYS_S = (1.0, 5.0, 25.0, 125.0, 625.0, 3125.0)
"""Between attempts; after the last one the message is given up."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - how every such secret begins
_SEND_S = 15.0
_MAX_SLEEP_S = 5.0
_STORE_RETRY_S = 0.5
_OK, _MAX_OK = 200, 299


class TopicSender:
    """Owns all messages on their way."""

    def __init__(self, store: Store, vault: Vault, outgoing: Outgoing, clock: Clock) -> None:
        self._store = store
        self._vault = vault
        self._outgoing = outgoing
        self._clock = clock
        self._loops = TaskOwner()
        self._sends = TaskOwner()
        self._under_way: dict[int, str] = {}
        self.arrived = asyncio.Event()
        """Set when something is to be sent: the sender need not poll."""
        self.counters = TopicCounters()

    def open(self) -> None:
        """Begin to send; what a former server had not finished goes first."""
        self._loops.start(self._loop(), name="topics")

    def published(self, message: Message) -> None:
        """Learn of a message that was published: it can be sent."""
        self.counters.published(message.topic_urn)
        self.arrived.set()

    async def close(self, *, deadline_s: float) -> None:
        """Begin nothing more; let what is being sent end for `deadline_s` seconds. What is cut off is sent again."""
        await self._loops.close()
        await self._sends.drain(deadline_s=deadline_s)
        await self._sends.close()

    async def send_one(self, push: Push) -> None:
        """See one attempt through: sign, send, and note what came of it."""
        now = self._clock.now()
        try:
            secret = self._vault.reveal(
                push.subscription.sealed_secret, context=subscription_context(push.subscription.subscription_id)
            )
            body = render(push.message)
            headers = headers_of(push, body, secret=secret, at=int(now))
            answer = await self._outgoing.send(
                "POST", push.subscription.endpoint, headers=headers, body=body, within_s=_SEND_S
            )
            problem = "" if _OK <= answer.status <= _MAX_OK else f"it answered with status {answer.status}"
        except (SendFailed, VaultError) as error:
            problem = str(error)
        await self._settle(push, problem)

    async def _settle(self, push: Push, problem: str) -> None:
        while True:
            try:
                await self._store.write(lambda tx: _note(tx.topics, push, problem, self._clock.now()))
            except StoreUnavailable:
                # It stays under way until it can be noted; otherwise it would be sent twice for sure.
                await self._clock.sleep(_STORE_RETRY_S)
            else:
                break
        if not problem:
            self.counters.delivered(push.message.topic_urn)
        elif push.attempts >= len(DELAYS_S):
            self.counters.failed(push.message.topic_urn)
            log.warning(
                "a message was given up: topic=%s message=%s endpoint=%s: %s",
                push.message.topic_urn,
                push.message.message_id,
                push.subscription.endpoint,
                problem,
            )

    async def _loop(self) -> None:
        while True:
            self.arrived.clear()
            pause_s = _MAX_SLEEP_S
            try:
                free = MAX_SENDING - len(self._under_way)
                if free > 0:
                    pause_s = await self._begin(free)
            except StoreUnavailable:
                pause_s = _STORE_RETRY_S
            if pause_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self.arrived.wait()

    async def _begin(self, free: int) -> float:
        """Begin to send what is due; return how long nothing more will be."""
        now = self._clock.now()
        sending = Counter(self._under_way.values())
        busy = [name for name, count in sending.items() if count >= MAX_SENDING_TO_ONE]
        pushes, following = await self._store.read(
            lambda tx: tx.topics.due(now=now, busy=busy, under_way=self._under_way, limit=free)
        )
        begun = 0
        for push in pushes:
            name = push.subscription.subscription_id
            if sending[name] < MAX_SENDING_TO_ONE:
                sending[name] += 1
                begun += 1
                self._under_way[push.push_id] = name
                task = self._sends.start(self.send_one(push), name=f"push {push.push_id}")
                task.add_done_callback(partial(self._ended, push.push_id))
        if begun or following is None:
            return 0.0 if begun else _MAX_SLEEP_S
        return min(_MAX_SLEEP_S, following - now) if following > now else _MAX_SLEEP_S

    def _ended(self, push_id: int, _: "asyncio.Task[None]") -> None:
        self._under_way.pop(push_id, None)
        self.arrived.set()


def _note(topics: Topics, push: Push, problem: str, now: float) -> None:
    if not problem:
        topics.sent(push)
    elif push.attempts < len(DELAYS_S):
        topics.postpone(push, due_at=now + DELAYS_S[push.attempts])
    else:
        topics.give_up(push, error=problem)


def render(message: Message) -> bytes:
    """Return the body of a message: the members that the cloud's have, less its certificate."""
    body = {
        "type": message.type,
        "topic_urn": message.topic_urn,
        "message_id": message.message_id,
        "subject": message.subject,
        "message": message.text,
        "timestamp": utc_text(message.published_at),
    }
    if message.subscribe_url:
        body["subscribe_url"] = message.subscribe_url
    return msgspec.json.encode(body)


def headers_of(push: Push, body: bytes, *, secret: str, at: int) -> Mapping[str, str]:
    """Return the headers of one attempt at `at` (seconds since the epoch)."""
    message = push.message
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message.message_id}.{at}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Funclet",
        "X-SMN-MESSAGE-TYPE": message.type,
        "X-SMN-MESSAGE-ID": message.message_id,
        "X-SMN-TOPIC-URN": message.topic_urn,
        "X-SMN-SUBSCRIPTION-URN": f"{message.topic_urn}:{push.subscription.subscription_id}",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{signature}",
    }
    return headers | ({"X-Cff-Async-Hop": message.hop} if message.hop else {})
