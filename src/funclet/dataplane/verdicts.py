"""Why a request does not run, where that is not decided by its function's code: what its caller is told."""

from msgspec.structs import replace

from funclet.model.function import FunctionVersion
from funclet.model.invocation import FailureKind, FunctionFailed, InnerCode, Refused, Report

OVERLOADED = Refused(reason="Your request has been controlled by overload sdk, please retry later")
NO_ROOM = Refused(reason="Too many requests wait for instances of this function", is_overload=True)
NO_MEMORY = Refused(reason="The node has no memory left for another instance", is_overload=True)


class StartFailed(Exception):
    """The platform could not start an instance."""


def refused_gpu(version: FunctionVersion) -> Refused | None:
    """Return why a function that wants a GPU cannot run here; None if it wants none."""
    if not (version.settings.echoed.get("gpu_memory") or version.settings.echoed.get("gpu_type")):
        return None
    return Refused(reason="no GPU available on this node", retry_after_s=None, is_overload=True)


def not_installed(version: FunctionVersion) -> FunctionFailed:
    """Return the end of a request to a function whose runtime is not on this host."""
    text = f"function initialization failed: runtime {version.settings.runtime} is not installed on this host"
    report = Report(
        function_id=version.function_id,
        version=version.version,
        code=InnerCode.INSTANCE_INIT,
        log_tags=version.settings.log_tags,
    )
    return FunctionFailed(
        kind=FailureKind.INIT, code=InnerCode.INSTANCE_INIT, body=text.encode(), is_json=False, report=report
    )


def with_hint(failure: FunctionFailed, hint: str) -> FunctionFailed:
    """Tell in the log of a function that cannot be loaded what looks wrong with its package."""
    report = failure.report
    return replace(failure, report=replace(report, before=report.before + f"{hint}\n".encode()))
