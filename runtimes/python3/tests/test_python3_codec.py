"""The codec gives what the `json` module gives."""
# ruff: noqa: ANN001, ANN201, D103 - as in the other tests: names and fixtures say it

import json
import math

import pytest
from _funclet.codec import JSON, RAW, Codec

VALUES = [
    {},
    [],
    {"a": {"b": [1, -2, 3.5, 1e300, True, False, None]}},
    ["é", "\U0001f600", '"\\\n\t\x00\x7f', "\ud800"],
    {1: 2, None: 3, 1.5: 4, False: 5},
    10**40,
    -0.0,
    (1, [2, (3,)]),
]

TEXTS = [
    b"{}",
    b" [1, 2]\n",
    b"null",
    b"-1.5e3",
    b"Infinity",
    b'"\\ud83d\\ude00"',
    b'{"a":1,"a":2}',
    "[1]".encode("utf-16"),
]

BAD_TEXTS = [b"{", b"[1,]", b"{} x", b"'a'", b"\xff", b"  ", b"nul", b'"\n"', b"[" * 100000]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_written_as_json_dumps_does(value):
    assert Codec().write(value) == (JSON, json.dumps(value).encode())


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_texts_are_read_as_json_loads_does(text):
    assert Codec().read(memoryview(text)) == json.loads(text)


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:10]))
def test_errors_are_those_of_json_loads(text):
    with pytest.raises((ValueError, RecursionError)) as expected:
        json.loads(text)

    with pytest.raises(type(expected.value)) as got:
        Codec().read(memoryview(text))

    assert str(got.value) == str(expected.value)


def test_nan_is_read():
    assert math.isnan(Codec().read(b"NaN"))


def test_no_text_is_none():
    assert Codec().read(b"") is None


@pytest.mark.parametrize(
    ("value", "body"), [(None, b""), ("é", "é".encode()), (b"ab", b"ab"), (bytearray(b"ab"), b"ab")]
)
def test_texts_and_bytes_are_raw(value, body):
    assert Codec().write(value) == (RAW, body)


@pytest.mark.parametrize("value", [{1}, object(), b"\xff", "\ud800", {(1,): 2}], ids=repr)
def test_what_cannot_be_written_raises_and_harms_no_later_result(value):
    codec = Codec()

    with pytest.raises((TypeError, ValueError)):
        codec.write(value)

    assert codec.write([1]) == (JSON, b"[1]")


def test_a_circle_is_found_and_the_same_list_can_be_written_afterwards():
    codec = Codec()
    circle = []
    circle.append(circle)

    with pytest.raises(ValueError, match="Circular reference detected"):
        codec.write(circle)
    circle.clear()

    assert codec.write(circle) == (JSON, b"[]")
