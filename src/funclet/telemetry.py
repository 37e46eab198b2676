"""Log lines that the platform writes around a function's own output, and the result categories of a run.

The texts are those of the cloud, because tools parse them; `runtimes.md` 7.1
in words: load, initialize and invoke each have a start and a finish line.
"""

from typing import Literal

from funclet.base.clock import utc_text
from funclet.model.billing import billed_ms
from funclet.model.invocation import Report

Phase = Literal["load", "initialize", "invoke"]

_MEGABYTE = 1024 * 1024

_CATEGORIES = {
    4009: "Initialization failed",
    4201: "Initialization failed",
    4211: "Initialization failed",
    4001: "Load failed",
    4012: "Load failed",
    4010: "Invocation timed out",
    4205: "Memory threshold exceeded",
    4206: "Load failed",
    4207: "Disk threshold exceeded",
    4002: "Code error",
    4004: "Code error",
    4007: "Code error",
    4204: "Code error",
}


def category(code: int) -> str:
    """Return the result category of an inner code: `success` for 0, `System error` for codes without one."""
    return "success" if code == 0 else _CATEGORIES.get(code, "System error")


def start_line(phase: Phase, request_id: str, version: str, *, at: float) -> bytes:
    """Return the line that opens a phase."""
    return f"{_time(at)} Start {phase} request '{request_id}', version: {version}\n".encode()


def phase_finish_line(
    phase: Phase, request_id: str, *, at: float, duration_ms: float, memory_bytes: int, storage_bytes: int
) -> bytes:
    """Return the line that ends a load or initialize phase."""
    return (
        f"{_time(at)} Finish {phase} request '{request_id}', duration: {duration_ms:.3f}ms, "
        f"memory used: {megabytes(memory_bytes)}, storage used: {megabytes(storage_bytes)}.\n"
    ).encode()


def invoke_finish_line(
    request_id: str,
    *,
    at: float,
    duration_ms: float,
    memory_bytes: int,
    memory_mib: int,
    cpu_ms: float,
    storage_bytes: int,
    failed: bool,
) -> bytes:
    """Return the line that ends an invocation."""
    cores = cpu_ms / duration_ms if duration_ms > 0 else 0.0
    return (
        f"{_time(at)} Finish invoke request '{request_id}'{'(invoke Failed)' if failed else ''}, "
        f"duration: {duration_ms:.3f}ms, billing duration: {billed_ms(duration_ms)}ms, "
        f"memory used: {megabytes(memory_bytes)}, billing memory: {memory_mib}MB, "
        f"cpu used: {cores:.3f}U, storage used: {megabytes(storage_bytes)}\n"
    ).encode()


def text_of(report: Report) -> bytes:
    """Return all lines of a report: of the start, of the platform, and what the function printed."""
    if not report.has_run:
        return report.before
    printed = report.printed
    if printed and not printed.endswith(b"\n"):
        printed += b"\n"
    finish = invoke_finish_line(
        report.request_id,
        at=report.at + report.duration_ms / 1000,
        duration_ms=report.duration_ms,
        memory_bytes=report.memory_peak_bytes,
        memory_mib=report.memory_mib,
        cpu_ms=report.cpu_ms,
        storage_bytes=report.storage_bytes,
        failed=report.code != 0,
    )
    start = start_line("invoke", report.request_id, report.version, at=report.at)
    return b"".join((report.before, start, printed, finish))


def megabytes(count: int) -> str:
    """Return a number of bytes as the log lines print it, for example `36.535MB`."""
    return f"{count / _MEGABYTE:.3f}MB"


def tail(text: bytes, limit: int) -> bytes:
    """Return the last `limit` bytes, cut at the front on a UTF-8 boundary."""
    if len(text) <= limit:
        return text
    cut = text[-limit:]
    start = 0
    while start < len(cut) and start < 4 and cut[start] & 0xC0 == 0x80:  # noqa: PLR2004 - continuation bytes of UTF-8
        start += 1
    return cut[start:]


def _time(at: float) -> str:
    return utc_text(at, milliseconds=True)
