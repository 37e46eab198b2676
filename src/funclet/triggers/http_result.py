"""The shape of nearly all results of gateway functions, in a module of its own: such a class cannot be compiled."""

import msgspec


class PlainResult(msgspec.Struct):
    """A result as nearly all functions return it; whatever is different is looked at member by member."""

    status: int = msgspec.field(name="statusCode")
    body: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    is_encoded: bool = msgspec.field(name="isBase64Encoded", default=False)


decode_plain = msgspec.json.Decoder(PlainResult).decode
