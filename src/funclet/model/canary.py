"""The rules by which requests with certain headers run on the additional version of an alias."""

from collections.abc import Mapping
from typing import Any

from funclet.model.function import Alias


def version_by_rules(alias: Alias, headers: Mapping[str, str]) -> str | None:
    """Return the additional version whose rules the headers meet; None if there is none, and the weights decide.

    Args:
        alias: the alias of the request.
        headers: of the request, names in lower case.
    """
    for version, strategy in alias.additional_strategy.items():
        rules = strategy.get("rules") or ()
        combine = any if str(strategy.get("combine_type", "and")).lower() == "or" else all
        if rules and combine(_is_met(rule, headers) for rule in rules):
            return version
    return None


def _is_met(rule: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    name = str(rule.get("param", ""))
    is_cookie = str(rule.get("rule_type", "")).lower() == "cookie"
    found = _cookie(headers.get("cookie", ""), name) if is_cookie else headers.get(name.lower())
    wanted = str(rule.get("value", ""))
    if rule.get("op") == "in":
        return found in [value.strip() for value in wanted.split(",")]
    return found == wanted


def _cookie(header: str, name: str) -> str | None:
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value.strip('"')
    return None
