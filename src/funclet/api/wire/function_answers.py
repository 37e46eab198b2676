"""Functions as clients read them: from a version of the model to an answer. Start with `config_answer`."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from funclet.base.clock import utc_text
from funclet.model.function import FunctionVersion, cpu_millicores, parse_variables
from funclet.model.identity import Project
from funclet.model.log_place import log_place
from funclet.services.functions import PINNED

LONG_TIMEOUT_S = 900
_ALPHANUMERIC = "0123456789abcdefghijklmnopqrstuvwxyz"
_IMAGE_SUFFIX_LENGTH = 5
# What clients read of settings that are not set, and of features that this server does not have.
NOT_SET: Mapping[str, Any] = {
    "enterprise_project_id": "0",
    "type": "v2",
    "xrole": "",
    "app_xrole": "",
    "extend_config": "",
    "gpu_memory": 0,
    "gpu_type": "",
    "domain_names": "",
    "peering_cidr": "",
    "heartbeat_handler": "",
    "restore_hook_handler": "",
    "restore_hook_timeout": 0,
    "enable_class_isolation": False,
    "enable_auth_in_header": False,
    "is_stateful_function": False,
    "lts_custom_tag": {},
    "user_data_encrypt_kms_key_id": "",
    "code_encrypt_kms_key_id": "",
    "allow_ephemeral_storage": True,
    "enable_cloud_debug": "DISABLED",
    "is_bridge_function": False,
    "apig_route_enable": False,
    "is_return_stream": False,
    "reserved_instance_count": 0,
    "reserved_instance_idle_mode": False,
    "fail_count": 0,
}


def config_answer(version: FunctionVersion, project: Project) -> dict[str, Any]:
    """Return the full configuration of a version; values of encrypted variables are blank."""
    settings = version.settings
    echoed = {name: value for name, value in settings.echoed.items() if name != PINNED}
    place = log_place(version)
    return {
        **NOT_SET,
        **echoed,
        "func_id": version.function_id,
        "resource_id": f"{version.function_id}:{version.name}",
        "func_urn": str(version.urn),
        "func_name": version.name,
        "domain_id": project.domain_id,
        "namespace": version.project_id,
        "project_name": project.name,
        "package": version.package,
        "runtime": settings.runtime,
        "timeout": settings.timeout_s,
        "handler": settings.handler,
        "memory_size": settings.memory_mib,
        "cpu": cpu_millicores(settings.memory_mib),
        "code_type": version.code.code_type,
        "code_url": version.code.url,
        "code_filename": version.code.filename,
        "code_size": version.code.size,
        "digest": version.code.digest,
        **_warning(version),
        "user_data": settings.user_data,
        "encrypted_user_data": _blanked(settings.encrypted_user_data),
        "version": version.version,
        "version_description": version.version_description,
        "image_name": _image_name(version),
        "description": settings.description,
        "last_modified": utc_text(version.modified_at),
        "strategy_config": _strategy(version),
        **_dependencies(version),
        **_hooks(version),
        "long_time": settings.timeout_s > LONG_TIMEOUT_S,
        "enable_lts_log": settings.keeps_log,
        "log_group_id": place.group_id,
        "log_stream_id": place.stream_id,
        "ephemeral_storage": settings.tmp_mib,
        "enable_dynamic_memory": settings.dynamic_memory,
        "enable_fresh_state": settings.fresh_state,
    }


def list_answer(version: FunctionVersion, project: Project) -> dict[str, Any]:
    """Return a version as an element of a list, with the members that only lists have."""
    vpc = version.settings.echoed.get("func_vpc") or {}
    return {
        **config_answer(version, project),
        "func_vpc_id": vpc.get("vpc_id", ""),
        "concurrency": version.settings.max_instances,
        "concurrent_num": version.settings.concurrent_num,
        "bind_bridge_funcUrns": [],
    }


def code_answer(version: FunctionVersion, project: Project, *, file: str, link: str) -> dict[str, Any]:
    """Return what the code operations say of a version.

    Args:
        version: the version.
        project: its project.
        file: the package in base64, or empty.
        link: where the package can be fetched, or empty.
    """
    code = version.code
    return {
        "func_urn": str(version.urn),
        "func_name": version.name,
        "domain_id": project.domain_id,
        "runtime": version.settings.runtime,
        "code_type": code.code_type,
        "code_url": code.url,
        "code_filename": code.filename,
        "code_size": code.size,
        "digest": code.digest,
        **_warning(version),
        "last_modified": utc_text(version.modified_at),
        "func_code": {"file": file, "link": link},
        **_dependencies(version),
        "strategy_config": _strategy(version),
        "code_encrypt_kms_key_id": version.settings.echoed.get("code_encrypt_kms_key_id", ""),
    }


def _warning(version: FunctionVersion) -> Mapping[str, str]:
    return {"code_warning": version.code.hint} if version.code.hint else {}


def _dependencies(version: FunctionVersion) -> Mapping[str, Any]:
    return {
        "depend_list": [layer.dependency_id for layer in version.code.layers],
        "depend_version_list": list(version.settings.dependency_ids),
        "dependencies": [],
    }


def _strategy(version: FunctionVersion) -> Mapping[str, int]:
    return {"concurrency": version.settings.max_instances, "concurrent_num": version.settings.concurrent_num}


def _hooks(version: FunctionVersion) -> Mapping[str, Any]:
    """Return the hooks. Without a hook there is no timeout: clients that compare would see one they did not set."""
    settings = version.settings
    hooks: dict[str, Any] = {
        "initializer_handler": settings.initializer_handler,
        "pre_stop_handler": settings.pre_stop_handler,
    }
    if settings.initializer_handler:
        hooks["initializer_timeout"] = settings.initializer_timeout_s
    if settings.pre_stop_handler:
        hooks["pre_stop_timeout"] = settings.pre_stop_timeout_s
    return hooks


def _blanked(encrypted: str) -> str:
    names = parse_variables("encrypted_user_data", encrypted)
    return json.dumps(dict.fromkeys(names, ""), separators=(",", ":")) if names else ""


def _image_name(version: FunctionVersion) -> str:
    """Return the internal id of a revision, such as `latest-191025153727@zehht`; only its form matters."""
    moment = datetime.fromtimestamp(version.modified_at, UTC).strftime("%y%m%d%H%M%S")
    digest = hashlib.sha256(f"{version.function_id}:{version.version}:{version.revision}".encode()).digest()
    suffix = "".join(_ALPHANUMERIC[byte % len(_ALPHANUMERIC)] for byte in digest[:_IMAGE_SUFFIX_LENGTH])
    return f"{version.version}-{moment}@{suffix}"
