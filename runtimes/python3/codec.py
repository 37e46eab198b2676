"""JSON in and out: what `json.loads` and `json.dumps` give, without importing `json` unless it is needed.

Both functions call the C parts of `json` themselves and leave whatever is unusual to the module.
That halves the time of a call, and saves a cold start 5 to 8 ms: `json` imports regular expressions.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner

RAW, JSON = 0, 1
"""Flags of a DONE frame: text of the author's; made here from a value."""

_BLANKS = " \t\n\r"
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class _Rules:
    """What the scanner asks for: the defaults of `json.loads`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_CONSTANTS.__getitem__)


def _refuse(value: object) -> object:
    raise TypeError(type(value).__name__)


def _flagged(text: str) -> "tuple[int, bytes]":
    # NaN and Infinity are no JSON, though Python writes them. Where they may be, the server looks for itself.
    return RAW if "NaN" in text or "Infinity" in text else JSON, text.encode()


def _new_encoder() -> "make_encoder":
    # Circle markers, default, string encoder, indent, separators, sort_keys, skipkeys, allow_nan.
    return make_encoder({}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True)


class Codec:
    """Reads events and writes results. For one thread at a time."""

    def __init__(self) -> None:
        self._scan = make_scanner(_Rules())  # type: ignore[arg-type] # typed as if it took only itself
        self._encode = _new_encoder()

    def read(self, data: "bytes | memoryview") -> object:
        """Return the value of a JSON text in UTF-8; None for no text.

        Raises:
            ValueError, RecursionError: what `json.loads` raises for these bytes.
        """
        if not len(data):
            return None
        try:
            text = str(data, "utf-8").strip(_BLANKS)
            value, end = self._scan(text, 0)
            if end == len(text):
                return value
        except Exception:  # noqa: S110 - json.loads knows what is wrong, or reads UTF-16 and marks
            pass
        import json

        return json.loads(bytes(data))

    def write(self, result: object) -> "tuple[int, bytes]":
        """Return flags and body for what a handler returned.

        Raises:
            BaseException: the result cannot be written; with the author's classes in it, anything may be raised.
        """
        if result is None:
            return RAW, b""
        if isinstance(result, str):
            return RAW, result.encode()
        if isinstance(result, (bytes, bytearray)):
            result.decode()
            return RAW, bytes(result)
        try:
            return _flagged("".join(self._encode(result, 0)))
        except Exception:
            # The circle markers of the failed try are still in it.
            self._encode = _new_encoder()
        import json

        # Raises with the usual words, or succeeds because the author has replaced `json.JSONEncoder.default`.
        return _flagged(json.dumps(result))
