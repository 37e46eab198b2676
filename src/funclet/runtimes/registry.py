"""Which runtimes exist, and which interpreter of this host runs each of them.

`Registry.load` reads the language folders once; `Registry.require` answers
whether a catalogue name is known, `Registry.launch_of` how it is started.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funclet.model.errors import ModelError

# runtimes.md 1: names of the catalogue whose language is not built yet; accepted, and fail when they are invoked.
_UNBUILT = (
    "Java8",
    "Java11",
    "Java17",
    "Java21",
    "Go1.8",
    "Go1.x",
    "C#(.NET Core 2.0)",
    "C#(.NET Core 2.1)",
    "C#(.NET Core 3.1)",
    "C#(.NET Core 6.0)",
    "C#(.NET Core 8.0)",
    "PHP7.3",
    "PHP8.3",
    "Cangjie1.0",
    "Custom",
    "http",
    "Custom Image",
)
_PROBE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What a language folder says of itself."""

    name: str
    folder: Path
    arguments: tuple[str, ...]
    extension: str
    default_handler: str
    default_memory_mib: int
    default_timeout_s: int
    sample: Path
    interpreter_links: tuple[str, ...]
    library_mark: str = ""
    """What is in the folder above `bin` of an interpreter that brings libraries, relative to that folder."""
    oldest: tuple[int, ...] = ()
    """Oldest version of the language that runs the files of the folder."""
    fresh_state: bool = False
    """Whether it can run each request in a fork of the initialised instance."""
    depth: int = 1
    """Requests that its runtime may be sent before it has answered the first of them."""
    has_zygote: bool = False
    """Whether its stems may be forks of one warmed process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSpec:
    """One catalogue name, such as `Python3.9`."""

    name: str
    display_name: str
    directory: str
    """Folder name that old bootstrap files expect, such as `python3.9`."""
    language: Language | None
    """None: the language is not built yet."""
    interpreter: Path | None
    """Executable of this host that runs it; None: none fits."""
    interpreter_version: str = ""
    """Version of that executable, such as `3.11.2`."""
    note: str = ""
    """Why there is no interpreter, or which version stands in."""
    asked_version: tuple[int, ...] = ()
    """Version of the language that the name asks for."""

    @property
    def is_runnable(self) -> bool:
        """Whether functions of this runtime can run on this host."""
        return self.language is not None and self.interpreter is not None

    def installations(self) -> tuple[Path, ...]:
        """Return the folders above `bin` of the interpreter: its environment, if it is a link in one, and its own."""
        if self.interpreter is None:
            return ()
        return tuple(dict.fromkeys(path.parent.parent for path in (self.interpreter, self.interpreter.resolve())))


@dataclass(frozen=True, slots=True)
class _Interpreter:
    path: Path
    version: tuple[int, ...]

    @property
    def text(self) -> str:
        """The version as people write it: `3.11.2`."""
        return ".".join(map(str, self.version))


class Registry:
    """All runtimes by catalogue name."""

    def __init__(self, runtimes: Sequence[RuntimeSpec]) -> None:
        self._runtimes = {runtime.name: runtime for runtime in runtimes}
        self._links = {runtime.name: self._find_links(runtime) for runtime in runtimes}

    @classmethod
    def load(cls, folder: Path, *, operator_map: Mapping[str, str] | None = None) -> "Registry":
        """Read every language folder below `folder` and look for interpreters.

        Args:
            folder: where the language folders are.
            operator_map: catalogue name -> path of the interpreter that the operator wants for it.
        """
        wanted = operator_map or {}
        runtimes: list[RuntimeSpec] = []
        for path in sorted(folder.glob("*/runtime.toml")):
            runtimes += _read_language(path, wanted)
        runtimes += [
            RuntimeSpec(
                name=name,
                display_name=name,
                directory="",
                language=None,
                interpreter=None,
                note="this language is not built yet",
            )
            for name in _UNBUILT
            if all(runtime.name != name for runtime in runtimes)
        ]
        return cls(runtimes)

    def require(self, name: str) -> RuntimeSpec:
        """Return a runtime by its catalogue name.

        Raises:
            ModelError: FSS.1005 if the catalogue has no such name.
        """
        runtime = self._runtimes.get(name)
        if runtime is None:
            known = ", ".join(sorted(self._runtimes))
            raise ModelError("FSS.1005", f"runtime '{name[:80]}' is unknown; choose one of: {known}.")
        return runtime

    def faults_of(self, operator_map: Mapping[str, str]) -> Sequence[str]:
        """Return what is wrong with the map that this was loaded with, a sentence for each entry that cannot be."""
        faults = []
        for name, path in operator_map.items():
            try:
                runtime = self.require(name)
            except ModelError as error:
                faults.append(error.message)
            else:
                if runtime.interpreter is None and not path:
                    continue
                if runtime.interpreter is None:
                    faults.append(f"Runtime '{name}': {runtime.note}.")
                elif runtime.interpreter.is_relative_to("/tmp"):  # noqa: S108 - nothing is written there
                    faults.append(
                        f"Runtime '{name}': functions cannot see {runtime.interpreter}, as each has a /tmp of its own; "
                        "move it, for example below /opt."
                    )
                elif Path("/") in runtime.installations():
                    faults.append(
                        f"Runtime '{name}': {path} is in no installation of its own, which functions could be shown "
                        "without all other folders; put it into a bin, for example /opt/python/bin."
                    )
        return faults

    def links_of(self, runtime: RuntimeSpec) -> tuple[str, ...]:
        """Return all paths below `/opt/function/runtime` that lead to the interpreter of a runtime.

        Those of other names that the same interpreter runs are among them, so that one stem can serve all names.
        """
        return self._links[runtime.name]

    def _find_links(self, runtime: RuntimeSpec) -> tuple[str, ...]:
        return tuple(
            link.replace("{name}", other.directory)
            for other in self.all()
            if other.language is not None and other.interpreter == runtime.interpreter
            for link in other.language.interpreter_links
        )

    def newest(self) -> Sequence[RuntimeSpec]:
        """Return the newest runnable runtime of each language."""
        by_language = {
            runtime.language.name: runtime
            for runtime in sorted(self._runtimes.values(), key=lambda one: one.asked_version)
            if runtime.language is not None and runtime.is_runnable
        }
        return tuple(by_language.values())

    def all(self) -> Sequence[RuntimeSpec]:
        """Return every runtime of the catalogue by name."""
        return sorted(self._runtimes.values(), key=lambda runtime: runtime.name)


def _read_language(path: Path, wanted: Mapping[str, str]) -> list[RuntimeSpec]:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    language = Language(
        name=table["language"],
        folder=path.parent,
        arguments=tuple(table["arguments"]),
        extension=table["extension"],
        default_handler=table["default_handler"],
        default_memory_mib=table["default_memory_mib"],
        default_timeout_s=table["default_timeout_s"],
        sample=path.parent / table["sample"],
        interpreter_links=tuple(table["interpreter_links"]),
        library_mark=table.get("library_mark", ""),
        oldest=_version(table["oldest"]),
        fresh_state=table.get("fresh_state", False),
        depth=table.get("depth", 1),
        has_zygote=table.get("zygote", False),
    )
    present = _find_interpreters(table["versions"])
    return [_resolve(language, row, present, wanted.get(row["name"])) for row in table["versions"]]


def _find_interpreters(rows: Sequence[Mapping[str, Any]]) -> Sequence[_Interpreter]:
    """Return the interpreters among all candidates of a language, oldest version first, each file once."""
    found: dict[Path, _Interpreter] = {}
    for path in _candidates(dict.fromkeys(name for row in rows for name in row["candidates"])):
        interpreter = None if path in found else _probe(path)
        if interpreter is not None:
            found.setdefault(interpreter.path, interpreter)
    return sorted(found.values(), key=lambda interpreter: interpreter.version)


def _candidates(names: Iterable[str]) -> Iterator[Path]:
    """Yield the real files of executables of these names: on PATH, in the system's folders, and our own interpreter.

    Version managers put scripts of their own before the real interpreter. The real file is what a sandbox needs, so
    scripts are passed over and the search goes on behind them.
    """
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    own = Path(sys.executable).resolve()
    for name in names:
        paths = [Path(folder, name) for folder in dict.fromkeys(folders) if folder.startswith("/")]
        if own.name == name:
            paths.append(own)
        for path in paths:
            if os.access(path, os.X_OK) and path.is_file() and not _is_script(path):
                yield path.resolve()


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _probe(real: Path) -> _Interpreter | None:
    """Ask an executable for its version; None if it does not say."""
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed argument list, no shell
            [str(real), "--version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout + answer.stderr)
    return _Interpreter(real, tuple(int(part) for part in match.groups() if part)) if match else None


def _resolve(
    language: Language, row: Mapping[str, Any], present: Sequence[_Interpreter], operator_path: str | None
) -> RuntimeSpec:
    asked = _version(row["version"])
    if operator_path is None:
        chosen, note = _choose(row, asked, present)
    else:
        chosen, note = _ordered(operator_path, language)
    return RuntimeSpec(
        name=row["name"],
        display_name=row["display_name"],
        directory=row["directory"],
        language=language,
        interpreter=chosen.path if chosen else None,
        interpreter_version=chosen.text if chosen else "",
        note=note,
        asked_version=asked,
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _ordered(operator_path: str, language: Language) -> tuple[_Interpreter | None, str]:
    if not operator_path:
        return None, "switched off by the operator"
    path = _program(Path(operator_path), language)
    chosen = _probe(path) if path.is_file() else None
    if chosen is None:
        return None, f"no interpreter at {operator_path}"
    if chosen.version < language.oldest:
        oldest = ".".join(map(str, language.oldest))
        return None, f"{operator_path} is version {chosen.text}; {oldest} is the oldest that works"
    return chosen, f"set by the operator: {operator_path}"


def _program(named: Path, language: Language) -> Path:
    """Return what to start: the real file; but a link beside libraries itself, for they are found by its name."""
    link = named.parent.resolve() / named.name
    has_libraries = language.library_mark and (link.parent.parent / language.library_mark).exists()
    return link if has_libraries else named.resolve()


def _choose(
    row: Mapping[str, Any], asked: tuple[int, ...], present: Sequence[_Interpreter]
) -> tuple[_Interpreter | None, str]:
    for interpreter in present:
        if interpreter.version[: len(asked)] == asked:
            return interpreter, ""
    if row["accept"] != "newer":
        return None, f"only if the operator maps it: --runtime '{row['name']}=<path of an interpreter>'"
    newer = [one for one in present if one.version >= asked and (one.version[0] == asked[0] or row.get("any_major"))]
    older = [one for one in present if one.version < asked and one.version[0] == asked[0]]
    nearest = newer[:1] or older[-1:]
    if not nearest:
        return None, "no interpreter found"
    return nearest[0], f"{nearest[0].text} stands in"
