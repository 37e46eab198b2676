"""YAML files with the line of every member, so that a wrong one can be named.

`read` parses a file; `Document.fail` makes the failure that names file and line.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from funclet.cli.frame import Failure

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 32
_MAX_NODES = 50_000

Trail = tuple[str | int, ...]
"""Where in a document something is: names of members and positions in lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file."""

    path: Path
    value: Mapping[str, Any]
    lines: Mapping[Trail, int]

    def fail(self, trail: Trail, message: str, *, hint: str = "") -> Failure:
        """Return the failure that says what is wrong where."""
        known = trail
        while known and known not in self.lines:
            known = known[:-1]
        name = ".".join(str(part) for part in trail)
        return Failure(f"{self.path.name}:{self.lines.get(known, 1)}: {name}: {message}", hint=hint)


def read(path: Path) -> Document:
    """Read a YAML file whose top is a mapping.

    Raises:
        Failure: it cannot be read, is too large, or is not such YAML; names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_BYTES:
        raise Failure(f"{path} is larger than {_MAX_BYTES} bytes.")
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Failure(f"{path.name}:{line}: this is not YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Failure(f"{path.name}:1: this is not YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise Failure(f"{path.name}:1: the file must be a mapping, such as 'functions:'.")
    builder = _Builder(path)
    return Document(path=path, value=builder.build(node, ()), lines=builder.lines)


class _Builder:
    """Turns nodes into values. Aliases are expanded, so the number of nodes is counted."""

    def __init__(self, path: Path) -> None:
        self.lines: dict[Trail, int] = {}
        self._path = path
        self._count = 0
        self._constructor = yaml.SafeLoader("")

    def build(self, node: yaml.Node, trail: Trail) -> Any:
        """Return the value of a node and remember its line."""
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > _MAX_NODES or len(trail) > _MAX_DEPTH:
            raise Failure(f"{self._path.name}:{line}: the file is too deep or too large.")
        self.lines[trail] = line
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, trail)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(entry, (*trail, i)) for i, entry in enumerate(node.value)]
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise Failure(f"{self._path.name}:{line}: '{node.value}' cannot be read; put it in quotes.") from error
        return node.value if isinstance(value, (date, bytes)) else value

    def _mapping(self, node: yaml.MappingNode, trail: Trail) -> dict[str, Any]:
        self._constructor.flatten_mapping(node)
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            found[name] = self.build(value, (*trail, name))
            self.lines[(*trail, name)] = key.start_mark.line + 1
        return found
