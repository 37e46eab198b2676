"""`fgs dependency build`: a dependency of packages that pip or npm installs on this machine."""

import base64
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from funclet.cli import archive, building, render, session
from funclet.cli.frame import ExitCode, Failure, note, say
from funclet.cli.session import Session
from funclet.client import Document

DETAILS = (
    "name", "version", "runtime", "size", "owner", "description", "id", "dep_id", "etag", "file_name", "link",
    "is_shared",
)  # fmt: skip
_FILE = click.Path(exists=True, dir_okay=False)
_FOLDER = click.Path(exists=True, file_okay=False)
_RUNTIME = re.compile(r"(Python|Node\.js)(\d+\.\d+)")
_VERSION = re.compile(r"\d+\.\d+")


@session.command(
    "build",
    examples=(
        "fgs dependency build pillow --runtime Python3.10 pillow",
        "fgs dependency build tools --runtime Python3.10 -r requirements.txt --out tools.zip",
        "fgs dependency build tools --runtime Node.js20.15 --package package.json",
    ),
)
@click.argument("name")
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@click.option("--runtime", required=True, help="Runtime of the functions that it is for.")
@click.option("-r", "--requirements", "files", multiple=True, type=_FILE, help="File of packages for pip.")
@click.option("--package", "manifest", type=_FILE, help="The package.json that npm is to install.")
@click.option("--add", type=_FOLDER, help="Folder whose files are put into the archive too.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the archive there, and create nothing.")
@click.option("--interpreter", default="", help="Version to build for, as 3.11; default: what the server runs.")
@click.option("--description", default="", help="Text that says what it is.")
def build(
    talk: Session,
    *,
    name: str,
    packages: Sequence[str],
    runtime: str,
    files: Sequence[str],
    manifest: str | None,
    add: str | None,
    out: str | None,
    interpreter: str,
    description: str,
) -> None:
    """Make a dependency, or the next version of one, of packages that pip or npm installs on this machine.

    What they print is shown on stderr. Nothing is created when they fail.
    """
    _check_name(name, description)
    language = _language_of(runtime)
    _check_sources(language, packages, files, manifest)
    version = _checked(interpreter) if interpreter else _interpreter_of(talk, runtime)
    with tempfile.TemporaryDirectory(prefix="fgs-build-") as work:
        folder = Path(work, "libraries")
        if language == "Python":
            building.python_libraries(folder, version, packages, files, lambda line: note(talk.flags, line))
        else:
            building.node_libraries(folder, packages, manifest, lambda line: note(talk.flags, line))
        if add:
            _add(Path(add), folder)
        data = _packed(name, folder, is_kept=bool(out))
    if out:
        _write(Path(out), data)
        say(f"wrote {out}, {len(data)} bytes, for {language} {version}")
        return
    made = store(talk, {"name": name, "runtime": runtime, "description": description, **content(data)})
    note(talk.flags, f"next: fgs function config set FUNCTION 'depend_version_list=[\"{made['id']}\"]'")


def content(data: bytes) -> dict[str, str]:
    """Return the members of a request that carries an archive."""
    return {"depend_type": "zip", "depend_file": base64.b64encode(data).decode()}


def store(talk: Session, body: dict[str, Any]) -> Document:
    """Create a version, show it, and return what the server answered."""
    answer = talk.client.send("POST", "/fgs/dependencies/version", body)
    found = answer if isinstance(answer, dict) else {}
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=DETAILS)
    else:
        say(f"created {body['name']}@{found['version']} ({found['id']})")
    return found


def _check_name(name: str, description: str) -> None:
    """Refuse, before anything is installed, what the server would refuse in the end.

    Raises:
        Failure: it cannot be a dependency's.
    """
    from funclet.model.dependency import check_dependency  # noqa: PLC0415 - only what is built needs it
    from funclet.model.errors import ModelError  # noqa: PLC0415

    try:
        check_dependency(name, description)
    except ModelError as error:
        raise Failure(f"{error.message[0].upper()}{error.message[1:]}", code=error.code) from error


def _language_of(runtime: str) -> str:
    match = _RUNTIME.fullmatch(runtime)
    if match is None:
        raise Failure(
            f"Nothing can be built for runtime '{runtime}': only for those of Python and Node.js.",
            hint="Make the archive by hand: fgs dependency create NAME archive.zip --runtime RUNTIME",
        )
    return match[1]


def _check_sources(language: str, packages: Sequence[str], files: Sequence[str], manifest: str | None) -> None:
    """Refuse what the package manager would take for something else.

    Raises:
        Failure: nothing is named, something that is of another language, or an option.
    """
    options = [package for package in packages if not package.strip() or package.startswith("-")]
    if options:
        raise Failure(f"'{options[0]}' is no package.", hint="Options of pip belong into a requirements file (-r).")
    if manifest and (language == "Python" or packages):
        raise Failure("--package is for Node.js, and names all packages by itself.", hint="fgs dependency build --help")
    if files and language != "Python":
        raise Failure("-r is for Python.", hint="For Node.js name packages, or --package package.json.")
    if not (packages or files or manifest):
        raise Failure("No package is named.", hint="Name packages, or a file: -r for Python, --package for Node.js.")


def _checked(interpreter: str) -> str:
    if not _VERSION.fullmatch(interpreter):
        raise Failure(f"'{interpreter}' is no version of an interpreter.", hint="Write it like 3.11 or 20.15.")
    return interpreter


def _interpreter_of(talk: Session, runtime: str) -> str:
    """Return the version of the language, such as `3.11`, that runs functions of a runtime on the server."""
    rows = talk.client.send("GET", "/fgs/runtimetypes")
    known = {str(row.get("type")): row for row in rows} if isinstance(rows, list) else {}
    if runtime not in known:
        hint = f"It has: {', '.join(name for name in known if _RUNTIME.fullmatch(name))}."
        raise Failure(f"The server has no runtime '{runtime}'.", hint=hint, exit_code=ExitCode.NOT_FOUND)
    # Compiled libraries must fit the interpreter, which may stand in for another.
    found = _VERSION.search(str(known[runtime].get("interpreter_version") or runtime))
    return found[0] if found else ""


def _add(source: Path, folder: Path) -> None:
    try:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise Failure(f"{source} cannot be copied: {error}", exit_code=ExitCode.PACKAGING) from error


def _packed(name: str, folder: Path, *, is_kept: bool) -> bytes:
    """Return the archive; `is_kept`: as a file, which may be larger, since it comes to the server by link."""
    limit = archive.MAX_LINKED_BYTES if is_kept else archive.MAX_DEPENDENCY_BYTES
    try:
        return archive.pack(folder, max_bytes=limit)
    except Failure as failure:
        raise Failure(
            failure.message.replace(str(folder), f"'{name}'"),
            exit_code=failure.exit_code,
            hint="Build several dependencies; or write it with --out, store it, and create the dependency by link.",
        ) from failure


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}.") from error
