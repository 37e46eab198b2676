"""From a function version to the sandbox it runs in: environment, limits, commands. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from funclet.dataplane.surroundings import hosts_of, network_of, shares_of
from funclet.model.function import Code, FunctionVersion, Settings, cpu_millicores, parse_variables
from funclet.model.inventory import Inventory
from funclet.model.invocation import MAX_SYNC_BODY_BYTES
from funclet.runtimes.registry import Language, RuntimeSpec
from funclet.sandbox.protocol import Network, SandboxSpec
from funclet.sandbox.sandboxd.settings import Forkable

RUNTIME_ROOT = "/home/snuser/runtime"
LOG_DIR = "/home/snuser/log"
# Old PHP functions know the platform by exactly this value; harmless elsewhere (runtimes.md 2.3).
_SHARE_DIR = "/var/share/CFF/processrouter"
# What a process reads only when it starts: a function that sets one of these cannot run in a stem.
_STARTUP_PREFIXES = ("LD_", "LC_", "LANG", "PYTHON", "NODE_", "MALLOC_", "GLIBC_", "GCONV_", "UV_", "OPENSSL_", "SSL_")
_STEM = {"FUNCLET_STEM": "1"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What the operator decides for all instances."""

    network: Network
    timezone: str = "UTC"
    use_stems: bool = True
    """Whether instances may be started ahead."""
    inventory: Inventory = field(default_factory=Inventory)
    """What functions may mount and which networks there are."""


def sandbox_spec(
    version: FunctionVersion,
    runtime: RuntimeSpec,
    *,
    name: str,
    memory_mib: int,
    code_dir: Path,
    options: LaunchOptions,
    links: Sequence[str],
) -> SandboxSpec:
    """Return the sandbox that one instance of `version` needs.

    Args:
        version: what will run.
        runtime: how; it must be runnable.
        name: of the sandbox, unique on this host.
        memory_mib: size of the instance; with dynamic memory not that of the version.
        code_dir: where its code is unpacked.
        options: of the operator.
        links: where old code looks for the interpreter, below `/opt/function/runtime`.
    """
    language, interpreter = runtime.language, runtime.interpreter
    assert language is not None
    assert interpreter is not None
    settings = version.settings
    return SandboxSpec(
        name=name,
        interpreter=interpreter,
        arguments=_arguments(language, runtime, memory_mib),
        environment=environment(version, runtime, memory_mib=memory_mib, timezone=options.timezone),
        path_environment=path_environment(version),
        stem_environment=stem_environment(version, runtime) if options.use_stems else {},
        code_dir=code_dir,
        runtime_dir=language.folder,
        interpreter_links=links,
        memory_mib=memory_mib,
        cpu_millicores=cpu_millicores(memory_mib),
        tmp_mib=settings.tmp_mib,
        network=network_of(settings, options.inventory, options.network),
        shares=shares_of(version, options.inventory),
        hosts=hosts_of(settings, options.inventory),
    )


def typical_spec(runtime: RuntimeSpec, options: LaunchOptions, links: Sequence[str]) -> SandboxSpec:
    """Return the sandbox of a function that sets nothing: the first one of each language starts fast too."""
    language = runtime.language
    assert language is not None
    version = FunctionVersion(
        project_id="",
        region="",
        package="",
        name="",
        function_id="",
        version="",
        settings=Settings(
            runtime=runtime.name,
            handler=language.default_handler,
            timeout_s=language.default_timeout_s,
            memory_mib=language.default_memory_mib,
        ),
        code=Code(digest="", size=0, code_type=""),
        modified_at=0.0,
    )
    return sandbox_spec(
        version,
        runtime,
        name="stem",
        memory_mib=language.default_memory_mib,
        code_dir=language.folder,
        options=options,
        links=links,
    )


def _arguments(language: Language, runtime: RuntimeSpec, memory_mib: int) -> tuple[str, ...]:
    values = {
        "{memory_mib}": str(memory_mib),
        "{heap_mib}": str(memory_mib * 9 // 10),
        "{name}": runtime.directory,
    }
    arguments = []
    for argument in language.arguments:
        for placeholder, value in values.items():
            argument = argument.replace(placeholder, value)  # noqa: PLW2901 - a chain of replacements
        arguments.append(argument)
    return tuple(arguments)


def environment(version: FunctionVersion, runtime: RuntimeSpec, *, memory_mib: int, timezone: str) -> Mapping[str, str]:
    """Return the environment of an instance (runtimes.md 2.3), but for the variables that hold paths of its code."""
    settings = version.settings
    plain = parse_variables("user_data", settings.user_data)
    encrypted = parse_variables("encrypted_user_data", settings.encrypted_user_data)
    preset = {
        "RUNTIME_PROJECT_ID": version.project_id,
        "RUNTIME_FUNC_NAME": version.name,
        "RUNTIME_FUNC_VERSION": version.version,
        "RUNTIME_PACKAGE": version.package,
        "RUNTIME_HANDLER": settings.handler,
        "RUNTIME_TIMEOUT": str(settings.timeout_s),
        "RUNTIME_USERDATA": json.dumps(plain | encrypted),
        "RUNTIME_CPU": str(cpu_millicores(memory_mib)),
        "RUNTIME_MEMORY": str(memory_mib),
        "RUNTIME_MAX_RESP_BODY_SIZE": str(MAX_SYNC_BODY_BYTES),
        "RUNTIME_INITIALIZER_HANDLER": settings.initializer_handler,
        "RUNTIME_INITIALIZER_TIMEOUT": str(settings.initializer_timeout_s),
        "RUNTIME_ROOT": RUNTIME_ROOT,
        "RUNTIME_LOG_DIR": LOG_DIR,
    }
    defaults = _common(runtime) | {"TZ": timezone, "_APP_SHARE_DIR": _SHARE_DIR}
    if settings.fresh_state:
        preset["RUNTIME_FRESH_STATE"] = "1"
    if settings.pre_stop_handler:
        preset |= {"PRE_STOP_HANDLER": settings.pre_stop_handler, "PRE_STOP_TIMEOUT": str(settings.pre_stop_timeout_s)}
    return defaults | plain | preset


def path_environment(version: FunctionVersion) -> Mapping[str, str]:
    """Return the variables that hold paths of the code, with placeholders; LD_LIBRARY_PATH of the user comes behind."""
    return _paths(parse_variables("user_data", version.settings.user_data).get("LD_LIBRARY_PATH", ""))


def _paths(own: str) -> Mapping[str, str]:
    preset = "{code_root}:{code_root}/lib"
    return {"RUNTIME_CODE_ROOT": "{code_root}", "LD_LIBRARY_PATH": f"{preset}:{own}" if own else preset}


def stem_environment(version: FunctionVersion, runtime: RuntimeSpec) -> Mapping[str, str]:
    """Return the variables of a stem that could become an instance of `version`; empty if none can."""
    if any(name.startswith(_STARTUP_PREFIXES) for name in parse_variables("user_data", version.settings.user_data)):
        return {}
    return {**_common(runtime), **path_environment(version), **_STEM}


def forkable_of(runtime: RuntimeSpec) -> Forkable:
    """Return what sandboxd must know before it may fork the stems of a runtime: those of functions that set nothing."""
    assert runtime.language is not None
    return Forkable(
        folder=runtime.language.folder,
        arguments=_arguments(runtime.language, runtime, runtime.language.default_memory_mib),
        environment={**_common(runtime), **_paths(""), **_STEM},
    )


def _common(runtime: RuntimeSpec) -> dict[str, str]:
    """Return the variables that every instance of a runtime has, unless its author sets them."""
    common = {"PATH": _PATH, "HOME": "/home/snuser", "LANG": "C.UTF-8"}
    if runtime.language is not None and runtime.language.name == "nodejs":
        places = [f"/opt/function/runtime/{runtime.directory}/rtsp/nodejs/node_modules"]
        if runtime.interpreter is not None:
            # Where `npm install --global` puts what all functions may use.
            places.append(str(runtime.interpreter.parent.parent / "lib" / "node_modules"))
        common["NODE_PATH"] = ":".join(places)
    return common
