"""What hangs on functions and projects: test events, tags, applications, VPC endpoints, and the rules of each."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from funclet.model.errors import ModelError

MAX_EVENTS = 10
MAX_EVENT_NAME_LENGTH = 25
MAX_EVENT_BYTES = 4096
MAX_TAGS = 20
MAX_TAG_KEY_LENGTH, MAX_TAG_VALUE_LENGTH = 128, 255
SYSTEM_TAG_PREFIX = "_sys_"
ENTERPRISE_PROJECT_TAG = "_sys_enterprise_project_id"
MAX_APPLICATIONS = 100
MAX_APPLICATION_NAME_LENGTH = 40
"""So that the name of a function can stand behind it."""
MAX_ENDPOINTS = 4

_EVENT_NAME = re.compile(rf"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{{0,{MAX_EVENT_NAME_LENGTH - 2}}}[^\s\x00-\x1f\x7f])?")
_TAG_KEY = re.compile(r"[\w .:=+@-]+")
_TAG_VALUE = re.compile(r"[\w .:=+@/-]*")
_APPLICATION_NAME = re.compile(rf"[A-Za-z](?:[A-Za-z0-9_-]{{0,{MAX_APPLICATION_NAME_LENGTH - 2}}}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event to try a function with; it belongs to the function, not to a version."""

    event_id: str
    function_id: str
    name: str
    content: bytes
    """JSON text."""
    modified_at: float
    """Seconds since the epoch."""


class ResourceKind(StrEnum):
    """What an application may be made of; wire values. Each kind refers only to those before it."""

    DEPENDENCY = "dependency"
    FUNCTION = "function"
    TRIGGER = "trigger"
    ASYNC_SETTINGS = "asyncSettings"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackResource:
    """One thing that an application has made."""

    kind: ResourceKind
    logical_name: str
    """In the template."""
    name: str
    """In the project."""
    resource_id: str
    """Of the function, also for its settings; of the trigger; of the version of the dependency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Resources that were made together from a template and go together."""

    application_id: str
    project_id: str
    name: str
    template_id: str
    description: str = ""
    agency_name: str = ""
    enterprise_project_id: str = ""
    resources: Sequence[StackResource] = ()
    """In the order in which they were made. Functions are in the default package."""
    created_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcEndpoint:
    """A subnet from which a client wants to reach the API."""

    vpc_id: str
    subnet_id: str
    flavor: str = ""
    agency: str = ""
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedFunction:
    """What a search by tags finds."""

    urn: str
    """Without a version."""
    name: str
    tags: Mapping[str, str]
    enterprise_project_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    """Which functions a search by tags wants."""

    name_part: str = ""
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All these keys, each with one of its values; without values, any."""
    enterprise_project_ids: Sequence[str] = ()
    """One of these; empty: any."""
    without_tags: bool = False
    """Only functions that have no tag at all; `tags` is not looked at."""


def check_event_name(name: str) -> None:
    """Refuse a name that no test event may have.

    Raises:
        ModelError: FSS.1074.
    """
    if not _EVENT_NAME.fullmatch(name):
        raise ModelError(
            "FSS.1074",
            f"name '{name[:40]}' is invalid: 1 to {MAX_EVENT_NAME_LENGTH} characters, no control characters, "
            "no blank at either end.",
        )


def check_event_content(content: bytes) -> None:
    """Refuse what cannot be the content of a test event.

    Raises:
        ModelError: FSS.1069 if it is too large, FSS.1074 if it is not JSON.
    """
    if len(content) > MAX_EVENT_BYTES:
        raise ModelError("FSS.1069", f"content has {len(content)} bytes; {MAX_EVENT_BYTES} are allowed.")
    try:
        json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ModelError("FSS.1074", f"content is not JSON: {error}.") from error


def check_tags(tags: Mapping[str, str | None] | Mapping[str, str]) -> None:
    """Refuse tags, values by key, that no function may have. A value that is None is not looked at.

    Raises:
        ModelError: FSS.0400.
    """
    if len(tags) > MAX_TAGS:
        raise ModelError("FSS.0400", f"tags has {len(tags)} entries; {MAX_TAGS} are allowed.")
    for key, value in tags.items():
        _check_tag_key(key)
        if value is not None and (len(value) > MAX_TAG_VALUE_LENGTH or not _TAG_VALUE.fullmatch(value)):
            raise ModelError(
                "FSS.0400",
                f"The value of tag '{key}' is invalid: up to {MAX_TAG_VALUE_LENGTH} letters, digits, blanks "
                "and _ . : = + - @ /",
            )


def parse_tags(text: str) -> Mapping[str, str]:
    """Return the tags in the text of a new function: a JSON object of texts, or `KEY:VALUE,KEY:VALUE`.

    Any other text has none, because its form is documented nowhere.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        parts = [part.partition(":") for part in text.split(",")]
        return {key.strip(): value.strip() for key, _, value in parts} if all(colon for _, colon, _ in parts) else {}
    is_sound = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if is_sound else {}


def _check_tag_key(key: str) -> None:
    is_sound = 1 <= len(key) <= MAX_TAG_KEY_LENGTH and _TAG_KEY.fullmatch(key) and key == key.strip(" ")
    if not is_sound or key.startswith(SYSTEM_TAG_PREFIX):
        raise ModelError(
            "FSS.0400",
            f"tag key '{key[:80]}' is invalid: 1 to {MAX_TAG_KEY_LENGTH} letters, digits, blanks and _ . : = + - @, "
            f"no blank at either end, and not beginning with {SYSTEM_TAG_PREFIX}",
        )


def check_application_name(name: str) -> None:
    """Refuse a name that no application may have.

    Raises:
        ModelError: FSS.0400.
    """
    if not _APPLICATION_NAME.fullmatch(name):
        raise ModelError(
            "FSS.0400",
            f"name '{name[:80]}' is invalid: 1 to {MAX_APPLICATION_NAME_LENGTH} letters, digits, '_' or '-', "
            "beginning with a letter and ending with a letter or digit.",
        )
