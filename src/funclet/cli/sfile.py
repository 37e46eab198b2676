"""Reads `s.yaml`, the project file of the vendor's deployment component.

`load` turns it into the same `Project` as `fgs.yaml`. Nothing is downloaded and
no hook of the file is run.
"""

from collections.abc import Mapping
from typing import Any

from funclet.cli.document import Document, Trail
from funclet.cli.project import FunctionPlan, Project, TriggerPlan, as_variables, substitute

# Members of s.yaml: wire names of the configuration.
_SETTINGS: Mapping[str, str] = {
    "handler": "handler",
    "runtime": "runtime",
    "memorySize": "memory_size",
    "timeout": "timeout",
    "description": "description",
    "agencyName": "xrole",
    "initializerHandler": "initializer_handler",
    "initializerTimeout": "initializer_timeout",
    "dependVersionList": "depend_version_list",
    "encryptedUserData": "secrets",
    "environmentVariables": "env",
}
_REQUIRED = ("functionName", "handler", "runtime")
# Of the trigger data: s.yaml writes names in camel case, the wire does not.
_EVENT_NAMES: Mapping[str, str] = {
    "scheduleType": "schedule_type",
    "userEvent": "user_event",
    "groupName": "group_name",
    "groupId": "group_id",
    "envId": "env_id",
    "envName": "env_name",
    "matchMode": "match_mode",
    "reqMethod": "req_method",
}
_GATEWAY_DEFAULTS: Mapping[str, Any] = {
    "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID",
    "env_name": "RELEASE",
    "auth": "IAM",
    "protocol": "HTTPS",
    "match_mode": "SWA",
    "req_method": "ANY",
    "backend_type": "FUNCTION",
    "type": 1,
}


def load(found: Document) -> Project:
    """Read the services of a file.

    Raises:
        Failure: something in it is wrong; names file and line.
    """
    top = "resources" if "resources" in found.value else "services"
    services = substitute({top: found.value[top]}, found.mapping(found.value.get("vars"), ("vars",)), found, ())[top]
    notes: list[str] = []
    plans = []
    for name, service in services.items() if isinstance(services, dict) else []:
        trail: Trail = (top, name)
        if not isinstance(service, dict) or "fgs" not in str(service.get("component", "")):
            notes.append(f"'{top}.{name}' is left alone: its component is not fgs")
            continue
        if service.get("actions"):
            notes.append(f"the hooks of '{top}.{name}' are not run")
        plans.append(_function(found, (*trail, "props"), service.get("props")))
    if not plans:
        raise found.fail((top,), "there is no service with 'component: fgs'.")
    return Project(functions=tuple(plans), notes=tuple(notes))


def _function(found: Document, trail: Trail, props: Any) -> FunctionPlan:
    body = props.get("function") if isinstance(props, dict) else None
    if not isinstance(body, dict):
        raise found.fail(trail, "'function' is missing.")
    place: Trail = (*trail, "function")
    for member in _REQUIRED:
        if not body.get(member):
            raise found.fail(place, f"'{member}' is missing.")
    code = body.get("code")
    folder = code.get("codeUri") if isinstance(code, dict) else None
    if not folder or body.get("codeType", "zip") != "zip":
        raise found.fail((*place, "code"), "only 'codeType: zip' with 'code.codeUri' can be deployed.")
    settings: dict[str, Any] = {"memory_size": 128, "timeout": 30}
    settings |= {wire: body[member] for member, wire in _SETTINGS.items() if body.get(member) is not None}
    if "depend_version_list" in settings:
        entries = found.sequence(settings["depend_version_list"], (*place, "dependVersionList"))
        settings["depend_version_list"] = [str(entry) for entry in entries]
    for member in ("memorySize", "timeout"):
        found.number(body.get(member, 0), (*place, member))
    for wire in ("env", "secrets"):
        if wire in settings:
            settings[wire] = as_variables(settings[wire], found, (*place, wire))
    strategy = found.mapping(body.get("strategyConfig"), (*place, "strategyConfig"))
    pairs = {"concurrency": body.get("concurrency"), "concurrent_num": body.get("concurrentNum")}
    pairs |= {"concurrency": strategy.get("concurrency", pairs["concurrency"])}
    if any(value is not None for value in pairs.values()):
        settings["strategy_config"] = {key: value for key, value in pairs.items() if value is not None}
    several = found.sequence(props.get("triggers"), (*trail, "triggers"))
    triggers = [props["trigger"]] if props.get("trigger") else several
    return FunctionPlan(
        name=str(body["functionName"]),
        app=str(body.get("package", "default")),
        code=(found.path.parent / str(folder)).resolve(),
        settings=settings,
        triggers=tuple(_trigger(found, (*trail, "trigger"), entry) for entry in triggers),
    )


def _trigger(found: Document, trail: Trail, body: Any) -> TriggerPlan:
    if not isinstance(body, dict) or not body.get("triggerTypeCode") or not isinstance(body.get("eventData"), dict):
        raise found.fail(trail, "'triggerTypeCode' and 'eventData' are needed.")
    type_code = str(body["triggerTypeCode"])
    data = {_EVENT_NAMES.get(key, key): value for key, value in body["eventData"].items()}
    if type_code in ("APIG", "DEDICATEDGATEWAY"):
        timeout_ms = data.pop("timeout", 5000)
        name = str(data.get("name", "api"))
        data = {**_GATEWAY_DEFAULTS, "path": f"/{name}", "func_info": {"timeout": timeout_ms}, **data}
    return TriggerPlan(type_code=type_code, event_data=data, status=str(body.get("status", "")))
