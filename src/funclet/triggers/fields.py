"""Descriptions of the members of `event_data`, so that the rules of most kinds of triggers are tables.

A field says which values it takes; `check` goes through all of them. Members that
no field describes are kept as they are and mean nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from funclet.model.errors import ModelError
from funclet.triggers.protocol import EventData

MAX_TEXT_LENGTH = 1024
MAX_ITEMS = 100


class Field(Protocol):
    """One member of the data."""

    @property
    def name(self) -> str:
        """As on the wire."""
        ...

    @property
    def required(self) -> bool:
        """Whether a trigger without it is refused."""
        ...

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value, as the rest of a sentence about it; empty if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    name: str
    required: bool = False
    least: int = 1
    most: int = MAX_TEXT_LENGTH
    """Length in characters."""
    pattern: str = ""
    """Regular expression for the whole text; empty: any text."""
    looks: str = ""
    """What `pattern` asks for, in words."""
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if not isinstance(value, str):
            return "must be a text"
        if self.choices and value not in self.choices:
            return f"is invalid: use one of {', '.join(self.choices)}"
        if not self.least <= len(value) <= self.most:
            return f"must have {self.least} to {self.most} characters"
        if self.pattern and not re.fullmatch(self.pattern, value):
            return f"'{value[:80]}' is invalid: {self.looks}"
        return ""


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number."""

    name: str
    low: int
    high: int
    required: bool = False

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        # `True` is an int to Python, but no number to a client.
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            return f"must be a whole number from {self.low} to {self.high}"
        return ""


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; some clients send these words as texts."""

    name: str
    required: bool = False
    takes_text: bool = False

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if isinstance(value, bool) or (self.takes_text and value in ("true", "false")):
            return ""
        return "must be true or false"


@dataclass(frozen=True, slots=True)
class Texts:
    """An array of different strings, at least one."""

    name: str
    required: bool = False
    most: int = MAX_ITEMS
    most_length: int = 255
    choices: tuple[str, ...] = ()

    def problem(self, value: Any) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        if not isinstance(value, list) or not 1 <= len(value) <= self.most:
            return f"must be an array of 1 to {self.most} texts"
        for item in value:
            if not isinstance(item, str) or not 1 <= len(item) <= self.most_length:
                return f"must hold texts of 1 to {self.most_length} characters"
            if self.choices and item not in self.choices:
                return f"holds '{item[:80]}': use {', '.join(self.choices)}"
        return "" if len(set(value)) == len(value) else "names something twice"


def check(fields: Sequence[Field], data: EventData, code: str) -> None:
    """Refuse data with a missing or wrong member. A null stands for a missing one.

    Raises:
        ModelError: `code`.
    """
    for field in fields:
        value = data.get(field.name)
        if value is None and field.required:
            raise ModelError(code, f"event_data.{field.name} is missing.")
        problem = "" if value is None else field.problem(value)
        if problem:
            raise ModelError(code, f"event_data.{field.name} {problem}.")


# Members of several kinds.
INSTANCE = Text("instance_id", required=True, most=128)
TOPICS = Texts("topic_ids", required=True)
IS_SERIAL = Flag("is_serial", takes_text=True)


def batch_size(most: int) -> Number:
    """Return the field for how many records one event may have."""
    return Number("batch_size", 1, most, required=True)
