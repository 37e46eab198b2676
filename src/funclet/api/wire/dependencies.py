"""Operations on dependencies, and the shapes of their bodies. Start with `create_dependency_version`."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire.codec import decode, is_true, json_response, no_content, page
from funclet.api.wire.downloads import link_to
from funclet.api.wire.guards import check_object
from funclet.base.http import Response
from funclet.model.dependency import DEPENDENCY_TYPES, DependencyVersion
from funclet.model.errors import ModelError
from funclet.services.dependencies import DependencyUpload
from funclet.store.dependencies import DependencyFilter

MAX_PAGE = 400
# Base64 needs a third more than the 40 MB of an archive; line breaks are let through.
MAX_FILE_TEXT_LENGTH = 58 * 1024 * 1024
MAX_NUMBER_LENGTH = 9
PUBLIC_OWNER = "public"


class DependencyFields(msgspec.Struct):
    """Body of `CreateDependencyVersion`, `CreateDependency` and `UpdateDependency`."""

    name: str | None = None
    runtime: str | None = None
    depend_type: str | None = None
    depend_file: str | None = None
    depend_link: str | None = None
    description: str | None = None


class ShareFields(msgspec.Struct):
    """Body of `ShareDependency`."""

    is_public: bool


async def create_dependency_version(call: Call) -> Response:
    """Create a dependency, or the next version of one; also by the older name `CreateDependency`."""
    upload = _read_upload(decode(DependencyFields, call))
    await check_object(call, upload.link)
    version = await call.services.dependencies.create(call.principal, upload)
    return json_response(200, dependency_answer(call, version))


async def list_dependencies(call: Call) -> Response:
    """List the dependencies that the project can use, each with its newest version."""
    size_name = "maxitems" if call.query.get("maxitems") else "limit"
    marker, size = page(call, size_name, default=MAX_PAGE, maximum=MAX_PAGE)
    has_own, has_public = _wanted_kinds(call.query)
    wanted = DependencyFilter(
        project_id=call.principal.project.project_id,
        has_own=has_own,
        has_public=has_public,
        runtime=call.query.get("runtime", ""),
        name_part=call.query.get("name", ""),
        offset=marker,
        limit=size,
    )
    versions, count = await call.services.dependencies.find(wanted)
    rows = [{**dependency_answer(call, version), "id": version.dependency_id} for version in versions]
    return json_response(200, {"dependencies": rows, "next_marker": marker + len(rows), "count": count})


async def list_dependency_version(call: Call) -> Response:
    """List the versions of a dependency, the newest first."""
    marker, size = page(call, "maxitems", default=MAX_PAGE, maximum=MAX_PAGE)
    versions = await call.services.dependencies.versions(call.principal, call.parameters["depend_id"])
    shown = versions[marker : marker + size]
    rows = [{**dependency_answer(call, version), "is_shared": version.is_public} for version in shown]
    return json_response(200, {"dependencies": rows, "next_marker": marker + len(rows), "count": len(versions)})


async def show_dependency_version(call: Call) -> Response:
    """Show one version of a dependency, with a link to its archive."""
    parameters = call.parameters
    version = await call.services.dependencies.get_version(
        call.principal, parameters["depend_id"], _read_number(parameters["version"])
    )
    return json_response(200, _shown(call, version))


async def show_dependency(call: Call) -> Response:
    """Show the version that an id names, or the newest of the dependency that it names."""
    version = await call.services.dependencies.get(call.principal, call.parameters["depend_id"])
    return json_response(200, _shown(call, version))


async def update_dependency(call: Call) -> Response:
    """Change a version in place."""
    upload = _read_upload(decode(DependencyFields, call))
    await check_object(call, upload.link)
    version = await call.services.dependencies.update(call.principal, call.parameters["depend_id"], upload)
    return json_response(200, _shown(call, version))


async def delete_dependency(call: Call) -> Response:
    """Delete the version that an id names, or the whole dependency that it names."""
    await call.services.dependencies.delete(call.principal, call.parameters["depend_id"])
    return no_content()


async def delete_dependency_version(call: Call) -> Response:
    """Delete one version of a dependency."""
    parameters = call.parameters
    await call.services.dependencies.delete_version(
        call.principal, parameters["depend_id"], _read_number(parameters["version"])
    )
    return no_content()


async def share_dependency(call: Call) -> Response:
    """Show a dependency to all projects of this server, or to its own only."""
    fields = decode(ShareFields, call)
    version = await call.services.dependencies.share(
        call.principal, call.parameters["depend_id"], is_public=fields.is_public
    )
    return json_response(200, _shown(call, version))


def dependency_answer(call: Call, version: DependencyVersion) -> dict[str, Any]:
    """Return a version as answers and configurations of functions show it."""
    project = call.principal.project
    is_own = version.project_id == project.project_id and not version.is_public
    return {
        "id": version.version_id,
        "dep_id": version.dependency_id,
        "owner": project.domain_id if is_own else PUBLIC_OWNER,
        "link": version.link or link_to(call, version.digest),
        "runtime": version.runtime,
        "etag": version.etag,
        "size": version.size,
        "name": version.name,
        "description": version.description,
        "file_name": version.filename,
        "version": version.number,
        "last_modified": int(version.modified_at),
    }


async def expanded(call: Call, *answers: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return answers about functions with the dependencies that their `depend_version_list` names."""
    ids = {version_id for answer in answers for version_id in answer["depend_version_list"]}
    found = await call.services.dependencies.get_all(tuple(ids))
    known = {version.version_id: dependency_answer(call, version) for version in found}
    for answer in answers:
        answer["dependencies"] = [known[one] for one in answer["depend_version_list"] if one in known]
    return answers


def _shown(call: Call, version: DependencyVersion) -> dict[str, Any]:
    return {
        **dependency_answer(call, version),
        "download_link": link_to(call, version.digest),
        "is_shared": version.is_public,
    }


def _wanted_kinds(query: Mapping[str, str]) -> tuple[bool, bool]:
    """Return whether own and whether public dependencies are wanted."""
    kind = query.get("dependency_type", "")
    if not kind and query.get("ispublic"):
        kind = "public" if is_true(query["ispublic"]) else "private"
    if kind not in ("", "all", "public", "private"):
        raise ModelError("FSS.1001", f"dependency_type '{kind[:40]}' is invalid: 'public', 'private' or 'all'.")
    return kind != "public", kind != "private"


def _read_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER_LENGTH):
        raise ModelError("FSS.0400", f"version '{text[:40]}' is invalid: the number of a version.")
    return int(text)


def _read_upload(fields: DependencyFields) -> DependencyUpload:
    if not fields.depend_type:
        raise ModelError("FSS.1032", f"depend_type is missing: one of {', '.join(DEPENDENCY_TYPES)}.")
    if not fields.runtime:
        raise ModelError("FSS.1005", "runtime is missing.")
    if not fields.name:
        raise ModelError("FSS.1024", "name is missing.")
    is_linked = fields.depend_type == "obs"
    return DependencyUpload(
        name=fields.name,
        runtime=fields.runtime,
        description=fields.description or "",
        dependency_type=fields.depend_type,
        content=b"" if is_linked else _decoded(fields.depend_file or ""),
        link=(fields.depend_link or "") if is_linked else "",
    )


def _decoded(text: str) -> bytes:
    if len(text) > MAX_FILE_TEXT_LENGTH:
        raise ModelError("FSS.1071", "The dependency is larger than 40 MB; give a depend_link instead.")
    try:
        # Some encoders break lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("FSS.1024", f"depend_file is not base64: {error}.") from error
