"""The context that handlers, initializers and pre-stop functions are given. Start with `ContextFactory.create`."""
# ruff: noqa: N802 - the platform's names are in camel case

import time

# Not from typing, which costs a cold start 3 ms; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import Logger
    from typing import Any

    from _funclet.codec import Codec

_REQUEST_MEMBERS = (
    "alias",
    "access_key",
    "secret_key",
    "security_access_key",
    "security_secret_key",
    "security_token",
    "auth_token",
    "workflow_id",
    "workflow_run_id",
    "workflow_state_id",
)


class Context:
    """What the author may know about the function and the request, as methods and as plain attributes.

    Credentials are empty texts when the function has no agency. Sizes are texts, as the variables hold them.
    """

    request_id: str
    trace_id: str
    invoke_id: str
    function_name: str
    function_version: str
    package: str
    project_id: str
    memory: str
    cpu: str
    timeout: int
    """Configured, in milliseconds."""
    start_time: int
    """When the request arrived, in milliseconds since 1970."""
    user_data: "dict[str, object]"
    alias: str
    access_key: str
    secret_key: str
    security_access_key: str
    security_secret_key: str
    security_token: str
    auth_token: str
    workflow_id: str
    workflow_run_id: str
    workflow_state_id: str
    invoke_property: "str | None"
    state: object
    instance_id: object
    from_task: bool
    _deadline_s: float

    def __getattr__(self, name: str) -> "Any":
        # Only asked for names that are not set: the logger is made when it is first wanted.
        if name == "logger":
            import logging

            self.logger = logging.getLogger()
            return self.logger
        raise AttributeError(f"'Context' object has no attribute '{name}'")

    def getRequestID(self) -> str:
        """Return the UUID of this request."""
        return self.request_id

    def getRemainingTimeInMilliSeconds(self) -> int:
        """Return the milliseconds left until the platform ends the request; negative when it is late to do so."""
        return int((self._deadline_s - time.monotonic()) * 1000)

    def getRunningTimeInSeconds(self) -> int:
        """Return the configured timeout in seconds."""
        return self.timeout // 1000

    def getUserData(self, key: str, default: object = None) -> object:
        """Return a user variable, or the default."""
        return self.user_data.get(key, default)

    def getFunctionName(self) -> str:
        """Return the name of the function."""
        return self.function_name

    def getVersion(self) -> str:
        """Return `latest` or the name of the published version."""
        return self.function_version

    def getMemorySize(self) -> str:
        """Return the configured memory in MB, a text."""
        return self.memory

    def getCPUNumber(self) -> str:
        """Return the CPU share in millicores, a text."""
        return self.cpu

    def getProjectID(self) -> str:
        """Return the project of the function."""
        return self.project_id

    def getPackage(self) -> str:
        """Return the app (group) of the function."""
        return self.package

    def getToken(self) -> str:
        """Return the IAM token of the agency."""
        return self.auth_token

    def getAccessKey(self) -> str:
        """Return the old access key; no longer filled."""
        return self.access_key

    def getSecretKey(self) -> str:
        """Return the old secret key; no longer filled."""
        return self.secret_key

    def getSecurityAccessKey(self) -> str:
        """Return the access key of the agency, valid for 24 h."""
        return self.security_access_key

    def getSecuritySecretKey(self) -> str:
        """Return the secret key of the agency, valid for 24 h."""
        return self.security_secret_key

    def getSecurityToken(self) -> str:
        """Return the security token that belongs to the two keys."""
        return self.security_token

    def getAlias(self) -> str:
        """Return the alias that the call addressed, or an empty text."""
        return self.alias

    def getLogger(self) -> "Logger":
        """Return the root logger; its lines carry time, request id and level."""
        return self.logger

    def getWorkflowID(self) -> str:
        """Return the workflow that called, or an empty text."""
        return self.workflow_id

    def getWorkflowRunID(self) -> str:
        """Return the execution of the workflow that called, or an empty text."""
        return self.workflow_run_id

    def getWorkflowStateID(self) -> str:
        """Return the state of the workflow that called, or an empty text."""
        return self.workflow_state_id

    def get_trace_id(self) -> str:
        """Return the request id."""
        return self.trace_id

    def get_invoke_id(self) -> str:
        """Return an empty text: only stateful functions have one."""
        return self.invoke_id

    def get_invoke_property(self) -> "str | None":
        """Return what the caller attached to the request, or None."""
        return self.invoke_property

    def get_instance_id(self) -> object:
        """Return what `set_instance_id` was given in this request, or None."""
        return self.instance_id

    def set_instance_id(self, value: object) -> None:
        """Keep a value for the rest of this request."""
        self.instance_id = value

    def get_state(self) -> object:
        """Return what `set_state` was given in this request, or None."""
        return self.state

    def set_state(self, value: object) -> None:
        """Keep a value for the rest of this request; it is not stored."""
        self.state = value


class ContextFactory:
    """Makes one context per request from what is the same for all of them."""

    def __init__(self, environment: "Mapping[str, str]", codec: "Codec") -> None:
        self._timeout_ms = int(environment.get("RUNTIME_TIMEOUT") or 3) * 1000
        self._user_data = _user_data(environment.get("RUNTIME_USERDATA", ""), codec)
        self._common = {
            "function_name": environment.get("RUNTIME_FUNC_NAME", ""),
            "function_version": environment.get("RUNTIME_FUNC_VERSION", ""),
            "package": environment.get("RUNTIME_PACKAGE", ""),
            "project_id": environment.get("RUNTIME_PROJECT_ID", ""),
            "memory": environment.get("RUNTIME_MEMORY", ""),
            "cpu": environment.get("RUNTIME_CPU", ""),
            "timeout": self._timeout_ms,
            "invoke_id": "",
            "invoke_property": None,
            "state": None,
            "instance_id": None,
            "from_task": False,
        }
        self._common.update(dict.fromkeys(_REQUEST_MEMBERS, ""))

    def create(self, request_id: str, timeout_ms: int, meta: object) -> Context:
        """Return the context of a request that has just arrived.

        Args:
            request_id: the UUID as text.
            timeout_ms: time left; 0 for the configured timeout.
            meta: what the frame said about the request, a dict of texts or None; unknown members are ignored.
        """
        context = Context()
        members = context.__dict__
        members.update(self._common)
        if isinstance(meta, dict):
            members.update((name, meta[name]) for name in (*_REQUEST_MEMBERS, "invoke_property") if name in meta)
        members["request_id"] = members["trace_id"] = request_id
        members["user_data"] = self._user_data.copy()
        members["start_time"] = int(time.time() * 1000)
        members["_deadline_s"] = time.monotonic() + (timeout_ms or self._timeout_ms) / 1000
        return context


def _user_data(text: str, codec: "Codec") -> "dict[str, object]":
    """Return the user variables; none if the variable holds no JSON object, as the platform's libraries do."""
    try:
        value = codec.read(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
