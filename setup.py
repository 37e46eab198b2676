"""The compiled parts of the package. `FUNCLET_COMPILE=1` compiles the modules of the warm path as well.

Their source is the same Python either way; compiled by mypyc they take less than half the time. That
needs mypy at build time and ties the wheel to one version of Python, so it is left to those who build wheels.
"""

import os

from setuptools import Extension, setup

_C_ARGUMENTS = ["-O2", "-Wall", "-Wextra", "-std=c11"]
# What every invocation passes through. Classes that mypyc cannot compile stand in modules of their own. Modules that
# ask the loop for what stubs tell wrongly (uvloop returns None where asyncio returns bool) are left out.
_WARM_PATH = [
    f"src/funclet/{name}.py"
    for name in (
        "api/app",
        "api/auth",
        "api/remembered",
        "api/signing",
        "api/wire/invocations",
        "base/deadlines",
        "base/http1",
        "base/ids",
        "base/prompt",
        "catalog",
        "dataplane/back_off",
        "dataplane/capacity",
        "dataplane/dispatcher",
        "dataplane/fairness",
        "dataplane/instance",
        "dataplane/pace",
        "dataplane/pool",
        "dataplane/projects",
        "dataplane/refusals",
        "dataplane/scaler",
        "front/connection",
        "gateway",
        "metrics",
        "model/urn",
        "runtimes/frames",
        "sandbox/checked",
        "services/invocations",
        "triggers/http_event",
        "triggers/http_routes",
    )
]


def _helper(name: str, source: str) -> Extension:
    """Return a C module. Without a compiler the package works, at level `process` and a little slower."""
    return Extension(name, [source], extra_compile_args=_C_ARGUMENTS, optional=True, py_limited_api=True)


def _compiled() -> list[Extension]:
    from mypyc.build import mypycify  # noqa: PLC0415 - needed by few

    modules: list[Extension] = mypycify(["--config-file=", *_WARM_PATH])
    return modules


wants_compiled = os.environ.get("FUNCLET_COMPILE") == "1"
setup(
    ext_modules=[
        _helper("funclet.sandbox._native", "src/funclet/sandbox/_native.c"),
        _helper("funclet.base._http", "src/funclet/base/_http.c"),
        *(_compiled() if wants_compiled else ()),
    ],
    options={} if wants_compiled else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
