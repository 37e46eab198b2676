"""Looks for what triggers listen to, in the transaction that stores them."""

from dataclasses import dataclass

from funclet.model.errors import ModelError
from funclet.model.gateway import AuthorizerKind
from funclet.model.messaging import ANY_RESOURCE, ConnectionKind, parse_topic_urn
from funclet.store.protocol import Tx


@dataclass(frozen=True, slots=True)
class TxSources:
    """What a project has."""

    tx: Tx
    project_id: str

    def has_topic(self, urn: str) -> bool:
        """Tell whether there is a topic with this urn."""
        try:
            _, project_id, name = parse_topic_urn(urn)
        except ModelError:
            return False
        topic = self.tx.topics.get(self.project_id, name) if project_id == self.project_id else None
        return topic is not None and topic.urn == urn

    def has_authorizer(self, authorizer_id: str, kind: AuthorizerKind) -> bool:
        """Tell whether there is a custom authorizer of this kind with this id."""
        known = self.tx.gateway.authorizers(self.project_id)
        return any(one.authorizer_id == authorizer_id and one.kind is kind for one in known)

    def has_stream(self, name: str) -> bool:
        """Tell whether there is a stream of this name, here or behind a connection."""
        if self.tx.streams.get(self.project_id, name) is not None:
            return True
        connections = [row for row, _ in self.tx.connections.list(self.project_id)]
        return any(row.kind is ConnectionKind.NATS and {name, ANY_RESOURCE} & set(row.resources) for row in connections)
