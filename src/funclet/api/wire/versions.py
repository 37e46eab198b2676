"""Operations on published versions and aliases, and their bodies. Start with `create_function_version`."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire.codec import decode, json_response, no_content, page
from funclet.api.wire.dependencies import expanded
from funclet.api.wire.function_answers import config_answer, list_answer
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.function import Alias
from funclet.services.versions import AliasChange, Publication

MAX_RULES = 10
MAX_RULE_TEXT_LENGTH = 1024
# More than a function may have: without `maxitems` clients want all.
_ALL = 10_000
_PARAM = re.compile(r"[A-Za-z0-9_-]+")


class PublishFields(msgspec.Struct):
    """Body of `CreateFunctionVersion`."""

    version: str | None = None
    description: str | None = None
    digest: str | None = None


class Rule(msgspec.Struct):
    """One rule of a strategy."""

    rule_type: str = ""
    param: str = ""
    op: str = ""
    value: str = ""


class Strategy(msgspec.Struct):
    """Which requests go to the additional version."""

    rules: list[Rule] | None = None
    combine_type: str | None = None


class AliasFields(msgspec.Struct):
    """Body of `CreateVersionAlias` and `UpdateVersionAlias`."""

    name: str | None = None
    version: str | None = None
    description: str | None = None
    additional_version_weights: dict[str, int] | None = None
    additional_version_strategy: dict[str, Strategy] | None = None


async def create_function_version(call: Call) -> Response:
    """Publish `latest` as a version."""
    fields = decode(PublishFields, call)
    wanted = Publication(version=fields.version or "", description=fields.description or "", digest=fields.digest or "")
    version = await call.services.versions.publish(call.principal, call.parameters["function_urn"], wanted)
    return json_response(200, *await expanded(call, config_answer(version, call.principal.project)))


async def list_function_versions(call: Call) -> Response:
    """List the versions of a function, `latest` included."""
    marker, size = page(call, "maxitems", default=_ALL, maximum=_ALL)
    versions = await call.services.versions.find(call.principal, call.parameters["function_urn"])
    shown = versions[marker : marker + size]
    rows = await expanded(call, *(list_answer(version, call.principal.project) for version in shown))
    return json_response(200, {"versions": rows, "next_marker": marker + len(rows), "count": len(versions)})


async def create_version_alias(call: Call) -> Response:
    """Create an alias."""
    fields = decode(AliasFields, call)
    if not fields.name:
        raise ModelError("FSS.1014", "name is missing.")
    urn = call.parameters["function_urn"]
    alias = await call.services.versions.create_alias(call.principal, urn, fields.name, _change(fields))
    return json_response(200, _answer(call, alias))


async def update_version_alias(call: Call) -> Response:
    """Change an alias."""
    change = _change(decode(AliasFields, call))
    parameters = call.parameters
    alias = await call.services.versions.update_alias(
        call.principal, parameters["function_urn"], parameters["alias_name"], change
    )
    return json_response(200, _answer(call, alias))


async def show_version_alias(call: Call) -> Response:
    """Show an alias."""
    parameters = call.parameters
    alias = await call.services.versions.get_alias(call.principal, parameters["function_urn"], parameters["alias_name"])
    return json_response(200, _answer(call, alias))


async def list_version_aliases(call: Call) -> Response:
    """List the aliases of a function, as a bare array."""
    aliases = await call.services.versions.find_aliases(call.principal, call.parameters["function_urn"])
    return json_response(200, [_answer(call, alias) for alias in aliases])


async def delete_version_alias(call: Call) -> Response:
    """Delete an alias."""
    parameters = call.parameters
    await call.services.versions.delete_alias(call.principal, parameters["function_urn"], parameters["alias_name"])
    return no_content()


def _change(fields: AliasFields) -> AliasChange:
    if not fields.version:
        raise ModelError("FSS.1015", "version is missing: the version that the alias names.")
    strategies = fields.additional_version_strategy or {}
    return AliasChange(
        version=fields.version,
        description=fields.description,
        additional_weights=fields.additional_version_weights or {},
        additional_strategy={version: _checked(strategy) for version, strategy in strategies.items()},
    )


def _checked(strategy: Strategy) -> Mapping[str, Any]:
    rules = strategy.rules or []
    combine_type = strategy.combine_type or "and"
    if combine_type not in ("and", "or"):
        raise ModelError("FSS.0400", f"combine_type '{combine_type[:40]}' is invalid: 'and' or 'or'.")
    if not 1 <= len(rules) <= MAX_RULES:
        raise ModelError(
            "FSS.0400", f"additional_version_strategy has {len(rules)} rules: 1 to {MAX_RULES} are allowed."
        )
    for rule in rules:
        if rule.rule_type.lower() not in ("header", "cookie"):
            raise ModelError("FSS.0400", f"rule_type '{rule.rule_type[:40]}' is invalid: 'Header' or 'Cookie'.")
        if rule.op not in ("=", "in"):
            raise ModelError("FSS.0400", f"op '{rule.op[:40]}' is invalid: '=' or 'in'.")
        if len(rule.param) > MAX_RULE_TEXT_LENGTH or not _PARAM.fullmatch(rule.param):
            raise ModelError("FSS.0400", f"param '{rule.param[:40]}' is invalid: letters, digits, '_' and '-'.")
        if len(rule.value) > MAX_RULE_TEXT_LENGTH:
            raise ModelError("FSS.0400", f"The value of a rule has more than {MAX_RULE_TEXT_LENGTH} characters.")
    return {"combine_type": combine_type, "rules": [msgspec.to_builtins(rule) for rule in rules]}


def _answer(call: Call, alias: Alias) -> dict[str, Any]:
    urn = call.services.versions.urn_of(call.principal, call.parameters["function_urn"])
    return {
        "name": alias.name,
        "version": alias.version,
        "description": alias.description,
        "last_modified": utc_text(alias.modified_at),
        "alias_urn": str(urn.qualified(f"!{alias.name}")),
        "additional_version_weights": alias.additional_weights,
        "additional_version_strategy": alias.additional_strategy,
    }
