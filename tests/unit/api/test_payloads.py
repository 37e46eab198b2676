"""What counts as JSON: the quick look agrees with a full reading."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funclet.services.invocations import is_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def reads_as_json(text):
    def refuse(name):
        raise ValueError(name)

    try:
        json.loads(text.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(JSON_VALUES, st.booleans())
def test_every_json_text_is_json(value, ascii_only):
    assert is_json(json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")) or not ascii_only


@given(st.binary(max_size=40) | st.text(alphabet='{}[]":,0123456789.eE+-\\ud8tn \n', max_size=20).map(str.encode))
def test_any_bytes_are_judged_as_a_full_reader_does(text):
    assert is_json(text) == reads_as_json(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"null", True),
        (b' {"a": [1, 2.5e3, "\\u00e9"]} \n', True),
        (b'"\\ud800"', True),
        (b'{"a":"\\uD83D\\uDE00","b":"\\udc00"}', True),
        (b"9" * 5000, True),
        (b"", False),
        (b"{", False),
        (b"{'a':1}", False),
        (b'{"a":1,}', False),
        (b"NaN", False),
        (b"[Infinity]", False),
        (b"01", False),
        (b"1 2", False),
        (b'"\xff"', False),
        (b'["\\ud800",NaN]', False),
        (b"\xef\xbb\xbf{}", False),
        ('"a"'.encode("utf-16"), False),
        (b"[" * 1_000_000, False),
        (b"[" * 100_000 + b"]" * 100_000, False),
    ],
)
def test_examples(text, expected):
    assert is_json(text) is expected
