"""The settings table: every name, type, default and help in one place.

`load` reads the command line's values and the environment once and returns a
frozen `Settings`; only the composition root sees it. A wrong or unknown
setting stops the start with a message that names it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

PREFIX = "FGS_"
EDITIONS = ("lab", "huawei", "ctyun", "otc")
ISOLATION = ("auto", "full", "rootless", "process")
NETWORK = ("auto", "nat", "off")
SWITCH = ("on", "off")
IDLE_RELEASE = ("fixed", "learned")
MAX_PROCESSES = 64
ANY_NETWORK = "*"
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - only compared
# Read by the client side of `fgs`, not by the server.
_CLIENT_VARIABLES = frozenset(
    {
        "FGS_PROFILE",
        "FGS_ENDPOINT",
        "FGS_IAM_ENDPOINT",
        "FGS_TOKEN",
        "FGS_CA",
        "FGS_HOME",
    }
)
_LAB_WAIT_MS = 1000
_CLOUD_PROJECT_REQUESTS = 100
_OWN_HOSTS = ("127.0.0.1", "localhost", "::1")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_MAX_COMMAND_WORDS = 64
_METRICS_TOKEN = re.compile(r"[\x21-\x7e]{16,1024}")
_ACCESS_KEY = re.compile(r"[A-Za-z0-9_-]{4,64}")


class SettingError(Exception):
    """A setting is unknown or wrong; the message names it and says what is allowed."""


def _setting(default: Any, help_: str, *, secret: bool = False, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help_, "secret": secret, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one server. Each is also an environment variable: FGS_ and the name in capitals."""

    host: tuple[str, ...] = _setting(("127.0.0.1",), "Addresses to listen on, those of IPv6 in brackets.")
    port: int = _setting(7180, "Port of the API; 0 lets the system choose.")
    gateway_port: int = _setting(7181, "Port of the gateway; 0 lets the system choose.")
    data_dir: str = _setting("", "Folder of all data. Default: /var/lib/funclet as root, else ~/.local/share/funclet.")
    edition: str = _setting("lab", "Edition of the cloud whose limits are taken.", choices=EDITIONS)
    region: str = _setting("local-1", "Name of the region, also the name of the project.")
    project_id: str = _setting("", "Project of the first start, 32 hexadecimal digits. Default: a random one.")
    admin_ak: str = _setting("", "Access key of the administrator. Default: a random one at the first start.")
    admin_sk: str = _setting("", "Secret key of the administrator; goes with admin_ak.", secret=True)
    oidc_issuer: str = _setting("", "Address of an OIDC issuer whose users may log in. Default: none.")
    oidc_audience: str = _setting("", "What its tokens must be made for: the client id at the issuer.")
    oidc_name_claim: str = _setting("preferred_username", "Claim that names the user.")
    oidc_group_claim: str = _setting("groups", "Claim that names the user's groups.")
    oidc_group: tuple[str, ...] = _setting(
        (), "Group for a value of that claim: VALUE=GROUP. Default: groups are named as the claim names them."
    )
    audit_days: int = _setting(180, "Days that the audit log is kept.")
    audit_rows: int = _setting(1_000_000, "Most entries of the audit log; the oldest go first.")
    metrics_token: str = _setting("", "Bearer token for /metrics. Default: only signed requests may read.", secret=True)
    user: str = _setting("", "Account or uid that the server runs as when started by root. Default: uid 7180.")
    isolation: str = _setting("auto", "How instances are confined; auto takes the best.", choices=ISOLATION)
    network: str = _setting("auto", "What instances reach; auto: nat where possible.", choices=NETWORK)
    processes: int = _setting(0, "Data-plane processes. 0: one up to four cores, then more by cores and memory.")
    memory_fraction: float = _setting(0.8, "Share of the host's memory that all instances may hold together.")
    idle_release_s: float = _setting(60.0, "Seconds after which an idle instance is stopped, 1 to 3600.")
    idle_release: str = _setting(
        "fixed",
        "When idle instances are stopped: fixed, or learned from each function's pauses, its next start as well.",
        choices=IDLE_RELEASE,
    )
    prewarm_timers: str = _setting(
        "on", "Whether an instance is made ready shortly before a timer fires, if none is idle.", choices=SWITCH
    )
    admission_wait_ms: int = _setting(
        -1, "How long requests may wait at the instance maximum. -1: as the edition says."
    )
    project_requests: int = _setting(
        -1,
        "Requests of one project that run at once. 0: no limit; -1: as the edition says (lab: none, others: 100). "
        "Each data-plane process has an even part, and at least one.",
    )
    project_instances: int = _setting(
        1000,
        "Instances of all functions of one project together. 0: no limit. "
        "Each data-plane process has an even part, and at least one.",
    )
    max_connections: int = _setting(
        10_240,
        "Connections each port holds; at most half (gateway) or a quarter (API) of the descriptors the host gives.",
    )
    async_records: str = _setting(
        "all",
        "Which ended asynchronous requests can be looked up; only_when_enabled: those with a status log.",
        choices=("all", "only_when_enabled"),
    )
    async_numeric: str = _setting(
        "off", "Whether error_code and next_marker of async records are numbers, for strict clients.", choices=SWITCH
    )
    async_retry_base_s: float = _setting(1.0, "Seconds before the first retry of a function error, 0.1 to 3600.")
    async_retry_factor: float = _setting(2.0, "By which each further delay is longer, 1 to 10.")
    async_max_chain_depth: int = _setting(16, "Asynchronous requests that may follow from one another, 1 to 100.")
    async_max_queue: int = _setting(100_000, "Asynchronous requests of one function that may wait.")
    async_max_project_mb: int = _setting(10_240, "Megabytes of events that may wait in one project.")
    async_drain_s: float = _setting(30.0, "Seconds that running asynchronous requests get at shutdown.")
    handler_error_status: int = _setting(200, "HTTP status of a handler that raised: 200 as the cloud, or 500.")
    stems: str = _setting(
        "on", "Whether runtimes are started ahead (about 70 MB at rest), for fast cold starts.", choices=SWITCH
    )
    max_stems: int = _setting(-1, "Most runtimes started ahead of one kind. -1: a fortieth of the host's memory.")
    drain_s: float = _setting(30.0, "Seconds that running requests get at shutdown.")
    timezone: str = _setting("UTC", "Time zone of functions that set no TZ, and of timers that name none.")
    timer_grace_s: float = _setting(60.0, "How late a timer still fires that was due while the server was down.")
    timer_event_version: str = _setting("v1.0", "What events of timers say in version.", choices=("v1.0", "v2.0"))
    runtime: tuple[str, ...] = _setting(
        (), "Interpreter for a catalogue name: NAME=PATH; NAME= for none. May be given several times."
    )
    secret_key_file: str = _setting(
        "", "File with the key of all secrets, outside the data folder. Default: secrets.key in the data folder."
    )
    secret_key_command: tuple[str, ...] = _setting(
        (),
        "Program that wraps the keys in the key files, and its first arguments, each as a value of its own. "
        "Default: none, the keys lie there in the clear.",
    )
    function_logs: str = _setting(
        "on", "Whether the log of a function is kept whose enable_lts_log nobody has set.", choices=SWITCH
    )
    echo_secrets: str = _setting(
        "off", "Whether answers hold the passwords of triggers, as those of the cloud do.", choices=SWITCH
    )
    agencies: str = _setting(
        "any",
        "Agencies that functions may name: any, or existing ones that trust functions and allow network and mounts.",
        choices=("any", "existing"),
    )
    target_networks: tuple[str, ...] = _setting(
        (), "Private networks that connections and topics may address, such as 10.0.0.0/8 or 127.0.0.1/32; * for all."
    )
    inventory: str = _setting("", "TOML file that lists the folders functions may mount, and the VPCs. Default: none.")
    code_url_hosts: tuple[str, ...] = _setting((), "Hosts that code may be fetched from (code type obs).")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses to listen on, those of IPv6 without brackets."""
        texts = (text.strip() for entry in self.host for text in entry.split(","))
        return tuple(text.removeprefix("[").removesuffix("]") for text in texts if text)

    @property
    def wait_s(self) -> float:
        """How long a request may wait for a busy instance, in seconds."""
        if self.admission_wait_ms >= 0:
            return self.admission_wait_ms / 1000
        return _LAB_WAIT_MS / 1000 if self.edition == "lab" else 0.0

    @property
    def most_project_requests(self) -> int:
        """Requests of one project that run at once; 0: no limit."""
        if self.project_requests >= 0:
            return self.project_requests
        return 0 if self.edition == "lab" else _CLOUD_PROJECT_REQUESTS

    @property
    def oidc_groups(self) -> Mapping[str, str]:
        """Value of the claim -> group."""
        return dict(entry.split("=", 1) for entry in self.oidc_group)

    @property
    def data_folder(self) -> Path:
        """The data folder, with its default."""
        if self.data_dir:
            return Path(self.data_dir).absolute()
        if os.geteuid() == 0:
            return Path("/var/lib/funclet")
        return Path.home() / ".local" / "share" / "funclet"

    @property
    def secret_key_path(self) -> Path:
        """The file of the key of secrets."""
        return Path(self.secret_key_file).absolute() if self.secret_key_file else self.data_folder / "secrets.key"

    @property
    def runtime_map(self) -> Mapping[str, str]:
        """Catalogue name -> interpreter."""
        return dict(entry.split("=", 1) for entry in self.runtime)

    def shown(self) -> Mapping[str, str]:
        """Return all settings as texts, secrets masked."""
        return {
            setting.name: "****" if setting.metadata["secret"] and getattr(self, setting.name) else _text(self, setting)
            for setting in fields(self)
        }


def load(given: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings: `given` (command line; None for absent) before `environment` before defaults.

    Raises:
        SettingError: a variable with our prefix is unknown, or a value is not allowed.
    """
    known = {setting.name: setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in _CLIENT_VARIABLES:
            name = variable.removeprefix(PREFIX).lower()
            if name not in known:
                raise SettingError(f"{variable} is no setting of Funclet; `fgs serve --help` lists them.")
            values[name] = _parse(variable, type(known[name].default), text)
    values |= {name: value for name, value in given.items() if value is not None and value != ()}
    settings = Settings(**values)
    _check(settings)
    return settings


def _parse(variable: str, kind: type, text: str) -> Any:
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return kind(text)
    except ValueError as error:
        number = "whole number" if kind is int else "number"
        raise SettingError(f"{variable}='{text}' is not a {number}.") from error


def _check(settings: Settings) -> None:
    for setting in fields(settings):
        choices = setting.metadata["choices"]
        if choices and getattr(settings, setting.name) not in choices:
            raise SettingError(f"{setting.name} must be one of {', '.join(choices)}.")
    _check_hosts(settings.hosts)
    _check_range("port", settings.port, 0, 65_535)
    _check_range("gateway_port", settings.gateway_port, 0, 65_535)
    _check_range("processes", settings.processes, 0, MAX_PROCESSES)
    _check_range("memory_fraction", settings.memory_fraction, 0.05, 1.0)
    _check_range("idle_release_s", settings.idle_release_s, 1, 3600)
    _check_range("admission_wait_ms", settings.admission_wait_ms, -1, 60_000)
    _check_range("project_requests", settings.project_requests, -1, 1_000_000)
    _check_range("project_instances", settings.project_instances, 0, 1_000_000)
    _check_range("max_connections", settings.max_connections, 16, 1_000_000)
    _check_range("drain_s", settings.drain_s, 0, 3600)
    _check_range("async_retry_base_s", settings.async_retry_base_s, 0.1, 3600)
    _check_range("async_retry_factor", settings.async_retry_factor, 1, 10)
    _check_range("async_max_chain_depth", settings.async_max_chain_depth, 1, 100)
    _check_range("async_max_queue", settings.async_max_queue, 1, 10_000_000)
    _check_range("async_max_project_mb", settings.async_max_project_mb, 1, 10_000_000)
    _check_range("async_drain_s", settings.async_drain_s, 0, 3600)
    _check_range("timer_grace_s", settings.timer_grace_s, 0, 86_400)
    _check_range("max_stems", settings.max_stems, -1, 1024)
    _check_timezone(settings.timezone)
    if settings.handler_error_status not in (200, 500):
        raise SettingError("handler_error_status must be 200 or 500.")
    _check_range("audit_days", settings.audit_days, 1, 3650)
    _check_range("audit_rows", settings.audit_rows, 1000, 100_000_000)
    _check_oidc(settings)
    _check_networks(settings.target_networks)
    if not _REGION.fullmatch(settings.region):
        raise SettingError("region must be 1 to 40 lower-case letters, digits and '-'.")
    if settings.project_id and not _HEX_ID.fullmatch(settings.project_id):
        raise SettingError("project_id must be 32 hexadecimal digits in lower case.")
    if bool(settings.admin_ak) != bool(settings.admin_sk):
        raise SettingError("admin_ak and admin_sk must be given together.")
    if settings.admin_ak and not _ACCESS_KEY.fullmatch(settings.admin_ak):
        raise SettingError("admin_ak must be 4 to 64 letters, digits, '_' or '-'.")
    if settings.metrics_token and not _METRICS_TOKEN.fullmatch(settings.metrics_token):
        raise SettingError("metrics_token must be 16 to 1024 visible ASCII characters.")
    _check_key_command(settings.secret_key_command)
    if any("=" not in entry for entry in settings.runtime):
        raise SettingError("runtime must have the form NAME=PATH, for example 'Node.js12.13=/opt/node12/bin/node'.")


def _check_key_command(words: tuple[str, ...]) -> None:
    if words and not Path(words[0]).is_absolute():
        raise SettingError(f"secret_key_command must begin with the absolute path of a program, not '{words[0]}'.")
    if len(words) > _MAX_COMMAND_WORDS or any("\0" in word for word in words):
        raise SettingError(f"secret_key_command must have at most {_MAX_COMMAND_WORDS} words, none with a zero byte.")


def _check_hosts(hosts: tuple[str, ...]) -> None:
    if not hosts:
        raise SettingError("host must be an address of this machine, for example 127.0.0.1.")
    twice = [host for number, host in enumerate(hosts) if host in hosts[:number]]
    if twice:
        raise SettingError(f"host {twice[0]} is given twice.")
    every = [host for host in hosts if host in WILDCARDS]
    if every and len(hosts) > 1:
        raise SettingError(f"host {every[0]} stands for every address of this machine; give no other beside it.")


def _check_oidc(settings: Settings) -> None:
    if bool(settings.oidc_issuer) != bool(settings.oidc_audience):
        raise SettingError("oidc_issuer and oidc_audience must be given together.")
    try:
        url = urlsplit(settings.oidc_issuer)
        is_sound = url.scheme == "https" or (url.scheme == "http" and (url.hostname or "") in _OWN_HOSTS)
    except ValueError:
        is_sound = False
    if settings.oidc_issuer and not is_sound:
        raise SettingError("oidc_issuer must begin with https:// (http:// only on this host).")
    if any("=" not in entry for entry in settings.oidc_group):
        raise SettingError("oidc_group must have the form VALUE=GROUP, for example 'staff=developers'.")


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise SettingError(f"timezone '{name}' is not known; use a name like Asia/Shanghai.") from error


def _check_networks(texts: tuple[str, ...]) -> None:
    for text in texts:
        try:
            if text != ANY_NETWORK:
                ip_network(text)
        except ValueError as error:
            raise SettingError(f"target_networks: '{text}' is no network like 10.0.0.0/8 ({error}).") from error


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingError(f"{name} {value:g} is out of range: {low:g} to {high:g}.")


def _text(settings: Settings, setting: Any) -> str:
    value = getattr(settings, setting.name)
    return ", ".join(value) if isinstance(value, tuple) else str(value)
