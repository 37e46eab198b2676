"""What topics have done since the server started, and its text for Prometheus."""

from dataclasses import dataclass

from funclet.model.messaging import parse_topic_urn

MAX_TOPICS = 1000
"""Topics that have series of their own; what comes later is counted as `_others`."""
OTHERS = "_others"


@dataclass(slots=True)
class _Counts:
    labels: str
    published: int = 0
    delivered: int = 0
    failed: int = 0


_SERIES = (
    ("fgs_topic_published_total", "published", "Messages that were published."),
    ("fgs_topic_delivered_total", "delivered", "Messages that a subscriber has acknowledged."),
    ("fgs_topic_failed_total", "failed", "Messages that were given up for a subscriber."),
)


class TopicCounters:
    """The counters of all topics."""

    def __init__(self) -> None:
        self._by_urn: dict[str, _Counts] = {}
        self._others = _Counts(_labels("", OTHERS))

    def published(self, topic_urn: str) -> None:
        """Count a message that is on its way to the subscribers."""
        self._of(topic_urn).published += 1

    def delivered(self, topic_urn: str) -> None:
        """Count a message that one subscriber has taken."""
        self._of(topic_urn).delivered += 1

    def failed(self, topic_urn: str) -> None:
        """Count a message that one subscriber did not take, however often it was sent."""
        self._of(topic_urn).failed += 1

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        rows = [*self._by_urn.values(), self._others]
        lines: list[str] = []
        for name, member, help_ in _SERIES:
            lines += [f"# HELP {name} {help_}", f"# TYPE {name} counter"]
            lines += [f"{name}{{{one.labels}}} {count}" for one in rows if (count := getattr(one, member))]
        return ("\n".join(lines) + "\n").encode()

    def _of(self, topic_urn: str) -> _Counts:
        found = self._by_urn.get(topic_urn)
        if found is None:
            if len(self._by_urn) >= MAX_TOPICS:
                return self._others
            _, project_id, name = parse_topic_urn(topic_urn)
            found = self._by_urn[topic_urn] = _Counts(_labels(project_id, name))
        return found


def _labels(project_id: str, name: str) -> str:
    """Return the labels of a topic. Names have no characters that would need an escape."""
    return f'project="{project_id}",topic="{name}"'
