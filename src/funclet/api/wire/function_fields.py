"""Settings as clients send them: the shapes, their checks, and the way into the model. Start with `read_settings`.

A member that is absent stays as it is, an explicit null or an empty value
clears it: one client always sends empty texts and zeros for what is not set.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from funclet.model.errors import ModelError
from funclet.model.function import (
    DEFAULT_INITIALIZER_TIMEOUT_S,
    DEFAULT_MAX_INSTANCES,
    DEFAULT_TMP_MIB,
    MAX_HANDLER_LENGTH,
)
from funclet.model.inventory import MAX_ZONES, MOUNT_TYPES, check_mount_path

Text = str | UnsetType | None
Number = int | UnsetType | None
Flag = bool | UnsetType | None

MAX_MOUNTS = 5
MAX_LTS_TAGS = 10
MAX_NAME_LENGTH, MAX_LIST_LENGTH = 256, 100
MAX_PEERING_CIDRS = 5
MAX_IMAGE_TEXT_LENGTH = 5120
# Escapes can make the JSON text longer than the 4096 characters that the variables may have.
MAX_VARIABLES_TEXT_LENGTH = 65_536
MAX_USER_ID = 65_534
MAX_GPU_MIB, GPU_STEP_MIB = 16_384, 1024
MAX_RESTORE_TIMEOUT_S = 300
_REFUSED_USER_IDS = (0, 1000, 1002)
_OPAQUE_TEXTS = ("extend_config", "tags")
_LTS_TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IMAGE_USER = "1003"
_GPU_RUNTIMES, _GPU_TYPES = ("Custom", "Custom Image"), ("nvidia-t4",)


class FuncVpc(msgspec.Struct, omit_defaults=True):
    """`func_vpc`."""

    vpc_id: str = ""
    subnet_id: str = ""
    domain_id: Text = UNSET
    namespace: Text = UNSET
    vpc_name: Text = UNSET
    subnet_name: Text = UNSET
    cidr: Text = UNSET
    gateway: Text = UNSET
    security_groups: list[str] | UnsetType | None = UNSET
    is_safety: Flag = UNSET


class MountUser(msgspec.Struct):
    """`mount_user`, by the names of the documents and by those of one client."""

    user_id: Number = UNSET
    user_group_id: Number = UNSET
    mount_user_id: Number = UNSET
    mount_user_group_id: Number = UNSET


class FuncMount(msgspec.Struct):
    """One entry of `func_mounts`."""

    mount_type: str = ""
    mount_resource: str = ""
    local_mount_path: str = ""
    mount_share_path: Text = UNSET


class MountConfig(msgspec.Struct):
    """`mount_config`."""

    mount_user: MountUser | None = None
    func_mounts: list[FuncMount] | None = None


class CustomImage(msgspec.Struct):
    """`custom_image`."""

    enabled: Flag = UNSET
    image: Text = UNSET
    command: Text = UNSET
    args: Text = UNSET
    working_dir: Text = UNSET
    uid: Text = UNSET
    gid: Text = UNSET
    is_public: Flag = UNSET


class LogConfig(msgspec.Struct):
    """`log_config`."""

    group_name: Text = UNSET
    group_id: Text = UNSET
    stream_name: Text = UNSET
    stream_id: Text = UNSET


class AccessVpc(msgspec.Struct):
    """One entry of `trigger_access_vpcs`."""

    vpc_name: Text = UNSET
    vpc_id: Text = UNSET


class NetworkController(msgspec.Struct):
    """`network_controller`."""

    disable_public_network: Flag = UNSET
    trigger_access_vpcs: list[AccessVpc] | UnsetType | None = UNSET


class StrategyConfig(msgspec.Struct):
    """`strategy_config`."""

    concurrency: int | None = None
    concurrent_num: int | None = None


class ConfigFields(msgspec.Struct):
    """The settings that both create and update take."""

    func_name: Text = UNSET
    package: Text = UNSET
    runtime: Text = UNSET
    timeout: Number = UNSET
    handler: Text = UNSET
    memory_size: Number = UNSET
    description: Text = UNSET
    user_data: Text = UNSET
    encrypted_user_data: Text = UNSET
    initializer_handler: Text = UNSET
    initializer_timeout: Number = UNSET
    pre_stop_handler: Text = UNSET
    pre_stop_timeout: Number = UNSET
    ephemeral_storage: Number = UNSET
    enable_dynamic_memory: Flag = UNSET
    enable_fresh_state: Flag = UNSET
    strategy_config: StrategyConfig | UnsetType | None = UNSET
    network_controller: NetworkController | UnsetType | None = UNSET
    func_vpc: FuncVpc | UnsetType | None = UNSET
    mount_config: MountConfig | UnsetType | None = UNSET
    custom_image: CustomImage | UnsetType | None = UNSET
    log_config: LogConfig | UnsetType | None = UNSET
    lts_custom_tag: dict[str, str] | UnsetType | None = UNSET
    gpu_memory: Number = UNSET
    gpu_type: Text = UNSET
    xrole: Text = UNSET
    app_xrole: Text = UNSET
    extend_config: Text = UNSET
    enterprise_project_id: Text = UNSET
    type: Text = UNSET
    peering_cidr: Text = UNSET
    domain_names: Text = UNSET
    heartbeat_handler: Text = UNSET
    restore_hook_handler: Text = UNSET
    restore_hook_timeout: Number = UNSET
    enable_class_isolation: Flag = UNSET
    enable_auth_in_header: Flag = UNSET
    enable_lts_log: Flag = UNSET
    is_stateful_function: Flag = UNSET
    user_data_encrypt_kms_key_id: Text = UNSET
    code_encrypt_kms_key_id: Text = UNSET
    tags: Text = UNSET


# Wire name -> field of `Settings`, and what null or an empty value makes of it. `None`: it stays as it is.
_ACTING: Mapping[str, tuple[str, Any]] = {
    "timeout": ("timeout_s", None),
    "memory_size": ("memory_mib", None),
    "handler": ("handler", None),
    "description": ("description", ""),
    "user_data": ("user_data", ""),
    "encrypted_user_data": ("encrypted_user_data", ""),
    "initializer_handler": ("initializer_handler", ""),
    "initializer_timeout": ("initializer_timeout_s", DEFAULT_INITIALIZER_TIMEOUT_S),
    "pre_stop_handler": ("pre_stop_handler", ""),
    "pre_stop_timeout": ("pre_stop_timeout_s", 0),
    "ephemeral_storage": ("tmp_mib", DEFAULT_TMP_MIB),
    "enable_dynamic_memory": ("dynamic_memory", False),
    "enable_fresh_state": ("fresh_state", False),
}

ECHOED_TEXTS = (
    "xrole",
    "app_xrole",
    "extend_config",
    "enterprise_project_id",
    "user_data_encrypt_kms_key_id",
    "code_encrypt_kms_key_id",
    "tags",
)
ECHOED_FLAGS = ("enable_class_isolation", "enable_auth_in_header", "is_stateful_function")


def read_settings(fields: ConfigFields, runtime: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that a body names: fields of `Settings`, and members to be echoed (None: cleared).

    Args:
        fields: the body.
        runtime: the runtime of the function; empty if it is not known, then rules that depend on it do not hold.

    Raises:
        ModelError: the code of the field that is wrong.
    """
    for name in ("user_data", "encrypted_user_data"):
        if len(getattr(fields, name) or "") > MAX_VARIABLES_TEXT_LENGTH:
            raise ModelError("FSS.1018", f"{name} is longer than {MAX_VARIABLES_TEXT_LENGTH} characters.")
    acting = _read_acting(fields)
    echoed: dict[str, Any] = {}
    for name in ECHOED_TEXTS:
        _put(echoed, name, _checked_length(name, getattr(fields, name)))
    for name in ECHOED_FLAGS:
        value = getattr(fields, name)
        if value is not UNSET:
            echoed[name] = value
    for name, check in _CHECKS.items():
        value = getattr(fields, name)
        if value is not UNSET:
            echoed[name] = (check(value) or None) if value else None
    _put(echoed, "gpu_memory", _checked_gpu(fields.gpu_memory, runtime))
    _put(echoed, "gpu_type", _checked_gpu_type(fields.gpu_type, runtime))
    _put(echoed, "heartbeat_handler", _checked_heartbeat(fields, runtime))
    if fields.network_controller is not UNSET:
        echoed["network_controller"] = _checked_controller(fields.network_controller)
    return acting, echoed


def _read_acting(fields: ConfigFields) -> dict[str, Any]:
    acting: dict[str, Any] = {}
    for name, (setting, cleared) in _ACTING.items():
        value = getattr(fields, name)
        # A timeout or memory size of zero is not "not set" but wrong, and must reach the check.
        if value is None or value == "" or (value == 0 and cleared is not None):
            value = cleared
        if value is not UNSET and value is not None:
            acting[setting] = value
    if fields.strategy_config is None:
        acting |= {"max_instances": DEFAULT_MAX_INSTANCES, "concurrent_num": 1}
    elif fields.strategy_config is not UNSET:
        strategy = fields.strategy_config
        if strategy.concurrency is not None:
            acting["max_instances"] = strategy.concurrency
        if strategy.concurrent_num:
            acting["concurrent_num"] = strategy.concurrent_num
    if fields.enable_lts_log is not UNSET:
        acting["log_switch"] = fields.enable_lts_log
    if fields.network_controller is not UNSET:
        controller = fields.network_controller
        acting["public_network"] = controller is None or controller.disable_public_network is not True
    return acting


def _put(echoed: dict[str, Any], name: str, value: Any) -> None:
    if value is not UNSET:
        echoed[name] = value or None


def _checked_length(name: str, value: Text) -> Text:
    """Names and ids of other things have a limit; opaque texts have only that of all settings together."""
    if isinstance(value, str) and name not in _OPAQUE_TEXTS and len(value) > MAX_NAME_LENGTH:
        raise ModelError("FSS.0400", f"{name} is longer than {MAX_NAME_LENGTH} characters.")
    return value


def _checked_members(name: str, value: Any) -> Any:
    """Return an object of names and ids; lists among them have a limit as well."""
    members = msgspec.to_builtins(value)
    for member, content in members.items():
        items = content if isinstance(content, list) else [content]
        if len(items) > MAX_LIST_LENGTH:
            raise ModelError("FSS.0400", f"{name}.{member} has more than {MAX_LIST_LENGTH} entries.")
        for item in items:
            for text in item.values() if isinstance(item, dict) else (item,):
                _checked_length(f"{name}.{member}", text)
    return members


def _checked_controller(value: NetworkController | None) -> Any:
    return _checked_members("network_controller", value) if value is not None else None


def _checked_log_config(value: LogConfig) -> Any:
    return _checked_members("log_config", value)


def _checked_gpu(value: Number, runtime: str) -> Number:
    if value is UNSET or not value:
        return value
    if runtime and runtime not in _GPU_RUNTIMES:
        raise ModelError("FSS.1007", f"gpu_memory is for the runtimes {' and '.join(_GPU_RUNTIMES)} only.")
    if not GPU_STEP_MIB <= value <= MAX_GPU_MIB or value % GPU_STEP_MIB:
        raise ModelError("FSS.1007", f"gpu_memory {value} is invalid: a multiple of 1024 from 1024 to 16384 (MB).")
    return value


def _checked_gpu_type(value: Text, runtime: str) -> Text:
    if value is UNSET or not value:
        return value
    if runtime and runtime not in _GPU_RUNTIMES:
        raise ModelError("FSS.1007", f"gpu_type is for the runtimes {' and '.join(_GPU_RUNTIMES)} only.")
    if value not in _GPU_TYPES:
        raise ModelError("FSS.1007", f"gpu_type '{value[:40]}' is unknown: {', '.join(_GPU_TYPES)}.")
    return value


def _checked_heartbeat(fields: ConfigFields, runtime: str) -> Text:
    """The heartbeat is a method of the class that the handler is in, where the handler is known."""
    value = fields.heartbeat_handler
    if value is UNSET or not value:
        return value
    _checked_method("heartbeat_handler", value)
    handler = fields.handler
    of_java = runtime.startswith("Java") and isinstance(handler, str) and handler
    if of_java and str(handler).rpartition(".")[0] != value.rpartition(".")[0]:
        raise ModelError("FSS.0400", "heartbeat_handler must be in the same class as the handler.")
    return value


def _checked_method(name: str, value: str) -> str:
    if len(value) > MAX_HANDLER_LENGTH or "." not in value.strip(".") or not value.isprintable():
        raise ModelError(
            "FSS.0400",
            f"{name} '{value[:140]}' is invalid: at most {MAX_HANDLER_LENGTH} characters such as 'com.Class.method'.",
        )
    return value


def _checked_restore_hook(value: str) -> str:
    return _checked_method("restore_hook_handler", value)


def _checked_zones(text: str) -> str:
    """Private names: the text of a JSON list of objects with the names of zones."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("FSS.0400", f"domain_names is not JSON: {error}.") from error
    is_sound = isinstance(rows, list) and all(
        isinstance(row, dict) and isinstance(row.get("domain_name", ""), str) for row in rows
    )
    if not is_sound or len(rows) > MAX_ZONES:
        raise ModelError(
            "FSS.0400",
            f"domain_names must be the text of a JSON list of at most {MAX_ZONES} objects with id and domain_name.",
        )
    return text


def _checked_type(value: str) -> str:
    if value not in ("v1", "v2"):
        raise ModelError("FSS.0400", f"type '{value[:40]}' is invalid: v1 or v2.")
    return value


def _checked_vpc(vpc: FuncVpc) -> Any:
    if not vpc.vpc_id or not vpc.subnet_id:
        raise ModelError("FSS.0400", "func_vpc needs vpc_id and subnet_id.")
    return _checked_members("func_vpc", vpc)


def _checked_mounts(config: MountConfig) -> Any:
    mounts = config.func_mounts or []
    if len(mounts) > MAX_MOUNTS:
        raise ModelError("FSS.1049", f"mount_config.func_mounts has {len(mounts)} entries; {MAX_MOUNTS} are allowed.")
    if not mounts:
        return None
    paths = [check_mount_path(mount.local_mount_path) for mount in mounts]
    if len(set(paths)) < len(paths):
        raise ModelError("FSS.1039", "Two mounts have the same local_mount_path.")
    if any(other.startswith(f"{path}/") for path in paths for other in paths):
        raise ModelError("FSS.1039", "A local_mount_path lies in that of another mount.")
    for mount in mounts:
        if mount.mount_type not in MOUNT_TYPES:
            raise ModelError("FSS.0400", f"mount_type '{mount.mount_type[:40]}' is invalid: sfs, sfsTurbo or ecs.")
        _checked_length("mount_resource", mount.mount_resource)
        _checked_length("mount_share_path", mount.mount_share_path)
        if not mount.mount_resource or (mount.mount_type == "ecs" and not mount.mount_share_path):
            raise ModelError("FSS.0400", "A mount needs mount_resource, and for 'ecs' also mount_share_path.")
    user = config.mount_user or MountUser()
    return {
        "mount_user": {
            "user_id": _checked_user_id("user_id", user.user_id, user.mount_user_id),
            "user_group_id": _checked_user_id("user_group_id", user.user_group_id, user.mount_user_group_id),
        },
        "func_mounts": [{**msgspec.to_builtins(mount), "status": "active"} for mount in mounts],
    }


def _checked_user_id(name: str, *values: Number) -> int:
    value = next((value for value in values if value is not UNSET and value is not None), -1)
    if not -1 <= value <= MAX_USER_ID or value in _REFUSED_USER_IDS:
        raise ModelError("FSS.1075", f"mount_user.{name} {value} is invalid: -1 to {MAX_USER_ID}, not 0, 1000 or 1002.")
    return value


def _checked_image(image: CustomImage) -> Any:
    texts = (image.command, image.args, image.working_dir)
    if sum(len(text) for text in texts if isinstance(text, str)) > MAX_IMAGE_TEXT_LENGTH:
        raise ModelError(
            "FSS.0400",
            f"custom_image: command, args and working_dir have more than {MAX_IMAGE_TEXT_LENGTH} characters.",
        )
    if image.working_dir not in (UNSET, None, "", "/"):
        raise ModelError("FSS.0400", "custom_image.working_dir must be '/'.")
    given = {key: value for key, value in msgspec.to_builtins(image).items() if value not in (None, "")}
    return {"working_dir": "/", "uid": _IMAGE_USER, "gid": _IMAGE_USER, **given} if given else None


def _checked_lts_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MAX_LTS_TAGS:
        raise ModelError("FSS.0400", f"lts_custom_tag has {len(tags)} pairs; {MAX_LTS_TAGS} are allowed.")
    for text in (*tags.keys(), *tags.values()):
        if not _LTS_TAG.fullmatch(text):
            raise ModelError("FSS.0400", f"lts_custom_tag '{text[:80]}': 1 to 64 letters, digits, '_' or '-'.")
    return tags


def _checked_cidrs(text: str) -> str:
    networks = text.split(";")
    if len(networks) > MAX_PEERING_CIDRS:
        raise ModelError("FSS.0400", f"peering_cidr has {len(networks)} networks; {MAX_PEERING_CIDRS} are allowed.")
    for network in networks:
        try:
            ipaddress.ip_network(network.strip(), strict=False)
        except ValueError as error:
            raise ModelError("FSS.0400", f"peering_cidr '{network[:60]}' is no network such as 10.0.0.0/16.") from error
    return text


def _checked_restore_timeout(value: int) -> int:
    if not 1 <= value <= MAX_RESTORE_TIMEOUT_S:
        raise ModelError("FSS.0400", f"restore_hook_timeout {value} is out of range: 1 to {MAX_RESTORE_TIMEOUT_S}.")
    return value


_CHECKS: Mapping[str, Any] = {
    "type": _checked_type,
    "func_vpc": _checked_vpc,
    "mount_config": _checked_mounts,
    "custom_image": _checked_image,
    "log_config": _checked_log_config,
    "lts_custom_tag": _checked_lts_tags,
    "peering_cidr": _checked_cidrs,
    "restore_hook_handler": _checked_restore_hook,
    "restore_hook_timeout": _checked_restore_timeout,
    "domain_names": _checked_zones,
}
