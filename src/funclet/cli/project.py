"""What a project wants on the server: functions with their aliases and triggers.

`load` reads `fgs.yaml` (or `s.yaml`, through `sfile`) into `Plan` values;
`discover` finds the file upwards from a folder.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funclet.cli import document
from funclet.cli.document import Document, Trail
from funclet.cli.frame import FUNCTION_NAME, FUNCTION_NAME_RULE, Failure

FILE_NAMES = ("fgs.yaml", "s.yaml", "s.yml")
DEFAULT_MEMORY_MIB = 128
DEFAULT_TIMEOUT_S = 30
_SUBSTITUTION = re.compile(r"\$\{\s*([a-z]+)(?:\.([\w.]+)|\(([^)]*)\))\s*\}")
_MAX_SUBSTITUTED_FILE_BYTES = 64 * 1024
_MEMBERS = ("version", "name", "region", "profile", "defaults", "vars", "stages", "functions", "flows", "alarms")
_FUNCTION_MEMBERS = {
    "type", "name", "app", "code", "handler", "runtime", "memory", "timeout", "env", "description",
    "initializer", "initializer_timeout", "fresh_state", "concurrency", "triggers", "aliases", "dependencies", "agency",
    "secrets", "logs", "tags", "test_events", "async", "reserved", "port", "mounts",
}  # fmt: skip
_CONCURRENCY: Mapping[str, str] = {"max_instances": "concurrency", "per_instance": "concurrent_num"}
TRIGGER_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "TIMER": ("type", "name", "schedule", "cron", "event", "status", "alias"),
    "APIG": ("type", "name", "path", "auth", "method", "match", "protocol", "timeout_ms", "group", "status", "alias"),
}
_GATEWAY_TIMEOUT_MS = 5000
_UNBUILT_MEMBERS = ("async", "reserved", "port", "mounts", "tags", "logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPlan:
    """A trigger that should exist."""

    type_code: str
    event_data: Mapping[str, Any]
    status: str = ""
    """Empty: as the server chooses."""
    qualifier: str = ""
    """Version or `!alias` that it fires; empty for latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasPlan:
    """An alias that should exist."""

    name: str
    version: str
    """A version name, `latest`, `@current` (what this deployment publishes) or `@previous`."""
    canary: str = ""
    weight: int = 0
    """Percent of requests that go to `canary`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPlan:
    """A function that should exist."""

    name: str
    app: str = "default"
    code: Path
    """A folder, or a zip archive."""
    settings: Mapping[str, Any]
    """Members of the configuration by wire name; only what the file says."""
    aliases: tuple[AliasPlan, ...] = ()
    triggers: tuple[TriggerPlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All that a file wants, and what in it is left alone."""

    functions: tuple[FunctionPlan, ...]
    notes: tuple[str, ...] = field(default=())
    """Members that are understood but do not act yet."""


def discover(folder: Path) -> Path | None:
    """Return the project file of a folder or of the nearest folder above it."""
    start = folder.resolve()
    for place in (start, *start.parents):
        for name in FILE_NAMES:
            if (place / name).is_file():
                return place / name
    return None


def profile_of(path: Path, *, stage: str) -> str:
    """Return the profile that a project file asks for; empty when it does not."""
    found = document.read(path).value
    stages = found.get("stages")
    chosen = stages.get(stage) if isinstance(stages, dict) else None
    if isinstance(chosen, dict) and chosen.get("profile"):
        return str(chosen["profile"])
    return str(found.get("profile") or "")


def load(path: Path, *, stage: str = "") -> Project:
    """Read a project file.

    Raises:
        Failure: something in it is wrong; names file and line.
    """
    found = document.read(path)
    if "services" in found.value or "resources" in found.value:
        from funclet.cli import sfile  # noqa: PLC0415 - it builds on this module

        return sfile.load(found)
    return _Reader(found, stage).project()


def substitute(value: Any, variables: Mapping[str, Any], found: Document, trail: Trail) -> Any:
    """Replace `${vars.x}`, `${env(NAME)}` and `${file(path)}` in all texts of a value."""
    if isinstance(value, dict):
        return {key: substitute(entry, variables, found, (*trail, key)) for key, entry in value.items()}
    if isinstance(value, list):
        return [substitute(entry, variables, found, (*trail, i)) for i, entry in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def one(match: re.Match[str]) -> Any:
        kind, name, argument = match.group(1), match.group(2), (match.group(3) or "").strip("'\" ")
        if kind == "vars" and name in variables:
            return variables[name]
        if kind == "env" and argument in os.environ:
            return os.environ[argument]
        if kind == "file" and argument:
            return _included(found, trail, argument)
        raise found.fail(trail, f"'{match.group(0)}' has no value.", hint="Known: ${vars.x}, ${env(NAME)}, ${file(p)}.")

    whole = _SUBSTITUTION.fullmatch(value)
    return one(whole) if whole else _SUBSTITUTION.sub(lambda match: str(one(match)), value)


def _included(found: Document, trail: Trail, name: str) -> str:
    folder = found.path.parent.resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):
        raise found.fail(trail, f"'{name}' is outside of the project.")
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_SUBSTITUTED_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise found.fail(trail, f"the file '{name}' cannot be read: {error}") from error


def as_variables(value: Any, found: Document, trail: Trail) -> dict[str, str]:
    """Return a mapping of texts, for the environment of a function; numbers and booleans become text."""
    if not isinstance(value, dict):
        raise found.fail(trail, "must be a mapping of names to texts.")
    texts = {}
    for name, entry in value.items():
        if isinstance(entry, (dict, list)):
            raise found.fail((*trail, name), "must be a text.", hint="Write JSON text in quotes.")
        texts[name] = str(entry).lower() if isinstance(entry, bool) else "" if entry is None else str(entry)
    return texts


class _Reader:
    """Reads `fgs.yaml`."""

    def __init__(self, found: Document, stage: str) -> None:
        self._found = found
        self._notes: list[str] = []
        found.refuse_unknown(found.value, _MEMBERS, (), "fgs.yaml")
        if found.value.get("version", 1) != 1:
            raise found.fail(("version",), "must be 1.")
        stages = found.mapping(found.value.get("stages"), ("stages",))
        if stage and stage not in stages:
            have = ", ".join(stages) or "none"
            raise found.fail(("stages",), f"there is no stage '{stage}'.", hint=f"There are: {have}")
        chosen = found.mapping(stages.get(stage), ("stages", stage))
        variables = {
            **found.mapping(found.value.get("vars"), ("vars",)),
            **found.mapping(chosen.get("vars"), ("stages", stage, "vars")),
        }
        self._value: Mapping[str, Any] = substitute(
            {key: found.value.get(key) for key in ("defaults", "functions")}, variables, found, ()
        )

    def project(self) -> Project:
        """Return the whole file."""
        functions = self._value.get("functions")
        if not isinstance(functions, dict) or not functions:
            raise self._found.fail(("functions",), "name at least one function here.")
        defaults = self._found.mapping(self._value.get("defaults"), ("defaults",))
        self._found.refuse_unknown(defaults, _FUNCTION_MEMBERS, ("defaults",), "a function")
        plans = tuple(self._function(name, body, defaults) for name, body in functions.items())
        self._refuse_clash(tuple(functions), plans)
        for member in ("flows", "alarms"):
            if self._found.value.get(member):
                self._notes.append(f"'{member}' is not deployed yet")
        return Project(functions=plans, notes=tuple(self._notes))

    def _refuse_clash(self, members: Sequence[str], plans: Sequence[FunctionPlan]) -> None:
        seen: dict[tuple[str, str], str] = {}
        for member, plan in zip(members, plans, strict=True):
            other = seen.setdefault((plan.app, plan.name), member)
            if other != member:
                message = f"its name '{plan.name}' is also that of functions.{other}."
                raise self._found.fail(("functions", member, "name"), message, hint="Name one of them otherwise.")

    def _function(self, name: str, body: Any, defaults: Mapping[str, Any]) -> FunctionPlan:
        trail: Trail = ("functions", name)
        if not isinstance(body, dict):
            raise self._found.fail(trail, "must be a mapping with code, handler and runtime.")
        self._found.refuse_unknown(body, _FUNCTION_MEMBERS, trail, "a function")
        self._notes += [f"'{'.'.join(map(str, trail))}.{m}' is not deployed yet" for m in _UNBUILT_MEMBERS if m in body]
        merged = {**defaults, **body}
        if merged.get("type", "event") != "event":
            raise self._found.fail((*trail, "type"), f"'{merged['type']}' functions cannot be deployed yet; use event.")
        for required in ("code", "runtime"):
            if not merged.get(required):
                raise self._found.fail(trail, f"'{required}' is missing.")
        chosen = str(merged.get("name", name))
        if not FUNCTION_NAME.fullmatch(chosen):
            raise self._found.fail((*trail, "name"), f"'{chosen}' is no name for a function.", hint=FUNCTION_NAME_RULE)
        code = (self._found.path.parent / str(merged["code"])).resolve()
        return FunctionPlan(
            name=chosen,
            app=str(merged.get("app", "default")),
            code=code,
            settings=self._settings(merged, trail),
            aliases=self._aliases(merged.get("aliases"), trail),
            triggers=self._triggers(merged.get("triggers"), trail, name),
        )

    def _settings(self, body: Mapping[str, Any], trail: Trail) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "runtime": str(body["runtime"]),
            "handler": str(body.get("handler", "index.handler")),
            "memory_size": self._number(body, "memory", trail, DEFAULT_MEMORY_MIB),
            "timeout": self._number(body, "timeout", trail, DEFAULT_TIMEOUT_S),
        }
        if "description" in body:
            settings["description"] = str(body["description"] or "")
        if "agency" in body:
            settings["xrole"] = str(body["agency"])
        if body.get("initializer"):
            settings["initializer_handler"] = str(body["initializer"])
            settings["initializer_timeout"] = self._number(body, "initializer_timeout", trail, 3)
        if "fresh_state" in body:
            settings["enable_fresh_state"] = self._flag(body["fresh_state"], (*trail, "fresh_state"))
        if "env" in body:
            settings["env"] = as_variables(body["env"] or {}, self._found, (*trail, "env"))
        if body.get("secrets"):
            settings["secrets"] = self._secrets(body["secrets"], (*trail, "secrets"))
        if "dependencies" in body:
            settings["depend_version_list"] = self._dependencies(body["dependencies"], (*trail, "dependencies"))
        if body.get("concurrency") is not None:
            settings["strategy_config"] = self._concurrency(body["concurrency"], (*trail, "concurrency"))
        return settings

    def _dependencies(self, body: Any, trail: Trail) -> list[str]:
        entries = self._found.sequence(body, trail)
        for i, entry in enumerate(entries):
            if not isinstance(entry, str):
                raise self._found.fail((*trail, i), "must be a name such as pillow, or pillow@3.")
        return list(entries)

    def _concurrency(self, body: Any, trail: Trail) -> dict[str, int]:
        found = self._found.mapping(body, trail)
        self._found.refuse_unknown(found, _CONCURRENCY, trail, "concurrency")
        return {_CONCURRENCY[name]: self._found.number(value, (*trail, name)) for name, value in found.items()}

    def _secrets(self, names: Any, trail: Trail) -> dict[str, str]:
        found = {}
        for name in self._found.sequence(names, trail):
            if str(name) not in os.environ:
                raise self._found.fail(trail, f"'{name}' is not set.", hint=f"Set the variable {name} and try again.")
            found[str(name)] = os.environ[str(name)]
        return found

    def _flag(self, value: Any, trail: Trail) -> bool:
        if not isinstance(value, bool):
            raise self._found.fail(trail, f"'{value}' must be true or false.")
        return value

    def _number(self, body: Mapping[str, Any], name: str, trail: Trail, default: int) -> int:
        place = (*trail, name) if (*trail, name) in self._found.lines else ("defaults", name)
        return self._found.number(body.get(name, default), place)

    def _aliases(self, body: Any, trail: Trail) -> tuple[AliasPlan, ...]:
        plans = []
        for name, entry in self._found.mapping(body, (*trail, "aliases")).items():
            place: Trail = (*trail, "aliases", name)
            one = entry if isinstance(entry, dict) else {"version": entry}
            canary = self._found.mapping(one.get("canary"), (*place, "canary"))
            if not one.get("version"):
                raise self._found.fail(place, "'version' is missing.")
            plans.append(
                AliasPlan(
                    name=str(name),
                    version=str(one["version"]),
                    canary=str(canary.get("version", "")),
                    weight=self._found.number(canary.get("weight", 0), (*place, "canary", "weight")),
                )
            )
        return tuple(plans)

    def _triggers(self, body: Any, trail: Trail, function: str) -> tuple[TriggerPlan, ...]:
        plans: list[TriggerPlan] = []
        for i, entry in enumerate(self._found.sequence(body, (*trail, "triggers"))):
            place: Trail = (*trail, "triggers", i)
            if not isinstance(entry, dict) or not entry.get("type"):
                raise self._found.fail(place, "'type' is missing, such as apig or timer.")
            timers = sum(plan.type_code == "TIMER" for plan in plans)
            try:
                plans.append(trigger_plan(entry, function=function, timers=timers))
            except Failure as error:
                raise self._found.fail(place, error.message, hint=error.hint) from error
        return tuple(plans)


def trigger_plan(entry: Mapping[str, Any], *, function: str, timers: int = 0) -> TriggerPlan:
    """Return the trigger that a short description means, such as `{type: timer, schedule: 3m}`.

    Args:
        entry: the description.
        function: name of the function, which paths and names are made of.
        timers: how many timers the function has already; the next nameless one is called after their number.

    Raises:
        Failure: a member is missing, unknown, or not what it should be.
    """
    type_code = str(entry["type"]).upper()
    known = TRIGGER_MEMBERS.get(type_code, entry)
    unknown = sorted(set(entry) - set(known))
    if unknown:
        hint = f"Known: {', '.join(known)}"
        raise Failure(f"A trigger of type {type_code} has no member '{unknown[0]}'.", hint=hint)
    qualifier = f"!{entry['alias']}" if entry.get("alias") else ""
    if type_code == "TIMER":
        data = _timer_data(entry, timers)
    elif type_code in ("APIG", "DEDICATEDGATEWAY", "APIC"):
        data = _gateway_data(entry, function)
    else:
        data = {key: value for key, value in entry.items() if key not in ("type", "status", "alias")}
    return TriggerPlan(
        type_code=type_code, event_data=data, status=str(entry.get("status", "")).upper(), qualifier=qualifier
    )


def _timer_data(entry: Mapping[str, Any], timers: int) -> dict[str, Any]:
    schedule, cron = entry.get("schedule"), entry.get("cron")
    if bool(schedule) == bool(cron):
        raise Failure("A timer needs a schedule or a cron expression.", hint="schedule: 3m, or cron: '0 0 8 * * ?'")
    return {
        "name": str(entry.get("name") or f"timer-{timers + 1}"),
        "schedule_type": "Cron" if cron else "Rate",
        "schedule": str(cron or schedule),
        "user_event": str(entry.get("event") or ""),
    }


def _gateway_data(entry: Mapping[str, Any], function: str) -> dict[str, Any]:
    timeout_ms = entry.get("timeout_ms", _GATEWAY_TIMEOUT_MS)
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int):
        raise Failure(f"timeout_ms '{timeout_ms}' is not a whole number.")
    name = "API_" + re.sub(r"[^A-Za-z0-9]", "_", str(entry.get("name") or function))
    data: dict[str, Any] = {
        "name": name[:64],
        "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID",
        "env_name": "RELEASE",
        "auth": str(entry.get("auth", "IAM")).upper(),
        "protocol": str(entry.get("protocol", "HTTP")).upper(),
        "path": str(entry.get("path") or f"/{function}"),
        "match_mode": str(entry.get("match", "SWA")).upper(),
        "req_method": str(entry.get("method", "ANY")).upper(),
        "backend_type": "FUNCTION",
        "type": 1,
        "func_info": {"timeout": timeout_ms},
    }
    return data | ({"group_id": str(entry["group"])} if entry.get("group") else {})
