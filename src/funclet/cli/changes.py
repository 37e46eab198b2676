"""What has to change so that the server has what a project wants.

`survey` asks the server, `compare` decides; the same result is shown by
`fgs plan` and carried out by `fgs deploy`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funclet.cli.project import AliasPlan, FunctionPlan, TriggerPlan
from funclet.cli.session import MISSING_FUNCTION
from funclet.client import ApiError, Client

LATEST = "latest"
# Members that the server takes in an update only.
UPDATE_ONLY = frozenset({"strategy_config"})
_ALWAYS_SENT = ("func_name", "runtime", "handler", "memory_size", "timeout")
# What tells one trigger of a type from another; the rest of the data can be changed in place.
_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "TIMER": ("name",),
    "APIG": ("path", "req_method"),
    "DEDICATEDGATEWAY": ("path", "req_method"),
    "APIC": ("path", "req_method"),
    "OBS": ("bucket", "prefix", "suffix"),
    "SMN": ("topic_urn",),
    "KAFKA": ("instance_id", "topic_ids"),
    "OPENSOURCEKAFKA": ("kafka_connect_address", "topic_ids"),
    "RABBITMQ": ("instance_id", "exchange_name", "vhost"),
    "ROCKETMQ": ("instance_id", "topic_ids"),
    "CTS": ("name",),
    "LTS": ("log_group_id", "log_topic_id"),
    "EVENTGRID": ("trigger_name",),
    "DDS": ("instance_id", "db_name", "collection_name"),
    "GAUSSMONGO": ("instance_id", "db_name", "collection_name"),
    "DIS": ("stream_name",),
    "DMS": ("queue_id", "consumer_group_id"),
    "IOTDA": ("instance_id", "resource", "event", "app_id"),
    "DYNAMODB": ("instance_id", "table_name"),
}
TRIGGER_TYPES = tuple(sorted(_IDENTITY))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the server has of one function."""

    config: Mapping[str, Any] | None = None
    """None: there is no such function."""
    versions: Sequence[Mapping[str, Any]] = ()
    """Published ones, oldest first."""
    aliases: Sequence[Mapping[str, Any]] = ()
    triggers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to create (`+`) or to change (`~`)."""

    kind: str
    """function, code, config, version, alias or trigger."""
    sign: str
    name: str
    fields: tuple[str, ...] = ()
    """What differs, for people; secrets only as `(changed)`."""
    body: Mapping[str, Any]
    """What to send; for `code` nothing, for `trigger` with its id when it exists."""
    urn: str = ""
    """Urn to send it to, for triggers; empty: that of the function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user wants of one deployment beyond what the file says."""

    code: bool = True
    config: bool = True
    triggers: bool = True
    publish: bool = False
    alias: str = ""
    """Alias to point at what is published; empty for none."""
    force: bool = False
    """Whether the code is sent even if the server has it."""


def survey(client: Client, urn: str) -> State:
    """Ask the server what it has of a function."""
    try:
        config = client.function_config(urn)
    except ApiError as error:
        if error.code in MISSING_FUNCTION:
            return State()
        raise
    return State(
        config=config,
        versions=published(client.list_versions(urn)),
        aliases=client.list_aliases(urn),
        triggers=client.list_triggers(urn),
    )


def published(versions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the published versions, oldest first."""
    found = [row for row in versions if row.get("version") != LATEST]
    return sorted(found, key=lambda row: (str(row.get("last_modified", "")), _natural(str(row.get("version")))))


def next_version(versions: Sequence[Mapping[str, Any]]) -> str:
    """Return the next free name of the form `v<number>`."""
    names = {str(row.get("version")) for row in versions}
    number = 1 + max((int(name[1:]) for name in names if name[:1] == "v" and name[1:].isdigit()), default=0)
    return f"v{number}"


def compare(plan: FunctionPlan, state: State, archive: bytes, wish: Wish) -> list[Change]:
    """Return what has to be done for one function, in the order in which it must be done."""
    changes = _function_changes(plan, state, archive, wish)
    target, publication = _publication(plan, state, wish, is_changed=bool(changes))
    changes += publication
    if wish.config:
        changes += _alias_changes(plan, state, target, wish)
    if wish.triggers:
        changes += _trigger_changes(plan, state)
    return changes


def create_body(plan: FunctionPlan) -> dict[str, Any]:
    """Return the body that creates the function, without its code."""
    body = {key: value for key, value in wire_settings(plan).items() if key not in UPDATE_ONLY}
    return {"func_name": plan.name, "package": plan.app, "code_type": "zip", "code_filename": "index.zip", **body}


def wire_settings(plan: FunctionPlan) -> dict[str, Any]:
    """Return the settings of a plan by wire name and shape."""
    body = dict(plan.settings)
    if "env" in body:
        body["user_data"] = json.dumps(body.pop("env"), ensure_ascii=False)
    if "secrets" in body:
        body["encrypted_user_data"] = json.dumps(body.pop("secrets"), ensure_ascii=False)
    return body


def _function_changes(plan: FunctionPlan, state: State, archive: bytes, wish: Wish) -> list[Change]:
    if state.config is None:
        sent_later = {key: value for key, value in plan.settings.items() if key in UPDATE_ONLY}
        changes = [Change(kind="function", sign="+", name=plan.name, body=create_body(plan))]
        return changes + ([_config_change(plan, (), sent_later)] if sent_later else [])
    changes = []
    digest = hashlib.sha512(archive).hexdigest()
    if wish.code and (wish.force or state.config.get("digest") != digest):
        old, new = str(state.config.get("digest", ""))[:12], digest[:12]
        changes.append(
            Change(kind="code", sign="~", name=plan.name, fields=(f"digest: {old or 'none'} -> {new}",), body={})
        )
    if wish.config:
        body, fields = _config_difference(plan, state.config)
        if body:
            changes.append(_config_change(plan, fields, body))
    return changes


def _config_change(plan: FunctionPlan, fields: tuple[str, ...], body: Mapping[str, Any]) -> Change:
    required = {"func_name": plan.name, **wire_settings(plan)}
    return Change(
        kind="config",
        sign="~",
        name=plan.name,
        fields=fields,
        body={name: required[name] for name in _ALWAYS_SENT if name in required} | dict(body),
    )


def _config_difference(plan: FunctionPlan, config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    body: dict[str, Any] = {}
    fields: list[str] = []
    for name, wanted in wire_settings(plan).items():
        have = config.get(name)
        if name in ("user_data", "encrypted_user_data"):
            found = _variable_fields(name, json.loads(wanted), _mapping(have))
        elif isinstance(wanted, dict):
            found = _member_fields(name, wanted, have if isinstance(have, dict) else {})
        else:
            found = [] if wanted == have or (not wanted and not have) else [f"{name}: {have!r} -> {wanted!r}"]
        if found:
            body[name] = wanted
            fields += found
    return body, tuple(fields)


def _variable_fields(name: str, wanted: Mapping[str, str], have: Mapping[str, str]) -> list[str]:
    """Compare variables. Values of encrypted ones cannot be read back: only their names are compared."""
    is_secret = name == "encrypted_user_data"
    found = []
    for key in sorted({*wanted, *have}):
        if key not in have:
            found.append(f"env.{key}: (new)")
        elif key not in wanted:
            found.append(f"env.{key}: (removed)")
        elif not is_secret and wanted[key] != have[key]:
            found.append(f"env.{key}: (changed)")
    return found


def _member_fields(name: str, wanted: Mapping[str, Any], have: Mapping[str, Any]) -> list[str]:
    return [f"{name}.{k}: {have.get(k)!r} -> {v!r}" for k, v in wanted.items() if v != have.get(k)]


def _publication(plan: FunctionPlan, state: State, wish: Wish, *, is_changed: bool) -> tuple[str, list[Change]]:
    """Return the version that `@current` means, and its publication if it is not there yet."""
    is_wanted = wish.publish or wish.alias or any("@current" in (a.version, a.canary) for a in plan.aliases)
    newest = state.versions[-1] if state.versions else None
    if newest is not None:
        is_changed = is_changed or newest.get("digest") != (state.config or {}).get("digest")
    if not is_wanted:
        return (str(newest["version"]) if newest else LATEST), []
    if newest is not None and not is_changed:
        return str(newest["version"]), []
    name = next_version(state.versions)
    return name, [Change(kind="version", sign="+", name=f"{plan.name}:{name}", body={"version": name})]


def _alias_changes(plan: FunctionPlan, state: State, target: str, wish: Wish) -> list[Change]:
    wanted = list(plan.aliases)
    if wish.alias:
        wanted = [alias for alias in wanted if alias.name != wish.alias]
        wanted.append(AliasPlan(name=wish.alias, version="@current"))
    changes = []
    for alias in wanted:
        body: dict[str, Any] = {"name": alias.name, "version": _version_of(alias.version, state, target)}
        if alias.canary:
            body["additional_version_weights"] = {_version_of(alias.canary, state, target): alias.weight}
        have = next((row for row in state.aliases if row.get("name") == alias.name), None)
        fields = tuple(
            f"{key}: {(have or {}).get(key) or None!r} -> {body.get(key)!r}"
            for key in ("version", "additional_version_weights")
            if (body.get(key) or None) != ((have or {}).get(key) or None)
        )
        if fields:
            sign = "~" if have else "+"
            changes.append(Change(kind="alias", sign=sign, name=f"{plan.name}:!{alias.name}", fields=fields, body=body))
    return changes


def _version_of(text: str, state: State, target: str) -> str:
    if text == "@current":
        return target
    if text == "@previous":
        older = [str(row["version"]) for row in state.versions if row["version"] != target]
        return older[-1] if older else target
    return LATEST if text == "@latest" else text


def _trigger_changes(plan: FunctionPlan, state: State) -> list[Change]:
    changes = []
    for wanted in plan.triggers:
        have = next((row for row in state.triggers if not wanted.qualifier and is_same_trigger(wanted, row)), None)
        body = {"trigger_type_code": wanted.type_code, "event_data": dict(wanted.event_data)}
        body |= {"trigger_status": wanted.status} if wanted.status else {}
        name = f"{plan.name} {wanted.type_code} {trigger_name(body)}"
        if have is None:
            changes.append(Change(kind="trigger", sign="+", name=name, body=body, urn=wanted.qualifier))
            continue
        fields = _trigger_fields(wanted, have)
        if fields:
            body["trigger_id"] = have["trigger_id"]
            changes.append(Change(kind="trigger", sign="~", name=name, fields=fields, body=body))
    return changes


def is_same_trigger(wanted: TriggerPlan, row: Mapping[str, Any]) -> bool:
    """Return whether a trigger of the server is the one that is wanted, perhaps with other data."""
    data = _mapping(row.get("event_data"))
    names = _IDENTITY.get(wanted.type_code, ())
    same_type = row.get("trigger_type_code") == wanted.type_code
    return same_type and all(wanted.event_data.get(name) == data.get(name) for name in names)


def trigger_name(row: Mapping[str, Any]) -> str:
    """Return what people know a trigger by: its path, its name, or its id."""
    data = _mapping(row.get("event_data"))
    return str(data.get("path") or data.get("name") or row.get("trigger_id") or "")


def _trigger_fields(wanted: TriggerPlan, have: Mapping[str, Any]) -> tuple[str, ...]:
    fields = _difference(wanted.event_data, _mapping(have.get("event_data")), "")
    # A server that does not listen to the source shows another status than the one it was told.
    if wanted.status and wanted.status != have.get("trigger_status") and not have.get("x_status_reason"):
        fields.append(f"status: {have.get('trigger_status')} -> {wanted.status}")
    return tuple(fields)


def _difference(wanted: Mapping[str, Any], have: Mapping[str, Any], prefix: str) -> list[str]:
    fields = []
    for key, value in wanted.items():
        if isinstance(value, dict):
            fields += _difference(value, _mapping(have.get(key)), f"{prefix}{key}.")
        elif (value or None) != (have.get(key) or None):
            is_secret = "password" in key or "secret" in key
            # Servers do not give secrets back, so a missing one is no difference.
            if not (is_secret and not have.get(key)):
                fields.append(f"{prefix}{key}: " + ("(changed)" if is_secret else f"{have.get(key)!r} -> {value!r}"))
    return fields


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping that is sent as such or as JSON text; empty for anything else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _natural(name: str) -> tuple[int, str]:
    return (int(name[1:]) if name[1:].isdigit() else 0), name
