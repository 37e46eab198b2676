"""What conditions of policies may ask about a call: what its body says, and what is known of its function.

Start with `read_body`. Only callers whose policies have conditions pay for any of it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from funclet.model.function import FunctionVersion
from funclet.model.policy import ENTERPRISE_KEY, REQUEST_TAG, RESOURCE_TAG, RUNTIME_KEY, VPC_KEY, Facts
from funclet.model.urn import LATEST, Urn
from funclet.store.protocol import FunctionFilter, Store, Tx

NO_ENTERPRISE_PROJECT = "0"
_EVERYTHING = 2**31


class Body(msgspec.Struct):
    """Members that permissions look at. Of any type: refusing a wrong one is for the operation itself."""

    func_name: Any = None
    package: Any = None
    runtime: Any = None
    enterprise_project_id: Any = None
    func_vpc: Any = None
    vpc_id: Any = None
    tags: Any = None


def read_body(body: bytes) -> Body | None:
    """Return what permissions look at; None if the body is no JSON object, so that the operation will refuse it."""
    try:
        return msgspec.json.decode(body or b"{}", type=Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def facts_of_body(body: Body) -> dict[str, str]:
    """Return what a body says, by keys of conditions."""
    vpc = body.func_vpc if isinstance(body.func_vpc, dict) else {}
    found = {
        RUNTIME_KEY: body.runtime,
        ENTERPRISE_KEY: body.enterprise_project_id,
        VPC_KEY: vpc.get("vpc_id") or body.vpc_id,
    }
    for tag in body.tags if isinstance(body.tags, list) else ():
        if isinstance(tag, dict) and isinstance(tag.get("key"), str):
            found[REQUEST_TAG + tag["key"]] = tag.get("value") or ""
    return {key: value for key, value in found.items() if isinstance(value, str) and (value or _is_tag(key))}


def facts_of_settings(runtime: str, echoed: Mapping[str, Any]) -> dict[str, str]:
    """Return what the settings of a function to be created say, by keys of conditions."""
    named = {
        RUNTIME_KEY: runtime,
        ENTERPRISE_KEY: echoed.get("enterprise_project_id") or NO_ENTERPRISE_PROJECT,
        VPC_KEY: (echoed.get("func_vpc") or {}).get("vpc_id"),
    }
    return {key: value for key, value in named.items() if value}


async def facts_of_function(store: Store, urn: Urn) -> Facts:
    """Return what is known of a function; nothing if there is none.

    Raises:
        StoreUnavailable: it cannot be looked up.
    """

    def read(tx: Tx) -> Facts:
        latest = tx.functions.get(urn.project_id, urn.package, urn.name, LATEST)
        return _known(tx, latest) if latest else {}

    return await store.read(read)


async def facts_of_functions(store: Store, project_id: str) -> Mapping[tuple[str, str], Facts]:
    """Return what is known of all functions of a project, by package and name.

    Raises:
        StoreUnavailable: it cannot be looked up.
    """
    everything = FunctionFilter(project_id=project_id, package="", name_part="", offset=0, limit=_EVERYTHING)

    def read(tx: Tx) -> Mapping[tuple[str, str], Facts]:
        found, _ = tx.functions.find(everything)
        return {(one.package, one.name): _known(tx, one) for one in found}

    return await store.read(read)


def _known(tx: Tx, latest: FunctionVersion) -> Facts:
    tags = {RESOURCE_TAG + key: value for key, value in tx.tags.of_function(latest.function_id).items()}
    return tags | {ENTERPRISE_KEY: latest.settings.echoed.get("enterprise_project_id") or NO_ENTERPRISE_PROJECT}


def _is_tag(key: str) -> bool:
    return key.startswith(REQUEST_TAG)
