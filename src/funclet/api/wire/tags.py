"""Operations on tags, which are those of the cloud's tag service, and their bodies. Start with `create_tags`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.resources import ENTERPRISE_PROJECT_TAG, MAX_TAGS, TagFilter, TaggedFunction
from funclet.services.tags import NO_ENTERPRISE_PROJECT

DEFAULT_PAGE, MAX_PAGE = 100, 1000
MAX_VALUES = 20
MAX_VALUE_LENGTH = 255
_MAX_OFFSET = 10**9
_RESOURCE_TYPE = "functions"
_RESOURCE_NAME = "resource_name"


class KeyAndValue(msgspec.Struct):
    """A tag; `value` may be left out where one is deleted."""

    key: str
    value: str | None = None


class KeyAndValues(msgspec.Struct):
    """A key with the values that are wanted; none: any."""

    key: str
    values: list[str] | None = None


class TagFields(msgspec.Struct):
    """Body of `CreateTags` and `DeleteTags`. Tags of the system are taken and not looked at: they cannot be set."""

    tags: list[KeyAndValue] | None = None
    action: str | None = None
    sys_tags: list[KeyAndValue] | None = None


class SearchFields(msgspec.Struct):
    """Body of `ShowResInstanceInfo`."""

    without_any_tag: bool | None = None
    limit: int | str | None = None
    offset: int | str | None = None
    action: str | None = None
    matches: list[KeyAndValue] | None = None
    tags: list[KeyAndValues] | None = None
    sys_tags: list[KeyAndValues] | None = None


async def create_tags(call: Call) -> Response:
    """Serve CreateTags: a key that is there gets the new value."""
    tags = _tags(call, action="create")
    given = {tag.key: tag.value or "" for tag in tags}
    await resources_of(call).tags.add(call.principal, _urn(call), given)
    return codec.no_content()


async def delete_tags(call: Call) -> Response:
    """Serve DeleteTags."""
    tags = _tags(call, action="delete")
    await resources_of(call).tags.remove(call.principal, _urn(call), {tag.key: tag.value or None for tag in tags})
    return codec.no_content()


async def list_function_tags(call: Call) -> Response:
    """Serve ListFunctionTags."""
    found = await resources_of(call).tags.of_function(call.principal, _urn(call))
    body = {"tags": _pairs(found.tags), "sys_tags": _system_tags(found.enterprise_project_id)}
    return codec.json_response(200, body)


async def show_project_tags(call: Call) -> Response:
    """Serve ShowProjectTagsList."""
    _check_type(call)
    tags = await resources_of(call).tags.of_project(call.principal)
    body = {
        "tags": [{"key": key, "values": values} for key, values in tags.items()],
        "sys_tags": [{"key": ENTERPRISE_PROJECT_TAG, "values": [NO_ENTERPRISE_PROJECT]}],
    }
    return codec.json_response(200, body)


async def find_tagged(call: Call) -> Response:
    """Serve ShowResInstanceInfo: functions by their tags, or how many there are."""
    _check_type(call)
    action = call.parameters["action"]
    if action not in ("filter", "count"):
        raise ModelError("FSS.0400", f"action '{action[:40]}' is invalid: filter or count.")
    fields = codec.decode(SearchFields, call)
    _check_action(fields.action, action)
    offset = _number("offset", fields.offset, default=0, low=0, high=_MAX_OFFSET)
    limit = _number("limit", fields.limit, default=DEFAULT_PAGE, low=1, high=MAX_PAGE)
    wanted = _filter(fields)
    if action == "count":
        _, count = await resources_of(call).tags.find(call.principal, wanted, offset=0, limit=1)
        return codec.json_response(200, {"total_count": count})
    found, count = await resources_of(call).tags.find(call.principal, wanted, offset=offset, limit=limit)
    return codec.json_response(200, {"resources": [_resource(one) for one in found], "total_count": count})


def _check_type(call: Call) -> None:
    kind = call.parameters["resource_type"]
    if kind != _RESOURCE_TYPE:
        raise ModelError("FSS.0400", f"resource_type '{kind[:40]}' is invalid: only {_RESOURCE_TYPE} have tags.")


def _urn(call: Call) -> str:
    _check_type(call)
    return call.parameters["resource_id"]


def _check_action(given: str | None, action: str) -> None:
    """Refuse a body that asks for something else than its path; clients may leave it out."""
    if given not in (None, "", action):
        raise ModelError("FSS.0400", f"action '{(given or '')[:40]}' is not the '{action}' of the path.")


def _tags(call: Call, *, action: str) -> Sequence[KeyAndValue]:
    _check_type(call)
    fields = codec.decode(TagFields, call)
    _check_action(fields.action, action)
    tags = fields.tags or []
    if not (tags or fields.sys_tags):
        raise ModelError("FSS.0400", "tags is missing.")
    if len({tag.key for tag in tags}) < len(tags):
        raise ModelError("FSS.0400", "tags has the same key twice.")
    return tags


def _filter(fields: SearchFields) -> TagFilter:
    tags, matches, system = fields.tags or [], fields.matches or [], fields.sys_tags or []
    if max(len(tags), len(matches), len(system)) > MAX_TAGS:
        raise ModelError("FSS.0400", f"tags, sys_tags and matches have {MAX_TAGS} entries each at most.")
    for tag in (*tags, *system):
        values = tag.values or []
        if len(values) > MAX_VALUES or any(len(text) > MAX_VALUE_LENGTH for text in (tag.key, *values)):
            raise ModelError(
                "FSS.0400", f"A tag has {MAX_VALUES} values of {MAX_VALUE_LENGTH} characters at most, in a search too."
            )
    for match in matches:
        if match.key != _RESOURCE_NAME:
            raise ModelError("FSS.0400", f"matches.key '{match.key[:40]}' is invalid: only {_RESOURCE_NAME} is known.")
    for tag in system:
        if tag.key != ENTERPRISE_PROJECT_TAG:
            raise ModelError("FSS.0400", f"sys_tags.key '{tag.key[:40]}' is invalid: use {ENTERPRISE_PROJECT_TAG}.")
    if len({tag.key for tag in tags}) < len(tags):
        raise ModelError("FSS.0400", "tags has the same key twice; give all its values at once.")
    return TagFilter(
        name_part=matches[0].value or "" if matches else "",
        tags={tag.key: tag.values or [] for tag in tags},
        enterprise_project_ids=[value for tag in system for value in tag.values or []],
        without_tags=fields.without_any_tag is True,
    )


def _number(name: str, value: int | str | None, *, default: int, low: int, high: int) -> int:
    """Return a number that one client sends as a number and another one as text."""
    if value is None or value == "":
        return default
    text = str(value)
    digits = text.removeprefix("-")
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(high)) else low - 1
    if not low <= number <= high:
        raise ModelError("FSS.0400", f"{name} '{text[:40]}' is invalid: a number from {low} to {high}.")
    return number


def _pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _system_tags(enterprise_project_id: str) -> list[dict[str, str]]:
    return [{"key": ENTERPRISE_PROJECT_TAG, "value": enterprise_project_id}]


def _resource(found: TaggedFunction) -> dict[str, Any]:
    return {
        "resource_id": found.urn,
        "resource_detail": {"detailId": found.urn},
        "resource_name": found.name,
        "tags": _pairs(found.tags),
        "sys_tags": _system_tags(found.enterprise_project_id),
    }
