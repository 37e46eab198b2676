"""Where the log of a function is seen, by the names of the cloud's log service: `log_place`."""

import hashlib
from dataclasses import dataclass

from funclet.model.function import FunctionVersion

_ID_LENGTH, _GROUP_SUFFIX_LENGTH, _STREAM_SUFFIX_LENGTH = 32, 8, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """A log group and a stream in it; all empty if the log is not kept."""

    group_id: str = ""
    group_name: str = ""
    stream_id: str = ""
    stream_name: str = ""


def log_place(version: FunctionVersion) -> LogPlace:
    """Return the place that the settings of a version name, or the one that its function has by itself."""
    if not version.settings.keeps_log:
        return LogPlace()
    own = version.settings.echoed.get("log_config") or {}
    if own.get("group_id"):
        names = ("group_id", "group_name", "stream_id", "stream_name")
        return LogPlace(**{name: own.get(name) or "" for name in names})
    group_id, group_name = log_group(version.project_id)
    stream_id = _digest(f"{group_id}/{version.function_id}")
    stream_name = f"{version.name}-{stream_id[:_STREAM_SUFFIX_LENGTH]}"
    return LogPlace(group_id=group_id, group_name=group_name, stream_id=stream_id, stream_name=stream_name)


def log_group(project_id: str) -> tuple[str, str]:
    """Return id and name of the log group of a project: the same at every call without being stored."""
    group_id = _digest(f"log group/{project_id}")
    return group_id, f"functiongraph.log.group.{group_id[:_GROUP_SUFFIX_LENGTH]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]
