"""The templates that come with the server: of functions and of applications. Start with `TemplateCatalog.load`.

A template is a folder in `templates/` with a table in TOML and source files, whose names end in `.txt` so that no tool
takes them for sources of ours.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from funclet.model.errors import ModelError
from funclet.services.app_templates import AppTemplate, read_application
from funclet.services.template_sources import Sources, read_sources

FOLDER = Path(__file__).parent / "templates"


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
            [read_application(path) for path in _folders(folder / "applications")],
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
        sources=read_sources(folder, table["files"]),
    )


def _missing(template_id: str) -> ModelError:
    return ModelError("FSS.1059", f"There is no template '{template_id[:64]}'.")
