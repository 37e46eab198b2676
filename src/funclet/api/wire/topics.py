"""Topics: the operations of the cloud's notification service that its SDK sends, bodies to the service and back."""

from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.messaging import Subscription, SubscriptionStatus, Topic

MAX_PAGE = 100
_STATUS = {SubscriptionStatus.PENDING: 0, SubscriptionStatus.CONFIRMED: 1}


class TopicBody(msgspec.Struct):
    """Body of the create operation."""

    name: str
    display_name: str = ""


class SubscriptionBody(msgspec.Struct):
    """Body of the subscribe operation."""

    protocol: str
    endpoint: str
    remark: str = ""


class PublishBody(msgspec.Struct):
    """Body of the publish operation."""

    message: str
    subject: str = ""


async def create_topic(call: Call) -> Response:
    """Serve CreateTopic."""
    body = codec.decode(TopicBody, call)
    topic = await call.services.topics.create(call.principal, body.name, body.display_name)
    return codec.json_response(201, {"request_id": call.request_id, "topic_urn": topic.urn})


async def list_topics(call: Call) -> Response:
    """Serve ListTopics."""
    offset, limit = _page(call)
    topics, count = await call.services.topics.list(call.principal, offset=offset, limit=limit)
    body = {"request_id": call.request_id, "topic_count": count, "topics": [_topic(topic) for topic in topics]}
    return codec.json_response(200, body)


async def list_topic_details(call: Call) -> Response:
    """Serve ListTopicDetails: one topic."""
    topic = await call.services.topics.get(call.principal, call.parameters["topic_urn"])
    return codec.json_response(200, {"request_id": call.request_id, **_topic(topic)})


async def delete_topic(call: Call) -> Response:
    """Serve DeleteTopic."""
    await call.services.topics.delete(call.principal, call.parameters["topic_urn"])
    return codec.json_response(200, {"request_id": call.request_id})


async def add_subscription(call: Call) -> Response:
    """Serve AddSubscription. `secret` is an addition: it is told only here."""
    body = codec.decode(SubscriptionBody, call)
    subscription, secret = await call.services.topics.subscribe(
        call.principal,
        call.parameters["topic_urn"],
        protocol=body.protocol,
        endpoint=body.endpoint,
        remark=body.remark,
    )
    urn = f"{call.parameters['topic_urn']}:{subscription.subscription_id}"
    answer = {"request_id": call.request_id, "subscription_urn": urn}
    return codec.json_response(201, answer | ({"secret": secret} if secret else {}))


async def list_subscriptions_by_topic(call: Call) -> Response:
    """Serve ListSubscriptionsByTopic."""
    return _subscriptions(call, await call.services.topics.subscriptions(call.principal, call.parameters["topic_urn"]))


async def list_subscriptions(call: Call) -> Response:
    """Serve ListSubscriptions: those of all topics."""
    return _subscriptions(call, await call.services.topics.subscriptions(call.principal))


async def cancel_subscription(call: Call) -> Response:
    """Serve CancelSubscription."""
    await call.services.topics.unsubscribe(call.principal, call.parameters["subscription_urn"])
    return codec.json_response(200, {"request_id": call.request_id})


async def publish_message(call: Call) -> Response:
    """Serve PublishMessage."""
    body = codec.decode(PublishBody, call)
    message_id = await call.services.topics.publish(
        call.principal, call.parameters["topic_urn"], subject=body.subject, text=body.message
    )
    return codec.json_response(200, {"request_id": call.request_id, "message_id": message_id})


async def confirm_subscription(call: Call) -> Response:
    """Serve ConfirmSubscription: the link that a new subscriber is sent."""
    urn = await call.services.topics.confirm(call.query.get("topic_urn", ""), call.query.get("token", ""))
    return codec.json_response(200, {"request_id": call.request_id, "subscription_urn": urn})


def _page(call: Call) -> tuple[int, int]:
    offset = max(0, codec.query_number(call, "offset", default=0))
    limit = codec.query_number(call, "limit", default=MAX_PAGE)
    return offset, limit if 0 < limit <= MAX_PAGE else MAX_PAGE


def _subscriptions(call: Call, found: Any) -> Response:
    offset, limit = _page(call)
    page = [_subscription(call, one) for one in found[offset : offset + limit]]
    body = {"request_id": call.request_id, "subscription_count": len(found), "subscriptions": page}
    return codec.json_response(200, body)


def _topic(topic: Topic) -> dict[str, Any]:
    return {
        "topic_urn": topic.urn,
        "name": topic.name,
        "display_name": topic.display_name,
        "push_policy": 0,
        "create_time": utc_text(topic.created_at),
        "update_time": utc_text(topic.created_at),
    }


def _subscription(call: Call, one: Subscription) -> dict[str, Any]:
    topic_urn = f"urn:smn:{call.services.identity.region}:{one.project_id}:{one.topic_name}"
    return {
        "topic_urn": topic_urn,
        "subscription_urn": f"{topic_urn}:{one.subscription_id}",
        "protocol": one.protocol,
        "owner": one.project_id,
        "endpoint": one.endpoint,
        "remark": one.remark,
        "status": _STATUS[one.status],
        "failures": one.failures,
        "last_error": one.last_error,
    }
