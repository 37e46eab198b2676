"""YAML files with the line of every member, so that a wrong one can be named.

`read` parses a file; `Document.fail` makes the failure that names file and line.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from funclet.cli.frame import Failure, did_you_mean

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

    def mapping(self, value: Any, trail: Trail) -> Mapping[str, Any]:
        """Return a value that must be a mapping; nothing counts as an empty one.

        Raises:
            Failure: it is something else.
        """
        if value is not None and not isinstance(value, dict):
            raise self.fail(trail, "must be a mapping of names to values.")
        return value or {}

    def sequence(self, value: Any, trail: Trail) -> Sequence[Any]:
        """Return a value that must be a list; nothing counts as an empty one.

        Raises:
            Failure: it is something else.
        """
        if value is not None and not isinstance(value, list):
            raise self.fail(trail, "must be a list.")
        return value or []

    def number(self, value: Any, trail: Trail) -> int:
        """Return a value that must be a whole number.

        Raises:
            Failure: it is something else.
        """
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(trail, f"'{value}' is not a whole number.")
        return value

    def refuse_unknown(self, value: Mapping[str, Any], known: Collection[str], trail: Trail, what: str) -> None:
        """Refuse members that do not exist, so that a typing error cannot pass unseen.

        Raises:
            Failure: there is such a member; guesses which was meant.
        """
        for name in sorted(set(value) - set(known)):
            message = f"is not a member of {what}.{did_you_mean(name, list(known))}"
            raise self.fail((*trail, name), message, hint=f"Known: {', '.join(sorted(known))}")


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
        self._flat: set[int] = set()
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
        self._flatten(node, trail)
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            found[name] = self.build(value, (*trail, name))
            self.lines[(*trail, name)] = key.start_mark.line + 1
        return found

    def _flatten(self, node: yaml.MappingNode, trail: Trail) -> None:
        """Bring in what `<<` names, once for each node, after its own members were seen not to be there twice."""
        if id(node) in self._flat:
            return
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen and key.tag != "tag:yaml.org,2002:merge":
                name = ".".join(str(part) for part in (*trail, key.value))
                raise Failure(f"{self._path.name}:{key.start_mark.line + 1}: {name}: is there twice.")
            seen.add(str(key.value))
        self._constructor.flatten_mapping(node)
        self._flat.add(id(node))
