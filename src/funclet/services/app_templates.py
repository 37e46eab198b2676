"""Templates of applications: what is made together, from `application.toml`. Start with `read_application`."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from funclet.services.template_sources import Sources, read_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text for people."""

    english: str
    chinese: str

    def of(self, language: str) -> str:
        """Return the text in a language, such as `zh-cn`; English for all that it is not written in."""
        return self.chinese if language.lower().startswith("zh") else self.english


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What can be chosen when an application is made."""

    name: str
    description: Words
    default: str
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyTemplate:
    """Files that several functions of an application share."""

    name: str
    """Stands behind the name of the application, as those of functions do."""
    runtime: str
    sources: Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTemplate:
    """One function of an application."""

    name: str
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    max_instances: int
    """-1: without limit."""
    variables: Mapping[str, str]
    """Environment variables, each with the name of the parameter that it gets."""
    secrets: Mapping[str, str]
    """The same for encrypted ones."""
    dependencies: Sequence[str]
    """Names of dependencies of the template, in the order in which they are put beside the code."""
    share: Mapping[str, str]
    """The `parameter` that names a file system of the server to mount, and the `path` where; empty: none."""
    sources: Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerTemplate:
    """One trigger of an application."""

    name: str
    function: str
    """Name of the function in the template."""
    type_code: str
    event_data: Mapping[str, Any]
    """Its texts may have `${parameter}`, and also `${application}` and `${id}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsTemplate:
    """How the asynchronous requests of a function are treated."""

    function: str
    needs: str
    """A parameter without which there are no such settings; empty: there are."""
    retries: int
    on_success: Mapping[str, Any] = field(default_factory=dict)
    """The `kind` of a destination with its members, texts as in `event_data`; `function` names one of the template."""
    on_failure: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTemplate:
    """What is made together."""

    template_id: str
    name: str
    description: Words
    category: str
    runtime: str
    guide: Words
    created_at: float
    """Seconds since the epoch."""
    parameters: Sequence[Parameter]
    dependencies: Sequence[DependencyTemplate]
    parts: Sequence[PartTemplate]
    triggers: Sequence[TriggerTemplate]
    settings: Sequence[SettingsTemplate]


def read_application(folder: Path) -> AppTemplate:
    """Read the template in a folder; blocks."""
    table = tomllib.loads((folder / "application.toml").read_text("utf-8"))
    return AppTemplate(
        template_id=table["id"],
        name=table["name"],
        description=_words(table, "description"),
        category=table["category"],
        runtime=table["runtime"],
        guide=_words(table, "guide"),
        created_at=datetime.fromisoformat(table["created_at"]).replace(tzinfo=UTC).timestamp(),
        parameters=[_parameter(entry) for entry in table["parameters"]],
        dependencies=[_dependency(folder, entry) for entry in table.get("dependencies", [])],
        parts=[_part(folder, entry) for entry in table["functions"]],
        triggers=[_trigger(entry) for entry in table.get("triggers", [])],
        settings=[_settings(entry) for entry in table.get("async", [])],
    )


def _words(table: Mapping[str, Any], name: str) -> Words:
    return Words(english=table[name], chinese=table[f"{name}_zh"])


def _parameter(table: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=table["name"],
        description=_words(table, "description"),
        default=table.get("default", ""),
        is_required=table.get("required", False),
    )


def _dependency(folder: Path, table: Mapping[str, Any]) -> DependencyTemplate:
    return DependencyTemplate(
        name=table["name"], runtime=table["runtime"], sources=read_sources(folder, table["files"])
    )


def _part(folder: Path, table: Mapping[str, Any]) -> PartTemplate:
    return PartTemplate(
        name=table["name"],
        runtime=table["runtime"],
        handler=table["handler"],
        timeout_s=table["timeout"],
        memory_mib=table["memory_size"],
        max_instances=table.get("max_instances", -1),
        variables=table.get("variables", {}),
        secrets=table.get("secrets", {}),
        dependencies=table.get("dependencies", []),
        share=table.get("share", {}),
        sources=read_sources(folder, table["files"]),
    )


def _trigger(table: Mapping[str, Any]) -> TriggerTemplate:
    return TriggerTemplate(
        name=table["name"], function=table["function"], type_code=table["type"], event_data=table["event_data"]
    )


def _settings(table: Mapping[str, Any]) -> SettingsTemplate:
    return SettingsTemplate(
        function=table["function"],
        needs=table.get("needs", ""),
        retries=table["retries"],
        on_success=table.get("on_success", {}),
        on_failure=table.get("on_failure", {}),
    )
