"""Operations on functions and their code, and the shapes of their bodies. Start with `create_function`."""

import base64
import binascii
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from funclet.api.actions import SEE_ACTION
from funclet.api.call import Call
from funclet.api.wire.codec import decode, is_true, json_response, no_content, page
from funclet.api.wire.dependencies import expanded
from funclet.api.wire.downloads import link_to
from funclet.api.wire.function_answers import code_answer, config_answer, list_answer
from funclet.api.wire.function_fields import ConfigFields, Text, read_settings
from funclet.api.wire.guards import NAMES_OF_ROLES, check_agencies, check_object
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion, Settings
from funclet.services.code import IMAGE_CODE_TYPE, IMAGE_RUNTIME, CodeUpload
from funclet.services.functions import CodeChange, ConfigChange, NewFunction
from funclet.store.protocol import FunctionFilter

MAX_PAGE = 400
MAX_INLINE_ANSWER_BYTES = 20 * 1024 * 1024
# Base64 needs a third more than the package; line breaks are let through.
MAX_FILE_TEXT_LENGTH = 72 * 1024 * 1024
# api.md 24.7: a client that leaves out `func_name` drops empty members, so what it leaves out of these is empty.
_REPLACED = (
    "func_vpc",
    "mount_config",
    "user_data",
    "custom_image",
    "initializer_handler",
    "initializer_timeout",
    "xrole",
)
# runtimes.md 1: handlers that need not be said, because there is no choice.
_FIXED_HANDLERS = {"Custom": "bootstrap", "http": "bootstrap", IMAGE_RUNTIME: "-"}


Ids = list[str] | UnsetType | None


class FuncCode(msgspec.Struct):
    """`func_code`."""

    file: str | None = None


class ConfigUpdateFields(ConfigFields):
    """Body of `UpdateFunctionConfig`."""

    depend_version_list: Ids = UNSET
    depend_list: Ids = UNSET


class CodeFields(msgspec.Struct):
    """Body of `UpdateFunctionCode`."""

    code_type: Text = UNSET
    code_url: str | None = None
    code_filename: str | None = None
    func_code: FuncCode | None = None
    depend_version_list: Ids = UNSET
    depend_list: Ids = UNSET
    code_encrypt_kms_key_id: Text = UNSET


class CreateFields(ConfigFields):
    """Body of `CreateFunction`."""

    code_type: str | None = None
    code_url: str | None = None
    code_filename: str | None = None
    func_code: FuncCode | None = None
    depend_version_list: Ids = UNSET
    depend_list: Ids = UNSET


class MaxInstances(msgspec.Struct):
    """Body of `UpdateFunctionMaxInstanceConfig`."""

    max_instance_num: int | None = None


async def create_function(call: Call) -> Response:
    """Create a function."""
    fields = decode(CreateFields, call)
    settings = new_settings(fields)
    code_type = fields.code_type or (IMAGE_CODE_TYPE if settings.runtime == IMAGE_RUNTIME else "")
    new = NewFunction(
        name=_require(fields.func_name, "func_name", "FSS.1002"),
        package=fields.package or "",
        settings=settings,
        upload=_read_upload(_require(code_type, "code_type", "FSS.1006"), fields),
    )
    await check_parts(call, new)
    version = await call.services.functions.create(call.principal, new)
    return await config_response(call, version)


async def check_parts(call: Call, new: NewFunction) -> None:
    """Refuse a caller that may create the function, but not with the agencies or the code that it names.

    Raises:
        ModelError: FSS.0403; FSS.1121 or FSS.1122 where agencies must exist.
    """
    await check_agencies(call, *map(new.settings.echoed.get, NAMES_OF_ROLES))
    await check_object(call, new.upload.url)


def new_settings(fields: CreateFields) -> Settings:
    """Return the settings that the body of a new function names.

    Raises:
        ModelError: the code of the field that is missing or wrong.
    """
    runtime = _require(fields.runtime, "runtime", "FSS.1005")
    acting, echoed = read_settings(fields, runtime)
    if runtime in _FIXED_HANDLERS:
        acting.setdefault("handler", _FIXED_HANDLERS[runtime])
    if runtime == IMAGE_RUNTIME and not (echoed.get("custom_image") or {}).get("image"):
        raise ModelError("FSS.0400", "custom_image.image is missing: the runtime 'Custom Image' needs it.")
    return Settings(
        runtime=runtime,
        handler=_require(acting.pop("handler", None), "handler", "FSS.1003"),
        timeout_s=_require(acting.pop("timeout_s", None), "timeout", "FSS.1008"),
        memory_mib=_require(acting.pop("memory_mib", None), "memory_size", "FSS.1007"),
        dependency_ids=_dependency_ids(fields) or (),
        echoed={name: value for name, value in echoed.items() if value is not None},
        **acting,
    )


async def list_functions(call: Call) -> Response:
    """List the functions of the project."""
    marker, size = page(call, "maxitems", default=MAX_PAGE, maximum=MAX_PAGE)
    wanted = FunctionFilter(
        project_id=call.principal.project.project_id,
        package=call.query.get("package_name", ""),
        name_part=call.query.get("func_name", ""),
        offset=marker,
        limit=size,
    )
    may_see = await call.gate.function_filter(call.request, call.principal, SEE_ACTION)
    versions, count = await call.services.functions.find(wanted, may_see=may_see)
    rows = await expanded(call, *(list_answer(version, call.principal.project) for version in versions))
    return json_response(200, {"functions": rows, "next_marker": marker + len(rows), "count": count})


async def show_function_config(call: Call) -> Response:
    """Show the configuration of a version or of the version that an alias names."""
    version = await call.services.functions.get(call.principal, call.parameters["function_urn"])
    return await config_response(call, version)


async def update_function_config(call: Call) -> Response:
    """Change the configuration of `latest`."""
    fields = decode(ConfigUpdateFields, call)
    urn = call.parameters["function_urn"]
    if fields.func_name is UNSET:
        for name in _REPLACED:
            if getattr(fields, name) is UNSET:
                setattr(fields, name, None)
    runtime = fields.runtime or ""
    if not runtime and (fields.gpu_memory or fields.gpu_type):
        runtime = (await call.services.functions.get(call.principal, urn)).settings.runtime
    acting, echoed = read_settings(fields, runtime)
    await check_agencies(call, *map(echoed.get, NAMES_OF_ROLES))
    dependency_ids = _dependency_ids(fields)
    if dependency_ids is not None:
        acting["dependency_ids"] = dependency_ids
    change = ConfigChange(runtime=runtime, settings=acting, echoed=echoed)
    version = await call.services.functions.update_config(call.principal, urn, change)
    return await config_response(call, version)


async def update_function_max_instance_config(call: Call) -> Response:
    """Change how many instances a function may have."""
    fields = decode(MaxInstances, call)
    if fields.max_instance_num is None:
        raise ModelError("FSS.1026", "max_instance_num is missing: -1 (no limit), 0 (disabled) or 1 to 1000.")
    change = ConfigChange(settings={"max_instances": fields.max_instance_num})
    version = await call.services.functions.update_config(call.principal, call.parameters["function_urn"], change)
    return await config_response(call, version)


async def show_function_code(call: Call) -> Response:
    """Show the code of a version: the package itself when it is small, and a link to it."""
    version = await call.services.functions.get(call.principal, call.parameters["function_urn"])
    code = version.code
    file = ""
    if code.code_type == "inline" and code.digest and code.size <= MAX_INLINE_ANSWER_BYTES:
        file = base64.b64encode(await call.services.functions.read_code(code.digest)).decode()
    answer = code_answer(version, call.principal.project, file=file, link=link_to(call, version.code.digest))
    return json_response(200, *await expanded(call, answer))


async def update_function_code(call: Call) -> Response:
    """Give `latest` other code or dependencies."""
    fields = decode(CodeFields, call)
    code_type = _require(fields.code_type, "code_type", "FSS.1006")
    change = CodeChange(
        upload=_read_upload(code_type, fields),
        dependency_ids=_dependency_ids(fields),
        echoed={}
        if fields.code_encrypt_kms_key_id is UNSET
        else {"code_encrypt_kms_key_id": fields.code_encrypt_kms_key_id or None},
    )
    await check_object(call, change.upload.url)
    version = await call.services.functions.update_code(call.principal, call.parameters["function_urn"], change)
    sent = (fields.func_code.file if fields.func_code else "") or ""
    answer = code_answer(
        version,
        call.principal.project,
        file=sent if version.code.size <= MAX_INLINE_ANSWER_BYTES else "",
        link=link_to(call, version.code.digest),
    )
    return json_response(200, *await expanded(call, answer | _runtime_warning(call, version)))


async def delete_function(call: Call) -> Response:
    """Delete a function or one of its versions."""
    await call.services.functions.delete(call.principal, call.parameters["function_urn"])
    return no_content()


async def update_function_collect_state(call: Call) -> Response:
    """Pin a function, or take the pin away."""
    state = call.parameters["state"]
    if state.lower() not in ("true", "false"):
        raise ModelError("FSS.0400", f"state '{state[:40]}' is invalid: true or false.")
    await call.services.functions.pin(call.principal, call.parameters["func_urn"], is_pinned=is_true(state))
    return Response(status=200)


async def list_runtime_types(call: Call) -> Response:
    """List the runtimes; beyond the vendor's members, which interpreter of this host runs each of them."""
    return json_response(
        200,
        [
            {
                "type": runtime.name,
                "display_name": runtime.display_name,
                "is_runnable": runtime.is_runnable,
                "interpreter": str(runtime.interpreter or ""),
                "interpreter_version": runtime.interpreter_version,
                "note": runtime.note,
            }
            for runtime in call.services.functions.runtimes()
        ],
    )


async def config_response(call: Call, version: FunctionVersion) -> Response:
    """Return the full configuration of a version as an answer."""
    answer = config_answer(version, call.principal.project) | _runtime_warning(call, version)
    # Not in processes and tests that keep nothing ready.
    policy = await call.services.reserved.of_version(version) if call.services.reserved is not None else None
    if policy is not None:
        answer |= {"reserved_instance_count": policy.count, "reserved_instance_idle_mode": policy.is_idle_mode}
    return json_response(200, *await expanded(call, answer))


def _runtime_warning(call: Call, version: FunctionVersion) -> dict[str, str]:
    """Return what to tell of a function whose runtime is in the catalogue, but not on this host; empty otherwise."""
    name = version.settings.runtime
    runtime = next((one for one in call.services.functions.runtimes() if one.name == name), None)
    if runtime is None or runtime.is_runnable:
        return {}
    why = f" ({runtime.note})" if runtime.note else ""
    return {"runtime_warning": f"The runtime {name} is not installed on this server{why}: invocations will fail."}


def _require(value: Any, name: str, code: str) -> Any:
    if value is UNSET or value is None or value == "":
        raise ModelError(code, f"{name} is missing.")
    return value


def _dependency_ids(fields: CreateFields | CodeFields | ConfigUpdateFields) -> tuple[str, ...] | None:
    """Return the dependencies that a body names, older clients by `depend_list`; None if it does not speak of them."""
    found = fields.depend_list if fields.depend_version_list is UNSET else fields.depend_version_list
    return None if found is UNSET else tuple(found or ())


def _read_upload(code_type: str, fields: CodeFields | CreateFields) -> CodeUpload:
    text = (fields.func_code.file if fields.func_code else "") or ""
    return CodeUpload(
        code_type=code_type,
        content=b"" if code_type in ("obs", IMAGE_CODE_TYPE) else _decoded(text),
        filename=fields.code_filename or "",
        url=(fields.code_url or "") if code_type == "obs" else "",
    )


def _decoded(text: str) -> bytes:
    if len(text) > MAX_FILE_TEXT_LENGTH:
        raise ModelError("FSS.1071", "The code package is larger than 50 MB; give a code_url instead.")
    try:
        # Some encoders break lines.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError("FSS.1011", f"func_code.file is not base64: {error}.") from error
