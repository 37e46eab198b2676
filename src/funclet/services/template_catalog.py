"""The templates that come with the server: of functions and of applications. Start with `TemplateCatalog.load`.

A template is a folder in `templates/` with a table in TOML and source files, whose names end in `.txt` so that no tool
takes them for sources of ours.
"""

import io
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from funclet.model.errors import ModelError
from funclet.services.code import CodeUpload

FOLDER = Path(__file__).parent / "templates"
# The oldest time that an archive can hold, so that equal files are equal archives.
_ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Source files of a template by name."""

    files: Mapping[str, bytes]

    @property
    def upload(self) -> CodeUpload:
        """The files as the code of a new function: one of them as text, several as an archive."""
        name, content = next(iter(self.files.items()))
        if len(self.files) == 1:
            return CodeUpload(code_type="inline", content=content, filename=name)
        return CodeUpload(code_type="zip", content=_archive(self.files), filename="index.zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTemplate:
    """A function to begin with."""

    template_id: str
    name: str
    title: str
    description: str
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    scene: str
    user_data: str
    sample_input: str
    """An event that the function can be tried with, as JSON."""
    sample_output: str
    """What it answers to that, as JSON; empty if that is not always the same."""
    warning: str
    triggers: Sequence[Mapping[str, str]]
    sources: Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What can be chosen when an application is made."""

    name: str
    description: str
    default: str
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTemplate:
    """One function of an application."""

    name: str
    """Stands behind the name of the application."""
    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    variables: Mapping[str, str]
    """Environment variables, each with the name of the parameter that it gets."""
    secrets: Mapping[str, str]
    """The same for encrypted ones."""
    sources: Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class AppTemplate:
    """Functions that are made together."""

    template_id: str
    name: str
    description: str
    category: str
    runtime: str
    guide: str
    created_at: float
    """Seconds since the epoch."""
    parameters: Sequence[Parameter]
    parts: Sequence[PartTemplate]


class TemplateCatalog:
    """All templates by id, in the order of their folders."""

    def __init__(self, functions: Sequence[FunctionTemplate], applications: Sequence[AppTemplate]) -> None:
        self.functions = functions
        self.applications = applications

    @classmethod
    def load(cls, folder: Path = FOLDER) -> "TemplateCatalog":
        """Read all templates; blocks."""
        return cls(
            [_function(path) for path in _folders(folder / "functions")],
            [_application(path) for path in _folders(folder / "applications")],
        )

    def function(self, template_id: str) -> FunctionTemplate:
        """Return the template of a function.

        Raises:
            ModelError: FSS.1059.
        """
        found = next((one for one in self.functions if one.template_id == template_id), None)
        if found is None:
            raise _missing(template_id)
        return found

    def application(self, template_id: str) -> AppTemplate:
        """Return the template of an application.

        Raises:
            ModelError: FSS.1059.
        """
        found = next((one for one in self.applications if one.template_id == template_id), None)
        if found is None:
            raise _missing(template_id)
        return found


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir())


def _function(folder: Path) -> FunctionTemplate:
    table = tomllib.loads((folder / "template.toml").read_text("utf-8"))
    return FunctionTemplate(
        template_id=table["id"],
        name=folder.name,
        title=table["title"],
        description=table["description"],
        runtime=table["runtime"],
        handler=table["handler"],
        timeout_s=table["timeout"],
        memory_mib=table["memory_size"],
        scene=table["scene"],
        user_data=table.get("user_data", ""),
        sample_input=table["input"],
        sample_output=table.get("output", ""),
        warning=table.get("warning", ""),
        triggers=table.get("triggers", []),
        sources=_sources(folder, table),
    )


def _application(folder: Path) -> AppTemplate:
    table = tomllib.loads((folder / "application.toml").read_text("utf-8"))
    return AppTemplate(
        template_id=table["id"],
        name=table["name"],
        description=table["description"],
        category=table["category"],
        runtime=table["runtime"],
        guide=table["guide"],
        created_at=datetime.fromisoformat(table["created_at"]).replace(tzinfo=UTC).timestamp(),
        parameters=[_parameter(entry) for entry in table["parameters"]],
        parts=[_part(folder, entry) for entry in table["functions"]],
    )


def _parameter(table: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=table["name"],
        description=table["description"],
        default=table.get("default", ""),
        is_required=table.get("required", False),
    )


def _part(folder: Path, table: Mapping[str, Any]) -> PartTemplate:
    return PartTemplate(
        name=table["name"],
        runtime=table["runtime"],
        handler=table["handler"],
        timeout_s=table["timeout"],
        memory_mib=table["memory_size"],
        variables=table.get("variables", {}),
        secrets=table.get("secrets", {}),
        sources=_sources(folder, table),
    )


def _sources(folder: Path, table: Mapping[str, Any]) -> Sources:
    return Sources(files={name: (folder / f"{name}.txt").read_bytes() for name in table["files"]})


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _ARCHIVE_TIME), content)
    return buffer.getvalue()


def _missing(template_id: str) -> ModelError:
    return ModelError("FSS.1059", f"There is no template '{template_id[:64]}'.")
