"""Bodies become shapes, and what cannot be one is refused with the field that is wrong."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from funclet.api.wire import codec
from funclet.model.errors import ModelError


class _Strategy(msgspec.Struct):
    concurrency: int | UnsetType | None = UNSET


class _Shape(msgspec.Struct):
    name: str
    strategy_config: _Strategy | UnsetType | None = UNSET
    items: list[_Strategy] = []
    anything: object = None


class _Optional(msgspec.Struct):
    name: str = ""


def refusal(body, shape=_Shape):
    with pytest.raises(ModelError) as caught:
        codec.decode_bytes(shape, body)
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"name":1}', "FSS.0400", "Field 'name' must be of type string, not integer."),
        (b"{}", "FSS.0400", "Field 'name' is missing."),
        (
            b'{"name":"a","strategy_config":{"concurrency":"7"}}',
            "FSS.0400",
            "Field 'strategy_config.concurrency' must be of type integer or null, not string.",
        ),
        (
            b'{"name":"a","items":[{"concurrency":1.5}]}',
            "FSS.0400",
            "Field 'items[0].concurrency' must be of type integer or null, not number.",
        ),
        (b"[]", "FSS.0400", "The body must be of type object, not array."),
        (b"null", "FSS.0400", "The body must be of type object, not null."),
        (
            b'{"name":"a","strategy_config":{"concurrency":1e400}}',
            "FSS.0400",
            "Field 'strategy_config.concurrency' is invalid: number out of range.",
        ),
        (b'{"name":"a",}', "FSS.0406", None),
        (b'{"name":NaN}', "FSS.0406", None),
        (b'{"name":"\xff"}', "FSS.0406", None),
        (b'{"name":"\\ud800"}', "FSS.0406", None),
        (b'{"name":"a"} x', "FSS.0406", None),
        (b"\xef\xbb\xbf{}", "FSS.0406", None),
        (b'{"name":"a","anything":' + b"[" * 200_000, "FSS.0406", "The body is nested too deeply."),
        (b'{"name":"a","anything":' + b"9" * 10_000 + b"}", "FSS.0400", None),
    ],
)
def test_wrong_bodies_are_refused(body, code, message):
    refused = refusal(body)

    assert refused[0] == code
    assert message is None or refused[1] == message


def test_a_syntax_error_names_its_position():
    assert "byte 12" in refusal(b'{"name":"a",}')[1]


def test_null_and_absent_are_told_apart():
    absent = codec.decode_bytes(_Shape, b'{"name":"a"}')
    null = codec.decode_bytes(_Shape, b'{"name":"a","strategy_config":null}')

    assert absent.strategy_config is UNSET
    assert null.strategy_config is None


def test_unknown_members_are_ignored_and_the_last_duplicate_wins():
    assert codec.decode_bytes(_Optional, b'{"name":"a","other":{},"name":"b"}').name == "b"


@given(st.binary(max_size=200))
def test_no_bytes_cause_anything_but_a_model_error(body):
    with contextlib.suppress(ModelError):
        codec.decode_bytes(_Shape, body)


def test_unset_members_are_left_out_of_answers():
    assert codec.json_response(200, _Strategy()).body == b"{}"
