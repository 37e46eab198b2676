"""What a project wants on the server: functions with their aliases and triggers.

`load` reads `fgs.yaml` (or `s.yaml`, through `sfile`) into `Plan` values;
`discover` finds the file upwards from a folder.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from funclet.cli import document
from funclet.cli.document import Document, Trail
from funclet.cli.frame import Failure

FILE_NAMES = ("fgs.yaml", "s.yaml", "s.yml")
DEFAULT_MEMORY_MIB = 128
DEFAULT_TIMEOUT_S = 30
_SUBSTITUTION = re.compile(r"\$\{\s*([a-z]+)(?:\.([\w.]+)|\(([^)]*)\))\s*\}")
_MAX_SUBSTITUTED_FILE_BYTES = 64 * 1024
_FUNCTION_MEMBERS = {
    "type", "name", "app", "code", "handler", "runtime", "memory", "timeout", "env", "description",
    "initializer", "initializer_timeout", "concurrency", "triggers", "aliases", "dependencies", "agency",
    "secrets", "logs", "tags", "test_events", "async", "reserved", "port", "mounts",
}  # fmt: skip
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
        stages = found.value.get("stages") or {}
        if stage and stage not in stages:
            raise found.fail(("stages",), f"there is no stage '{stage}'.", hint=f"There are: {', '.join(stages)}")
        variables = dict(found.value.get("vars") or {}) | dict((stages.get(stage) or {}).get("vars") or {})
        self._value: Mapping[str, Any] = substitute(
            {key: found.value.get(key) for key in ("defaults", "functions")}, variables, found, ()
        )

    def project(self) -> Project:
        """Return the whole file."""
        functions = self._value.get("functions")
        if not isinstance(functions, dict) or not functions:
            raise self._found.fail(("functions",), "name at least one function here.")
        plans = tuple(self._function(name, body) for name, body in functions.items())
        for member in ("flows", "alarms"):
            if self._found.value.get(member):
                self._notes.append(f"'{member}' is not deployed yet")
        return Project(functions=plans, notes=tuple(self._notes))

    def _function(self, name: str, body: Any) -> FunctionPlan:
        trail: Trail = ("functions", name)
        if not isinstance(body, dict):
            raise self._found.fail(trail, "must be a mapping with code, handler and runtime.")
        unknown = sorted(set(body) - _FUNCTION_MEMBERS)
        if unknown:
            raise self._found.fail((*trail, unknown[0]), "is not a member of a function.")
        self._notes += [f"'{'.'.join(map(str, trail))}.{m}' is not deployed yet" for m in _UNBUILT_MEMBERS if m in body]
        merged = {**(self._value.get("defaults") or {}), **body}
        if merged.get("type", "event") != "event":
            raise self._found.fail((*trail, "type"), f"'{merged['type']}' functions cannot be deployed yet; use event.")
        for required in ("code", "runtime"):
            if not merged.get(required):
                raise self._found.fail(trail, f"'{required}' is missing.")
        code = (self._found.path.parent / str(merged["code"])).resolve()
        return FunctionPlan(
            name=str(merged.get("name", name)),
            app=str(merged.get("app", "default")),
            code=code,
            settings=self._settings(merged, trail),
            aliases=self._aliases(merged.get("aliases") or {}, trail),
            triggers=self._triggers(merged.get("triggers") or [], trail, name),
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
        if "env" in body:
            settings["env"] = as_variables(body["env"] or {}, self._found, (*trail, "env"))
        if body.get("secrets"):
            settings["secrets"] = self._secrets(body["secrets"], (*trail, "secrets"))
        if isinstance(body.get("dependencies"), list):
            settings["depend_version_list"] = [str(entry) for entry in body["dependencies"]]
        concurrency = body.get("concurrency")
        if isinstance(concurrency, dict):
            names = {"max_instances": "concurrency", "per_instance": "concurrent_num"}
            settings["strategy_config"] = {names[key]: value for key, value in concurrency.items() if key in names}
        return settings

    def _secrets(self, names: Any, trail: Trail) -> dict[str, str]:
        found = {}
        for name in names if isinstance(names, list) else []:
            if str(name) not in os.environ:
                raise self._found.fail(trail, f"'{name}' is not set.", hint=f"Set the variable {name} and try again.")
            found[str(name)] = os.environ[str(name)]
        return found

    def _number(self, body: Mapping[str, Any], name: str, trail: Trail, default: int) -> int:
        value = body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            place = (*trail, name) if (*trail, name) in self._found.lines else ("defaults", name)
            raise self._found.fail(place, f"'{value}' is not a whole number.")
        return value

    def _aliases(self, body: Any, trail: Trail) -> tuple[AliasPlan, ...]:
        plans = []
        for name, entry in body.items() if isinstance(body, dict) else []:
            one = entry if isinstance(entry, dict) else {"version": entry}
            canary: Any = one.get("canary") if isinstance(one.get("canary"), dict) else {}
            if not one.get("version"):
                raise self._found.fail((*trail, "aliases", name), "'version' is missing.")
            plans.append(
                AliasPlan(
                    name=str(name),
                    version=str(one["version"]),
                    canary=str(canary.get("version", "")),
                    weight=int(canary.get("weight", 0)),
                )
            )
        return tuple(plans)

    def _triggers(self, body: Any, trail: Trail, function: str) -> tuple[TriggerPlan, ...]:
        plans = []
        for i, entry in enumerate(body if isinstance(body, list) else []):
            place: Trail = (*trail, "triggers", i)
            if not isinstance(entry, dict) or not entry.get("type"):
                raise self._found.fail(place, "'type' is missing, such as apig or timer.")
            try:
                plans.append(trigger_plan(entry, function=function, number=i))
            except Failure as error:
                raise self._found.fail(place, error.message, hint=error.hint) from error
        return tuple(plans)


def trigger_plan(entry: Mapping[str, Any], *, function: str, number: int = 0) -> TriggerPlan:
    """Return the trigger that a short description means, such as `{type: timer, schedule: 3m}`.

    Raises:
        Failure: a member is missing.
    """
    type_code = str(entry["type"]).upper()
    qualifier = f"!{entry['alias']}" if entry.get("alias") else ""
    if type_code == "TIMER":
        data = _timer_data(entry, number)
    elif type_code in ("APIG", "DEDICATEDGATEWAY"):
        data = _gateway_data(entry, function)
    else:
        data = {key: value for key, value in entry.items() if key not in ("type", "status", "alias")}
    return TriggerPlan(
        type_code=type_code, event_data=data, status=str(entry.get("status", "")).upper(), qualifier=qualifier
    )


def _timer_data(entry: Mapping[str, Any], number: int) -> dict[str, Any]:
    schedule, cron = entry.get("schedule"), entry.get("cron")
    if bool(schedule) == bool(cron):
        raise Failure("A timer needs a schedule or a cron expression.", hint="schedule: 3m, or cron: '0 0 8 * * ?'")
    return {
        "name": str(entry.get("name") or f"timer-{number + 1}"),
        "schedule_type": "Cron" if cron else "Rate",
        "schedule": str(cron or schedule),
        "user_event": str(entry.get("event") or ""),
    }


def _gateway_data(entry: Mapping[str, Any], function: str) -> dict[str, Any]:
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
        "func_info": {"timeout": int(entry.get("timeout_ms", 5000))},
    }
    return data | ({"group_id": str(entry["group"])} if entry.get("group") else {})
