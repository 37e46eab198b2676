"""What topics have done, as metrics."""

from funclet.outside import topic_counters
from funclet.outside.topic_counters import TopicCounters


def urn(name):
    return f"urn:smn:test-1:{'0' * 32}:{name}"


def series(counters):
    return {line for line in counters.render().decode().splitlines() if not line.startswith("#")}


def test_each_topic_has_its_counts():
    counters = TopicCounters()
    for count in (counters.published, counters.published, counters.delivered, counters.failed):
        count(urn("orders"))
    counters.published(urn("news"))

    labels = f'project="{"0" * 32}",topic='
    assert series(counters) == {
        f'fgs_topic_published_total{{{labels}"orders"}} 2',
        f'fgs_topic_published_total{{{labels}"news"}} 1',
        f'fgs_topic_delivered_total{{{labels}"orders"}} 1',
        f'fgs_topic_failed_total{{{labels}"orders"}} 1',
    }


def test_topics_beyond_the_limit_are_counted_together(monkeypatch):
    monkeypatch.setattr(topic_counters, "MAX_TOPICS", 1)
    counters = TopicCounters()
    for name in ("first", "second", "third", "first"):
        counters.published(urn(name))

    assert {line.rpartition("topic=")[2] for line in series(counters)} == {'"first"} 2', '"_others"} 2'}
