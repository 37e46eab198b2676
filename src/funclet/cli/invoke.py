"""`fgs invoke`: run a function once and show its answer, queue it, or run it many times.

The answer goes to stdout, everything about it to stderr; the exit code tells
whether the function (10) or the platform (11) failed.
"""

import base64
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from funclet.cli import asynchronous, expect, load, render, session
from funclet.cli.frame import ExitCode, Failure, FgsCommand, Flags, counted, note, say
from funclet.cli.session import Address, Session
from funclet.client import Answer, ApiError, error_of

MAX_EVENT_BYTES = 6 * 1024 * 1024
_FUNCTION_FAULTS = frozenset(
    f"FSS.{code}"
    for code in (4001, 4002, 4003, 4004, 4005, 4006, 4007, 4009, 4010, 4201, 4204, 4205, 4206, 4207, 4208, 4211)
)
# Queued invocations carry the inner code as a number, and these are the function's own fault.


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One answered invocation."""

    answer: Answer
    request_id: str
    code: str
    """Empty when the function returned; else such as `FSS.4010`."""
    log: str
    summary: Mapping[str, Any]

    @property
    def is_function_fault(self) -> bool:
        """Whether the function failed, and not the platform."""
        return self.answer.headers.get("x-is-func-err") == "true" or self.code in _FUNCTION_FAULTS

    @property
    def status(self) -> int:
        """The status that the function answers a gateway with, or that of the invocation."""
        found = self.value
        status = found.get("statusCode") if isinstance(found, dict) else None
        return status if isinstance(status, int) else self.answer.status

    @property
    def value(self) -> Any:
        """The answer, parsed if it is JSON."""
        try:
            return json.loads(self.answer.body)
        except ValueError:
            return self.answer.body.decode("utf-8", "replace")


class InvokeCommand(FgsCommand):
    """Says where the event belongs to those who write it behind the name of the function."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options.

        Raises:
            Failure: something stands behind the name.
        """
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise Failure(
                f"'{ctx.args[0][:80]}' is one argument too many: the event goes behind -d.",
                hint=f"fgs invoke {ctx.params['address'].name} -d {shlex.quote(ctx.args[0][:80])}",
            )
        return rest


@session.command(
    "invoke",
    cls=InvokeCommand,
    examples=('fgs invoke hello -d \'{"name":"fg"}\'', "fgs invoke hello:live -e event.json"),
)
@session.function_argument()
@click.option("-d", "--data", help="The event, as JSON text; default: an empty one.")
@click.option("-e", "--event", help="File that holds the event; - for stdin.")
@click.option("--async", "is_async", is_flag=True, help="Queue it and print the request id.")
@click.option("--wait", is_flag=True, help="With --async: wait until it has run and its destination was told.")
@click.option(
    "--log",
    type=click.Choice(["tail", "none"]),
    help="Whether to show the end of its log; default: tail on a terminal.",
)
@click.option("--memory", type=click.IntRange(1), help="Memory in MB for this run, for functions with dynamic memory.")
@click.option("--raw", is_flag=True, help="Write the bytes of the answer and nothing else.")
@click.option("--out", type=click.Path(dir_okay=False), help="File to write the answer to.")
@click.option("--expect-status", type=int, help="Exit with 12 unless it answers with this status.")
@click.option("--expect", "wanted", help="Exit with 12 unless this holds, such as 'body.ok == true'.")
@click.option("--raise-on-status", is_flag=True, help="Exit with 12 when it answers with status 400 or above.")
@click.option(
    "-n", "--repeat", type=click.IntRange(1, 1_000_000), help="Run it so many times, and report how long they took."
)
@click.option("-c", "--concurrency", type=click.IntRange(1, 256), default=1, help="With -n: run so many at once.")
def invoke(talk: Session, address: Address, **options: Any) -> None:
    """Run FUNCTION and show its answer.

    FUNCTION is name, app/name, name:version, name:alias or a urn; name:!alias is an alias even if a version has
    the same name.
    """
    event = read_event(options["data"], options["event"])
    headers = {"X-Cff-Instance-Memory": str(options["memory"])} if options["memory"] else {}
    if options["repeat"]:
        _repeat(talk, address, event, headers, options)
    elif options["is_async"]:
        _queue(talk, address, event, wait=options["wait"])
    else:
        _once(talk, address, event, headers, options)


def read_event(data: str | None, source: str | None) -> bytes:
    """Return the event from -d or -e; empty when neither is given.

    Raises:
        Failure: both are given, the file cannot be read, or it is not JSON.
    """
    if data is not None and source is not None:
        raise Failure("Give the event with -d or with -e, not with both.")
    try:
        if source == "-":
            event = sys.stdin.buffer.read(MAX_EVENT_BYTES + 1)
        elif source is not None:
            with Path(source).open("rb") as file:
                event = file.read(MAX_EVENT_BYTES + 1)
        else:
            event = (data or "").encode()
    except OSError as error:
        raise Failure(f"The event file {source} cannot be read: {error.strerror}.") from error
    if len(event) > MAX_EVENT_BYTES:
        raise Failure("The event is larger than 6 MB.", hint="Put the data into a store and send where it is.")
    try:
        if event:
            json.loads(event)
    except ValueError as error:
        raise Failure(f"The event is not JSON: {error}", hint="A text needs quotes: -d '\"text\"'") from error
    return event


def _once(talk: Session, address: Address, event: bytes, headers: dict[str, str], options: Mapping[str, Any]) -> None:
    wants_log = (options["log"] or ("tail" if sys.stderr.isatty() else "none")) == "tail"
    if wants_log:
        headers["X-Cff-Log-Type"] = "tail"

    def act(urn: str) -> Answer:
        answer = talk.client.invoke(urn, event, headers=headers)
        # Refusals of the API (unknown function, bad credentials, limits) are raised; what ran is shown.
        if answer.status >= 400 and not _has_run(answer):  # noqa: PLR2004 - where HTTP errors begin
            raise error_of(answer)
        return answer

    result = read_result(talk.at(address, act))
    _show(talk.flags, result, options, wants_log=wants_log)
    if result.code:
        raise failure_of(result, address)
    _check(result, options)


def read_result(answer: Answer) -> Result:
    """Read what the server says of an invocation."""
    headers = answer.headers
    inner = headers.get("x-func-err-code", "0")
    code = f"FSS.{inner}" if inner not in ("", "0") else ""
    if answer.status >= 400:  # noqa: PLR2004 - where HTTP errors begin
        code = error_of(answer).code or code
    try:
        summary = json.loads(headers.get("x-cff-invoke-summary") or "{}")
    except ValueError:
        summary = {}
    log = base64.b64decode(headers.get("x-cff-function-log", "")).decode("utf-8", "replace")
    request_id = headers.get("x-cff-request-id") or headers.get("x-request-id", "")
    return Result(answer=answer, request_id=request_id, code=code, log=log, summary=summary)


def _has_run(answer: Answer) -> bool:
    """Tell failures of the function and of the platform from refusals of the API."""
    is_server_fault = answer.status >= 500 and answer.status != 503  # noqa: PLR2004 - 503 means: did not run
    return answer.headers.get("x-is-func-err") == "true" or is_server_fault


def failure_of(result: Result, address: Address) -> Failure:
    """Return the failure that the exit code is made of."""
    return Failure(
        f"{address} failed: {describe(result.value)}",
        exit_code=ExitCode.FUNCTION_FAILED if result.is_function_fault else ExitCode.PLATFORM_FAILED,
        code=result.code,
        request_id=result.request_id,
        hint=f"fgs logs {address.name} --request-id {result.request_id}",
        http_status=result.answer.status,
    )


def describe(found: Any) -> str:
    """Return the error of a function for people: type, message, and the stack below.

    Args:
        found: the error JSON of the runtime, parsed or as text, perhaps inside of an error of the API; or plain text.
    """
    found = _parsed(found)
    if isinstance(found, str):
        return found.strip() or "no message"
    if not isinstance(found, dict):
        return "no message"
    inner = _parsed(found.get("error_msg"))
    found = inner if isinstance(inner, dict) else found
    kind = str(found.get("errorType") or "")
    text = str(found.get("errorMessage") or found.get("error_msg") or "")
    stack = found.get("stackTrace")
    lines = [str(line).rstrip() for line in stack] if isinstance(stack, list) else []
    return "\n  ".join([f"{kind}{': ' if kind and text else ''}{text}" or "no message", *lines])


def _parsed(value: Any) -> Any:
    """Read a text that is a JSON object; return anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
    except ValueError:
        return value


def _show(flags: Flags, result: Result, options: Mapping[str, Any], *, wants_log: bool) -> None:
    body = result.answer.body
    if options["out"]:
        Path(options["out"]).write_bytes(body)
    if options["raw"]:
        if not options["out"]:
            sys.stdout.buffer.write(body)
        return
    if flags.is_json:
        render.as_json(
            {
                "request_id": result.request_id,
                "status": result.status,
                "error_code": result.code,
                "result": result.value,
                "log": result.log,
                "duration_ms": result.summary.get("duration"),
                "billed_ms": result.summary.get("billingDuration"),
                "memory_mb": result.summary.get("memorySize"),
                "memory_used_mb": result.summary.get("memoryUsed"),
            }
        )
        return
    if not options["out"] and not result.code:
        say(body.decode("utf-8", "replace"))
    if wants_log and result.log:
        note(flags, result.log.rstrip("\n"))
    note(flags, summary_line(result))


def summary_line(result: Result) -> str:
    """Return the line that stands below the answer."""
    found = result.summary
    parts = [f"status {result.status}"]
    if found:
        parts.append(f"{float(found.get('duration', 0)):.1f} ms")
        parts.append(f"billed {found.get('billingDuration')} ms")
        parts.append(f"mem {float(found.get('memoryUsed', 0)):.0f} MB/{found.get('memorySize')} MB")
    start = result.answer.headers.get("x-funclet-start")
    parts += [start] if start else []
    return " · ".join([*parts, f"request {result.request_id}"])


def _check(result: Result, options: Mapping[str, Any]) -> None:
    wanted_status = options["expect_status"]
    reason = ""
    if wanted_status is not None and result.status != wanted_status:
        reason = f"The status is {result.status}, not {wanted_status}."
    elif options["raise_on_status"] and result.status >= 400:  # noqa: PLR2004 - where HTTP errors begin
        reason = f"The status is {result.status}."
    elif options["wanted"] and not expect.holds(options["wanted"], result.value):
        reason = f"This does not hold: {options['wanted']}"
    if reason:
        raise Failure(reason, exit_code=ExitCode.ASSERTION, request_id=result.request_id)


def _queue(talk: Session, address: Address, event: bytes, *, wait: bool) -> None:
    urn = ""

    def act(place: str) -> str:
        nonlocal urn
        urn = place
        return talk.client.invoke_async(place, event)

    request_id = talk.at(address, act)
    if not wait:
        if talk.flags.is_json:
            render.as_json({"request_id": request_id})
        else:
            say(request_id)
        return
    note(talk.flags, f"request {request_id} is queued; waiting")
    try:
        record = asynchronous.wait(talk, urn, request_id)
    except KeyboardInterrupt:
        note(talk.flags, f"it goes on; see: fgs async show {address.name} {request_id}")
        raise
    attempts = _attempts(talk, urn, request_id)
    record = {**record, "attempts": attempts} if attempts else record
    if talk.flags.is_json:
        render.as_json(record)
    else:
        say(f"{record.get('status')} {request_id}" + (f" after {counted(attempts, 'attempt')}" if attempts > 1 else ""))
        for one in record.get("deliveries", ()):
            note(
                talk.flags,
                f"{one['destination']}: {one['status']}{' ' if one['error_message'] else ''}{one['error_message']}",
            )
    if record.get("status") != "SUCCESS":
        code = str(record.get("error_code") or "")
        fault = f"FSS.{code}"
        is_function = fault in _FUNCTION_FAULTS or record.get("status") == "FAIL"
        raise Failure(
            f"{address} failed: {describe(record.get('error_message'))}",
            exit_code=ExitCode.FUNCTION_FAILED if is_function else ExitCode.PLATFORM_FAILED,
            code=fault if code not in ("", "0") else "",
            request_id=request_id,
            hint=f"fgs logs {address.name} --request-id {request_id}",
        )


def _attempts(talk: Session, urn: str, request_id: str) -> int:
    """Return how often it was run; 0 if the server does not say, which must not hide how it ended."""
    try:
        return len(talk.client.logs(urn, request_id=request_id, limit=100))
    except ApiError:
        return 0


def _repeat(talk: Session, address: Address, event: bytes, headers: dict[str, str], options: Mapping[str, Any]) -> None:
    urn = talk.at(address, talk.existing)
    report = load.run(talk, urn, event, headers, count=options["repeat"], concurrency=options["concurrency"])
    _report(talk.flags, report)
    if report.was_interrupted:
        raise KeyboardInterrupt
    if report.failed:
        raise Failure(
            f"{report.failed} of {counted(report.count, 'invocation')} failed.",
            exit_code=ExitCode.FUNCTION_FAILED if report.function_failed else ExitCode.PLATFORM_FAILED,
            hint=f"fgs logs {address.name} --failed",
        )


def _report(flags: Flags, report: load.Report) -> None:
    if flags.is_json:
        render.as_json(report.document())
    else:
        say(report.text())
