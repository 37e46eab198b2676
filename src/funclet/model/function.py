"""Functions, their versions and aliases, and the rules their settings must keep.

`FunctionVersion` is the frozen thing that an invocation carries. Every check
here raises `ModelError` with the code of the field it looked at.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from funclet.model.errors import ModelError
from funclet.model.urn import DEFAULT_PACKAGE, LATEST, Urn

# runtimes.md 2.2: memory ladder in MB, and the share of CPU that comes with it.
MEMORY_LADDER = (128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 3584, 4096, 8192, 10240)
MIN_TIMEOUT_S, MAX_TIMEOUT_S = 3, 259_200
MAX_INITIALIZER_TIMEOUT_S = 300
MAX_PRE_STOP_TIMEOUT_S = 90
MAX_HANDLER_LENGTH = 128
MAX_DESCRIPTION_LENGTH = 512
MAX_VARIABLES = 20
MAX_VARIABLES_LENGTH = 4096
MAX_INSTANCES_RANGE = (-1, 1000)
MAX_DEPENDENCIES = 20
DEFAULT_MAX_INSTANCES = 400
DEFAULT_INITIALIZER_TIMEOUT_S = 3
DEFAULT_TMP_MIB, LARGE_TMP_MIB = 512, 10240
MAX_WEIGHT = 100

CODE_TYPES = ("inline", "zip", "obs", "jar", "Custom-Image-Swr")
RUNTIMES_WITHOUT_DOT = ("Go1.8", "Go1.x", "Custom", "http", "Custom Image", "Cangjie1.0")

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?")
_ALIAS = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,40}[A-Za-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED_VARIABLES = frozenset(
    {
        "RUNTIME_PROJECT_ID",
        "RUNTIME_FUNC_NAME",
        "RUNTIME_FUNC_VERSION",
        "RUNTIME_PACKAGE",
        "RUNTIME_HANDLER",
        "RUNTIME_TIMEOUT",
        "RUNTIME_USERDATA",
        "RUNTIME_CPU",
        "RUNTIME_MEMORY",
        "RUNTIME_MAX_RESP_BODY_SIZE",
        "RUNTIME_INITIALIZER_HANDLER",
        "RUNTIME_INITIALIZER_TIMEOUT",
        "RUNTIME_ROOT",
        "RUNTIME_CODE_ROOT",
        "RUNTIME_LOG_DIR",
        "RUNTIME_API_ADDR",
        "RUNTIME_FRESH_STATE",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A version of a dependency, as it was when it was put beside the code."""

    dependency_id: str
    digest: str
    """SHA-512 of the archive in hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The stored code package of a version."""

    digest: str
    """SHA-512 of the package in hexadecimal; also its name in the blob store. Empty: no code (image functions)."""
    size: int
    """Bytes of the package."""
    code_type: str
    filename: str = ""
    url: str = ""
    hint: str = ""
    """What looks wrong with the package, though it was accepted; empty: nothing."""
    layers: tuple[Layer, ...] = ()
    """Dependencies in their order: of equal paths, the later one wins, and all win over the package."""

    @property
    def tree(self) -> str:
        """The name of everything that an instance sees as its code; that of the package if there are no layers."""
        if not self.layers:
            return self.digest
        parts = (self.digest, *(layer.digest for layer in self.layers))
        return hashlib.sha512("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the owner of a function can configure. Acting members are typed; the rest is kept in `echoed`."""

    runtime: str
    handler: str
    timeout_s: int
    memory_mib: int
    description: str = ""
    initializer_handler: str = ""
    initializer_timeout_s: int = DEFAULT_INITIALIZER_TIMEOUT_S
    pre_stop_handler: str = ""
    pre_stop_timeout_s: int = 0
    user_data: str = ""
    """The JSON text as it was sent: clients compare it with what they read back."""
    encrypted_user_data: str = ""
    max_instances: int = DEFAULT_MAX_INSTANCES
    """-1 without limit, 0 disabled."""
    concurrent_num: int = 1
    tmp_mib: int = DEFAULT_TMP_MIB
    dynamic_memory: bool = False
    fresh_state: bool = False
    """Whether each request runs in a process of its own that is thrown away."""
    public_network: bool = True
    log_switch: bool | None = None
    """Whether what it writes is kept in its log; None: nobody has said, see `keeps_log`."""
    dependency_ids: tuple[str, ...] = ()
    """Ids of versions of dependencies; `Code.layers` has what they stand for, one for one."""
    echoed: Mapping[str, Any] = field(default_factory=dict)
    """Members that are stored and returned but do not act, by wire name."""

    @property
    def keeps_log(self) -> bool:
        """Whether what the function writes is kept in its log."""
        return self.log_switch is not False

    @property
    def log_tags(self) -> Mapping[str, str] | None:
        """What its log records are marked with; None if they are not kept."""
        return (self.echoed.get("lts_custom_tag") or {}) if self.keeps_log else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionVersion:
    """One version of a function with its code and settings. `latest` moves; all others never change."""

    project_id: str
    region: str
    package: str
    name: str
    function_id: str
    version: str
    version_description: str = ""
    settings: Settings
    code: Code
    revision: int = 1
    """Grows with every change of code or settings that running instances must not miss."""
    modified_at: float
    """Seconds since the epoch."""

    @property
    def urn(self) -> Urn:
        """The urn with the version behind it."""
        return Urn(
            region=self.region,
            project_id=self.project_id,
            package=self.package,
            name=self.name,
            qualifier=self.version,
        )

    @property
    def is_latest(self) -> bool:
        """Whether this is the version that can be changed."""
        return self.version == LATEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for one version, with at most one additional version that gets a share of the requests."""

    name: str
    version: str
    description: str = ""
    additional_weights: Mapping[str, int] = field(default_factory=dict)
    """Additional version -> percent."""
    additional_strategy: Mapping[str, Any] = field(default_factory=dict)
    """Additional version -> `{"combine_type", "rules"}`, as sent."""
    modified_at: float


def cpu_millicores(memory_mib: int) -> int:
    """Return the CPU share that comes with a memory size (128 MB: 300, each 128 MB more: 100)."""
    return 200 + memory_mib * 100 // 128


def check_name(name: str) -> None:
    """Refuse a function name outside the rule.

    Raises:
        ModelError: FSS.1002.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            "FSS.1002",
            f"func_name '{name[:80]}' is invalid: 1 to 60 letters, digits, '_' or '-', "
            "beginning with a letter and ending with a letter or digit.",
        )


def check_package(package: str) -> str:
    """Return the package name, `default` for an empty one.

    Raises:
        ModelError: FSS.1004.
    """
    if package and not _NAME.fullmatch(package):
        raise ModelError(
            "FSS.1004",
            f"package '{package[:80]}' is invalid: 1 to 60 letters, digits, '_' or '-', "
            "beginning with a letter and ending with a letter or digit.",
        )
    return package or DEFAULT_PACKAGE


def check_alias_name(name: str) -> None:
    """Refuse an alias name outside the rule.

    Raises:
        ModelError: FSS.1014.
    """
    if not _ALIAS.fullmatch(name):
        raise ModelError(
            "FSS.1014",
            f"name '{name[:80]}' is no alias name: 1 to 64 letters, digits, '_' or '-', "
            "beginning with a letter and ending with a letter or digit.",
        )


def check_version_name(name: str) -> None:
    """Refuse a version name outside the rule; `latest` is taken.

    Raises:
        ModelError: FSS.1015.
    """
    if name == LATEST or not _VERSION.fullmatch(name):
        raise ModelError(
            "FSS.1015",
            f"version '{name[:80]}' is invalid: 1 to 42 letters, digits, '_', '-' or '.', "
            "beginning and ending with a letter or digit, and not 'latest'.",
        )


def check_settings(settings: Settings) -> None:
    """Refuse settings that no function may have.

    Raises:
        ModelError: the code of the first field that is wrong.
    """
    _check_handler("handler", settings.handler, settings.runtime, "FSS.1003")
    _check_range("timeout", settings.timeout_s, MIN_TIMEOUT_S, MAX_TIMEOUT_S, "seconds", "FSS.1008")
    if settings.memory_mib not in MEMORY_LADDER:
        sizes = ", ".join(map(str, MEMORY_LADDER))
        raise ModelError("FSS.1007", f"memory_size {settings.memory_mib} is invalid: choose one of {sizes} (MB).")
    if len(settings.description) > MAX_DESCRIPTION_LENGTH:
        raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")
    _check_hooks(settings)
    check_user_data(settings.user_data, settings.encrypted_user_data)
    name = "strategy_config.concurrency (max_instance_num)"
    _check_range(name, settings.max_instances, *MAX_INSTANCES_RANGE, "", "FSS.1026")
    _check_concurrent_num(settings)
    if settings.tmp_mib not in (DEFAULT_TMP_MIB, LARGE_TMP_MIB):
        raise ModelError("FSS.0400", f"ephemeral_storage must be {DEFAULT_TMP_MIB} or {LARGE_TMP_MIB} (MB).")
    if len(settings.dependency_ids) > MAX_DEPENDENCIES:
        raise ModelError("FSS.1024", f"depend_version_list has more than {MAX_DEPENDENCIES} entries.")
    if len(set(settings.dependency_ids)) < len(settings.dependency_ids):
        raise ModelError("FSS.1024", "depend_version_list names the same dependency version twice.")


def _check_concurrent_num(settings: Settings) -> None:
    several = settings.runtime in ("http", "Custom Image")
    _check_range("strategy_config.concurrent_num", settings.concurrent_num, 1, 1000 if several else 1, "", "FSS.1026")


def _check_hooks(settings: Settings) -> None:
    if settings.initializer_handler:
        _check_handler("initializer_handler", settings.initializer_handler, settings.runtime, "FSS.1404")
    _check_range(
        "initializer_timeout", settings.initializer_timeout_s, 1, MAX_INITIALIZER_TIMEOUT_S, "seconds", "FSS.1405"
    )
    if settings.pre_stop_handler:
        _check_handler("pre_stop_handler", settings.pre_stop_handler, settings.runtime, "FSS.0400")
    # Without a handler zero means that nothing is set.
    if settings.pre_stop_handler or settings.pre_stop_timeout_s:
        _check_range("pre_stop_timeout", settings.pre_stop_timeout_s, 1, MAX_PRE_STOP_TIMEOUT_S, "seconds", "FSS.0400")


def _check_handler(name: str, handler: str, runtime: str, code: str) -> None:
    dotless = runtime in RUNTIMES_WITHOUT_DOT or runtime.startswith("C#")
    if not 1 <= len(handler) <= MAX_HANDLER_LENGTH or not (dotless or "." in handler.strip(".")):
        raise ModelError(
            code,
            f"{name} '{handler[:140]}' is invalid: 1 to {MAX_HANDLER_LENGTH} characters in the form 'file.function'.",
        )
    if "\x00" in handler or ".." in handler.split("/") or handler.startswith("/"):
        raise ModelError(code, f"{name} must name a file inside the code package.")


def _check_range(name: str, value: int, low: int, high: int, unit: str, code: str) -> None:
    if not low <= value <= high:
        raise ModelError(code, f"{name} {value} is out of range: {low} to {high}{' ' + unit if unit else ''}.")


def parse_variables(name: str, text: str) -> dict[str, str]:
    """Return the variables that `text` (a JSON object of strings, or empty) holds.

    Raises:
        ModelError: FSS.1009.
    """
    if not text:
        return {}
    try:
        variables = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("FSS.1009", f"{name} is not JSON: {error}.") from error
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ModelError("FSS.1009", f"{name} must be the text of a JSON object whose values are strings.")
    return variables


def check_user_data(user_data: str, encrypted_user_data: str) -> None:
    """Refuse environment variables that cannot be set.

    Raises:
        ModelError: FSS.1009 names and form, FSS.1017 count, FSS.1018 size.
    """
    plain = parse_variables("user_data", user_data)
    encrypted = parse_variables("encrypted_user_data", encrypted_user_data)
    for key in (*plain, *encrypted):
        if not _VARIABLE.fullmatch(key):
            raise ModelError("FSS.1009", f"variable '{key[:80]}' is invalid: letters, digits and '_', first a letter.")
        if key in _RESERVED_VARIABLES:
            raise ModelError("FSS.1009", f"variable '{key}' is set by the platform; choose another name.")
        value = plain.get(key, "") + encrypted.get(key, "")
        if any(mark == "\x00" or "\ud800" <= mark <= "\udfff" for mark in value):
            raise ModelError("FSS.1009", f"variable '{key}' contains a NUL character or half of a surrogate pair.")
    both = plain.keys() & encrypted.keys()
    if both:
        raise ModelError("FSS.1009", f"variable '{min(both)}' is both in user_data and in encrypted_user_data.")
    if len(plain) + len(encrypted) > MAX_VARIABLES:
        raise ModelError("FSS.1017", f"there are more than {MAX_VARIABLES} environment variables.")
    length = sum(len(key) + len(value) for variables in (plain, encrypted) for key, value in variables.items())
    if length > MAX_VARIABLES_LENGTH:
        raise ModelError(
            "FSS.1018", f"environment variables have {length} characters; {MAX_VARIABLES_LENGTH} are allowed."
        )


def check_alias(alias: Alias) -> None:
    """Refuse an alias whose name, weights or strategy cannot be.

    Whether its versions exist is for the caller to check.

    Raises:
        ModelError: FSS.1014, FSS.1019, FSS.1091, FSS.1092 or FSS.1093.
    """
    check_alias_name(alias.name)
    if len(alias.description) > MAX_DESCRIPTION_LENGTH:
        raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")
    for additional in {*alias.additional_weights, *alias.additional_strategy}:
        if additional == alias.version:
            raise ModelError("FSS.1093", f"version '{additional}' is both the main and the additional version.")
        if additional == LATEST:
            raise ModelError("FSS.1091", "the additional version must be a published one, not 'latest'.")
    if len(alias.additional_weights) > 1 or len(alias.additional_strategy) > 1:
        raise ModelError("FSS.1092", "an alias has one additional version at most.")
    if len({*alias.additional_weights, *alias.additional_strategy}) > 1:
        raise ModelError("FSS.1092", "weights and strategy name different versions; an alias has one additional one.")
    for additional, weight in alias.additional_weights.items():
        if not 0 <= weight <= MAX_WEIGHT:
            raise ModelError("FSS.1092", f"weight {weight} of version '{additional}' is out of range: 0 to 100.")


def choose_version(alias: Alias, *, draw: float) -> str:
    """Return the version that a request through `alias` runs on.

    Args:
        alias: the alias.
        draw: a random number from 0 up to but not including 1.
    """
    for additional, weight in alias.additional_weights.items():
        if draw * MAX_WEIGHT < weight:
            return additional
    return alias.version
