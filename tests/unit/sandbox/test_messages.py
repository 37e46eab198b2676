"""What sandboxd believes of a packet."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.sandbox.sandboxd.messages import BadMessage, Create, Exited, LimitCpu, Share, Started, Stop, parse, render

MEMBERS = {
    "id": 1,
    "name": "one",
    "interpreter": "/usr/bin/python3",
    "arguments": ("-I",),
    "environment": {"A": "ü"},
    "stem_environment": {},
    "code_dir": "/code",
    "runtime_dir": "/runtime",
    "interpreter_links": ("a/b",),
    "memory_mib": 128,
    "cpu_millicores": 300,
    "tmp_mib": 512,
    "processes": 1024,
    "open_files": 2048,
    "network": "off",
    "extra_read_only": {},
}


@pytest.mark.parametrize(
    "message",
    [
        Create(**MEMBERS),
        Create(
            **MEMBERS | {"network": "private"},
            shares=(Share(source="/a", target="/b", read_only=True, user_id=1, group_id=65_534),),
            hosts={"db.internal": "10.0.0.255"},
        ),
        Stop(id=1, grace_ms=5),
        LimitCpu(id=1),
        Started(id=1, pid=2, descriptors=("connection", "log"), is_stem=False),
        Exited(id=1, reason="exited", status=-9),
    ],
)
def test_a_message_survives_the_way(message):
    assert parse(render(message)) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "-a"},
        {"name": "../a"},
        {"name": "a/b"},
        {"name": "a" * 61},
        {"name": 1},
        {"id": "1"},
        {"id": True},
        {"shares": [{"source": "/a", "target": "/b", "read_only": False, "user_id": 0, "group_id": 5}]},
        {"shares": [{"source": "/a", "target": "/b", "read_only": False, "user_id": 5, "group_id": 65_535}]},
        {"shares": [{"source": "/a\0", "target": "/b", "read_only": False, "user_id": 5, "group_id": 5}]},
        {"shares": [{"source": "/a", "target": "/b", "read_only": 1, "user_id": 5, "group_id": 5}]},
        {"shares": [{"source": "/a", "target": "/b"}]},
        {"shares": [{"source": "/a", "target": "/b", "read_only": True, "user_id": 5, "group_id": 5, "x": 1}]},
        {"shares": [{"source": "/a", "target": "/b", "read_only": True, "user_id": 5, "group_id": 5}] * 17},
        {"hosts": {"a": "::1"}},
        {"hosts": {"a": "10.0.0.256"}},
        {"hosts": {"a": "10.0.0"}},
        {"hosts": {"a": "10.0.0.1\n127.0.0.1 b"}},
        {"hosts": {"a b": "10.0.0.1"}},
        {"hosts": {"a\nb": "10.0.0.1"}},
        {"hosts": {"": "10.0.0.1"}},
        {"hosts": {"x" * 255: "10.0.0.1"}},
        {"network": "all"},
        {"memory_mib": 0},
        {"memory_mib": 1 << 40},
        {"cpu_millicores": -1},
        {"tmp_mib": 0},
        {"processes": 0},
        {"open_files": 1 << 30},
        {"network": "host"},
        {"arguments": ["a\0b"]},
        {"arguments": ["a"] * 1000},
        {"arguments": "abc"},
        {"environment": {"A=B": "c"}},
        {"environment": {"": "c"}},
        {"environment": {"A": 1}},
        {"interpreter": "x" * 100_000},
        {"interpreter_links": ["/a"]},
        {"interpreter_links": ["a/../../b"]},
        {"interpreter_links": [""]},
        {"unknown": 1},
    ],
)
def test_what_is_wrong_or_too_large_is_refused(changes):
    with pytest.raises(BadMessage):
        parse(json.dumps({"type": "Create"} | MEMBERS | changes).encode())


def test_what_is_missing_is_refused():
    for name in MEMBERS:
        rest = {key: value for key, value in MEMBERS.items() if key != name}
        with pytest.raises(BadMessage):
            parse(json.dumps({"type": "Create"} | rest).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_bad_message_comes_of_nonsense(packet):
    with pytest.raises(BadMessage):
        parse(packet)


@given(st.fixed_dictionaries(dict.fromkeys(MEMBERS, JSON)))
def test_nothing_but_a_bad_message_comes_of_wrong_members(members):
    with pytest.raises(BadMessage):
        parse(json.dumps({"type": "Create"} | members).encode())
