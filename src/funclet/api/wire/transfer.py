"""Export and import of functions, and what stands in their YAML files. Start with `export_function`.

The YAML file says what the vendor's does; settings that have no name there
stand under `Configuration`, by the names that they have in the API.
"""

import asyncio
import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from funclet.api.actions import IMPORT_ACTION
from funclet.api.call import Call
from funclet.api.wire.codec import decode, explain
from funclet.api.wire.dependencies import expanded
from funclet.api.wire.function_answers import NOT_SET, config_answer
from funclet.api.wire.function_fields import ConfigFields
from funclet.api.wire.functions import CreateFields, check_parts, config_response, new_settings
from funclet.api.wire.guards import check_settings
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion, parse_variables
from funclet.model.urn import DEFAULT_PACKAGE
from funclet.services import bundle
from funclet.services.code import IMAGE_CODE_TYPE, IMAGE_RUNTIME, CodeUpload
from funclet.services.functions import NewFunction

# What has a name of its own in the YAML file, or belongs to the place where the function is.
_NAMED = {
    "func_name",
    "package",
    "runtime",
    "handler",
    "timeout",
    "memory_size",
    "description",
    "strategy_config",
}
_DEFAULT_STRATEGY = {"concurrency": 400, "concurrent_num": 1}


class Environment(msgspec.Struct):
    """`Environment` of a function in the YAML file."""

    variables: dict[str, Any] | None = msgspec.field(name="Variables", default=None)


class Properties(msgspec.Struct):
    """`Properties` of a function in the YAML file."""

    runtime: str = msgspec.field(name="Runtime")
    handler: str = msgspec.field(name="Handler", default="")
    code_type: str = msgspec.field(name="CodeType", default="zip")
    dependencies: Any = msgspec.field(name="DependencyPkg", default=None)
    description: str | None = msgspec.field(name="Description", default="")
    memory_size: int = msgspec.field(name="MemorySize", default=128)
    timeout: int = msgspec.field(name="Timeout", default=3)
    environment: Environment | None = msgspec.field(name="Environment", default=None)
    configuration: dict[str, Any] | None = msgspec.field(name="Configuration", default=None)


class ImportFields(msgspec.Struct):
    """Body of `ImportFunction`."""

    func_name: str | None = None
    file_name: str | None = None
    file_type: str | None = None
    file_code: str | None = None
    package: str | None = None


async def export_function(call: Call) -> Response:
    """Send the code of a version, its configuration, or both."""
    wants_code, wants_config = _wanted(call.query)
    functions = call.services.functions
    version = await functions.get(call.principal, call.parameters["function_urn"])
    code = b""
    if version.code.digest:
        if wants_code and version.code.size > functions.archive_bytes:
            raise ModelError("FSS.1071", f"The code is larger than an export may be ({functions.archive_bytes} bytes).")
        code = await functions.read_code(version.code.digest)
    elif not wants_config:
        raise ModelError("FSS.1012", "The function is an image and has no code; export its configuration.")
    data = code
    if wants_config:
        has_code = wants_code and bool(code)
        properties = _properties((await expanded(call, config_answer(version, call.principal.project)))[0], version)
        if has_code:
            properties["CodeFileName"] = f"{version.name}.{'jar' if version.code.code_type == 'jar' else 'zip'}"
        exported = bundle.Bundle(name=version.name, properties=properties, code=code if has_code else None)
        data = await asyncio.to_thread(bundle.pack, exported)
    etag = hashlib.md5(code, usedforsecurity=False).hexdigest()
    headers = {"Content-Disposition": f'attachment; filename="{version.name}+{etag}.zip"', "Cache-Control": "no-store"}
    return Response(status=200, body=data, content_type="application/zip", headers=headers)


async def import_function(call: Call) -> Response:
    """Create a function from an archive that `export_function` or the vendor's service has made."""
    fields = decode(ImportFields, call)
    if not fields.func_name:
        raise ModelError("FSS.1002", "func_name is missing.")
    if not fields.file_name:
        raise ModelError("FSS.0400", "file_name is missing.")
    if fields.file_type != "zip":
        raise ModelError("FSS.1013", f"file_type '{(fields.file_type or '')[:40]}' is invalid: only 'zip' is possible.")
    max_bytes = call.services.functions.archive_bytes
    data = await asyncio.to_thread(_decoded, fields.file_code or "", max_bytes)
    found = await asyncio.to_thread(bundle.unpack, data, fields.func_name, max_code_bytes=max_bytes)
    properties = _read_properties(found.properties)
    new = NewFunction(
        name=fields.func_name,
        package=fields.package or "",
        settings=new_settings(_create_fields(properties)),
        upload=_upload(properties, found.code),
    )
    place = (new.package or DEFAULT_PACKAGE, new.name)
    check_settings(call, IMPORT_ACTION, place, runtime=new.settings.runtime, echoed=new.settings.echoed)
    await check_parts(call, new)
    version = await call.services.functions.create(call.principal, new)
    return await config_response(call, version)


def _wanted(query: Mapping[str, str]) -> tuple[bool, bool]:
    """Return whether the code and whether the configuration is wanted."""
    kind = query.get("type", "")
    flags = [_flag(query, name) for name in ("code", "config")]
    if kind and ("code" in query or "config" in query):
        raise ModelError("FSS.0400", "Give either type, or code and config, but not both forms.")
    if kind and kind not in ("code", "config"):
        raise ModelError("FSS.0400", f"type '{kind[:40]}' is invalid: 'code' or 'config'.")
    wants_code, wants_config = kind == "code" or flags[0], kind == "config" or flags[1]
    if not wants_code and not wants_config:
        raise ModelError("FSS.0400", "Say what to export: type=code, type=config, or code=true and config=true.")
    return wants_code, wants_config


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise ModelError("FSS.0400", f"{name} '{text[:40]}' is invalid: true or false.")
    return text == "true"


def _properties(answer: Mapping[str, Any], version: FunctionVersion) -> dict[str, Any]:
    """Return the properties of a function in the order of the vendor's files, from the answer about it."""
    dependencies = {one["id"]: {"Name": one["name"], "Version": one["version"]} for one in answer["dependencies"]}
    code_type = version.code.code_type
    return {
        "Handler": answer["handler"],
        "Runtime": answer["runtime"],
        # Where it was fetched from may be out of reach where it is imported.
        "CodeType": "zip" if code_type == "obs" else code_type,
        "DependencyPkg": dependencies,
        "Description": answer["description"],
        "MemorySize": answer["memory_size"],
        "Timeout": answer["timeout"],
        "Version": version.version,
        "Environment": {"Variables": parse_variables("user_data", version.settings.user_data)},
        "Configuration": _configuration(answer),
    }


def _configuration(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were set and have no name of their own in the YAML file. Secrets are blank."""
    found = {
        name: answer[name]
        for name in (*ConfigFields.__struct_fields__, "code_filename")
        if name not in _NAMED and answer.get(name) not in (None, "", {}, []) and answer[name] != _unset(name)
    }
    if answer["strategy_config"] != _DEFAULT_STRATEGY:
        found["strategy_config"] = dict(answer["strategy_config"])
    return found


def _unset(name: str) -> Any:
    return {"ephemeral_storage": 512, "enable_dynamic_memory": False, "enable_fresh_state": False, **NOT_SET}.get(name)


def _read_properties(found: Mapping[str, Any]) -> Properties:
    try:
        return msgspec.convert(dict(found), Properties)
    except msgspec.ValidationError as error:
        raise ModelError("FSS.1025", f"The YAML file of the archive is invalid: {explain(str(error))}") from error


def _create_fields(properties: Properties) -> CreateFields:
    members = {
        **(properties.configuration or {}),
        "runtime": properties.runtime,
        "timeout": properties.timeout,
        "memory_size": properties.memory_size,
        "description": properties.description or "",
        "depend_version_list": _dependency_ids(properties.dependencies),
    }
    # Some runtimes have no handler to name.
    members |= {"handler": properties.handler} if properties.handler else {}
    given = (properties.environment.variables if properties.environment else None) or {}
    variables = {key: _text(value) for key, value in given.items()}
    members["user_data"] = _same_text(members.get("user_data"), variables)
    try:
        return msgspec.convert(members, CreateFields)
    except msgspec.ValidationError as error:
        raise ModelError("FSS.1025", f"The YAML file of the archive is invalid: {explain(str(error))}") from error


def _dependency_ids(given: Any) -> list[str]:
    if not given:
        return []
    if not isinstance(given, dict) or not all(isinstance(one, str) for one in given):
        raise ModelError("FSS.1025", "DependencyPkg of the YAML file must be a mapping by ids of dependency versions.")
    return list(given)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ModelError("FSS.1025", "A variable in the YAML file has no text for its value.")


def _same_text(text: Any, variables: Mapping[str, str]) -> str:
    """Return the JSON text of variables; `text`, as it once was sent, as long as it still says the same."""
    try:
        if isinstance(text, str) and parse_variables("user_data", text) == variables:
            return text
    except ModelError:
        pass
    return json.dumps(variables, ensure_ascii=False) if variables else ""


def _upload(properties: Properties, code: bytes | None) -> CodeUpload:
    if properties.runtime == IMAGE_RUNTIME:
        return CodeUpload(code_type=IMAGE_CODE_TYPE)
    code_type = properties.code_type if properties.code_type in ("inline", "zip", "jar") else "zip"
    filename = (properties.configuration or {}).get("code_filename") or ""
    return CodeUpload(code_type=code_type, content=code or b"", filename=str(filename))


def _decoded(text: str, max_bytes: int) -> bytes:
    if not text:
        raise ModelError("FSS.1012", "file_code is missing: the archive in base64.")
    try:
        # Some encoders break lines.
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("FSS.1011", f"file_code is not base64: {error}.") from error
    if len(data) > max_bytes:
        raise ModelError("FSS.1023", f"The archive is larger than an import may be ({max_bytes} bytes).")
    return data
