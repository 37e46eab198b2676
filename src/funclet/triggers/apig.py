"""Gateway triggers (APIG and DEDICATEDGATEWAY): the rules of their data.

Both codes name the same thing here: a route of our own HTTP gateway. Members
that every console and client fills in have the documented defaults, so that a
name is enough; what the server adds is listed in `GatewayType.complete` and `shown`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from funclet.model.errors import ModelError
from funclet.model.gateway import AuthorizerKind
from funclet.model.trigger import Trigger
from funclet.triggers import fields, http_cors
from funclet.triggers.fields import Field, Flag, Text
from funclet.triggers.protocol import Circumstances, EventData, Quota, Traits, text_member

CODES = ("APIG", "DEDICATEDGATEWAY", "APIC")
PREFIX = "/_apig"
"""Path style of the gateway: `/_apig/<group>/<path>`, for when no DNS names lead to it."""

MAX_TIMEOUT_MS = 60_000
DEFAULT_TIMEOUT_MS = 5_000
DEFAULTS: Mapping[str, Any] = {
    "auth": "IAM",
    "backend_type": "FUNCTION",
    "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID",
    "env_name": "RELEASE",
    "group_name": "DEFAULT",
    "match_mode": "SWA",
    "protocol": "HTTPS",
    "req_method": "ANY",
    "type": 1,
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "auth": ("NONE", "IAM", "APP", "AUTHORIZER"),
    "backend_type": ("FUNCTION",),
    "match_mode": ("SWA", "NORMAL"),
    "protocol": ("HTTP", "HTTPS"),
    "req_method": ("ANY", "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"),
    "type": (1, 2),
}
_IDENTITY = ("group_id", "path", "instance_id")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,63}")
_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEGMENT = re.compile(r"[A-Za-z0-9_.~%!$&'()*+,;=:@-]*|\{[A-Za-z][A-Za-z0-9_-]{0,31}\}")
_PARAMETER = re.compile(r"\{[^/]*\}")
_AUTHORIZERS = {
    "x_authorizer_id": AuthorizerKind.FRONTEND,
    "x_backend_authorizer_id": AuthorizerKind.BACKEND,
}
_EXTENSIONS: tuple[Field, ...] = (
    Flag("x_body_base64"),
    Flag("x_authorizer_forward"),
    Text("x_authorizer_id", least=0, most=64),
    Text("x_backend_authorizer_id", least=0, most=64),
)
MAX_APIS = 1000
"""Gateway triggers of a project."""
MAX_PATH_LENGTH = 512
MAX_DOMAIN_LENGTH = 255


class GatewayType:
    """APIG or DEDICATEDGATEWAY triggers: a path of the gateway, answered by a function."""

    def __init__(self, code: str, *, gateway_url: str) -> None:
        self.traits = Traits(
            code=code,
            invalid_code="FSS.1417" if code == "DEDICATEDGATEWAY" else "FSS.1107",
            missing_code="FSS.1138",
            can_be_disabled=False,
            is_gateway=True,
            rival_codes=CODES,
            quota=Quota(CODES, MAX_APIS, "FSS.1124"),
        )
        self._gateway_url = gateway_url.rstrip("/")

    def check(self, event_data: EventData, circumstances: Circumstances) -> None:
        """Refuse data that is no route of the gateway.

        Raises:
            ModelError: FSS.1107 (APIG) or FSS.1417 (DEDICATEDGATEWAY).
        """
        code = self.traits.invalid_code
        name = text_member(event_data, "name", code)
        if not _NAME.fullmatch(name):
            raise ModelError(
                code, f"event_data.name '{name[:80]}' is invalid: 3 to 64 letters, digits or '_', first a letter."
            )
        self._check_choices(event_data)
        if not _GROUP.fullmatch(text_member(event_data, "group_id", code, default="default")):
            raise ModelError(code, "event_data.group_id is invalid: 1 to 64 letters, digits, '-' or '_'.")
        for member in ("env_id", "env_name", "group_name", "instance_id", "sl_domain"):
            text_member(event_data, member, code, default="", most=MAX_DOMAIN_LENGTH)
        _check_path(text_member(event_data, "path", code, default=f"/{name}", most=MAX_PATH_LENGTH), code)
        self._check_backend(event_data, circumstances)
        self._check_extensions(event_data, circumstances)

    def check_change(self, old: EventData, new: EventData) -> None:
        """Refuse another group, path or instance.

        Raises:
            ModelError: FSS.1107 or FSS.1417.
        """
        for member in _IDENTITY:
            if old.get(member) != new.get(member):
                raise ModelError(
                    self.traits.invalid_code,
                    f"event_data.{member} cannot be changed; delete the trigger and create another.",
                )

    def check_rivals(self, trigger: Trigger, rivals: Sequence[Trigger]) -> None:
        """Refuse a group of another project, a route that is taken, a name that is taken in the group.

        Raises:
            ModelError: FSS.1107 or FSS.1417, FSS.1147, FSS.1146.
        """
        data = trigger.event_data
        for rival in rivals:
            other = rival.event_data
            if rival.trigger_id == trigger.trigger_id or other["group_id"] != data["group_id"]:
                continue
            if rival.project_id != trigger.project_id:
                raise ModelError(
                    self.traits.invalid_code, f"event_data.group_id '{data['group_id']}' belongs to another project."
                )
            if _address(other) == _address(data):
                raise ModelError(
                    "FSS.1147",
                    f"{data['req_method']} {data['path']} of group '{data['group_id']}' has a trigger already.",
                )
            if other["name"] == data["name"]:
                raise ModelError("FSS.1146", f"The group '{data['group_id']}' has an API '{data['name']}' already.")

    def complete(self, trigger: Trigger) -> Trigger:
        """Fill in defaults and ids. The default group of a project has the id of the project."""
        data = {**DEFAULTS, "group_id": trigger.project_id, **trigger.event_data}
        data.setdefault("path", f"/{data['name']}")
        data["func_info"] = {
            "function_urn": trigger.function_urn,
            "invocation_type": "sync",
            "timeout": DEFAULT_TIMEOUT_MS,
            "version": trigger.function_urn.rpartition(":")[2],
            **data.get("func_info", {}),
        }
        data["triggerid"] = trigger.trigger_id
        data["api_id"] = hashlib.sha256(trigger.trigger_id.encode()).hexdigest()[:32]
        data["api_name"] = data["name"]
        data.pop("invoke_url", None)
        if trigger.type_code == "APIC":
            data.setdefault("roma_app_id", trigger.project_id)
        return replace(trigger, event_data=data)

    def shown(self, trigger: Trigger) -> EventData:
        """Return the data with the address under which the gateway answers."""
        data = trigger.event_data
        host = urlsplit(self._gateway_url).hostname or ""
        return {
            "sl_domain": f"{data['group_id']}.{host}",
            **data,
            "invoke_url": f"{self._gateway_url}{PREFIX}/{data['group_id']}{data['path']}",
        }

    def _check_choices(self, event_data: EventData) -> None:
        code = self.traits.invalid_code
        for member, choices in _CHOICES.items():
            value = event_data.get(member, DEFAULTS[member])
            # `True` equals 1, but is no number to a client.
            if isinstance(value, bool) or value not in choices:
                listed = ", ".join(map(str, choices))
                raise ModelError(code, f"event_data.{member} is invalid: use one of {listed}.")

    def _check_extensions(self, event_data: EventData, circumstances: Circumstances) -> None:
        code = self.traits.invalid_code
        fields.check(_EXTENSIONS, event_data, code)
        http_cors.check(event_data.get("x_cors"), code)
        if event_data.get("auth") == "AUTHORIZER" and not event_data.get("x_authorizer_id"):
            raise ModelError(code, "event_data.x_authorizer_id is missing: auth is 'AUTHORIZER'.")
        for member, kind in _AUTHORIZERS.items():
            named = event_data.get(member)
            if named and not circumstances.sources.has_authorizer(named, kind):
                raise ModelError(code, f"event_data.{member}: there is no {kind} authorizer '{named}'.")

    def _check_backend(self, event_data: EventData, circumstances: Circumstances) -> None:
        code = self.traits.invalid_code
        info = event_data.get("func_info", {})
        if not isinstance(info, dict):
            raise ModelError(code, "event_data.func_info must be an object.")
        timeout = info.get("timeout", DEFAULT_TIMEOUT_MS)
        if not isinstance(timeout, int) or isinstance(timeout, bool) or not 1 <= timeout <= MAX_TIMEOUT_MS:
            raise ModelError(code, f"event_data.func_info.timeout must be 1 to {MAX_TIMEOUT_MS} milliseconds.")
        invocation_type = info.get("invocation_type", "sync")
        if invocation_type not in ("sync", "async"):
            raise ModelError(code, "event_data.func_info.invocation_type is invalid: use one of sync, async.")
        if invocation_type == "async" and circumstances.is_http_function:
            raise ModelError(code, "An HTTP function cannot be invoked asynchronously: use invocation_type 'sync'.")


def _check_path(path: str, code: str) -> None:
    segments = path.split("/")
    if segments[0] or len(segments) == 1:
        raise ModelError(code, f"event_data.path '{path}' is invalid: it begins with '/'.")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ModelError(
            code, f"event_data.path '{path}' is invalid: a segment is '{{name}}' or characters of a URL path."
        )
    parameters = _PARAMETER.findall(path)
    if len(parameters) != len(set(parameters)):
        raise ModelError(code, f"event_data.path '{path}' has a parameter twice.")


def _address(data: EventData) -> tuple[str, str, str]:
    """Return what no two triggers of a group may share."""
    return data["env_name"], data["req_method"], _PARAMETER.sub("{}", data["path"])
