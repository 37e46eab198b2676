"""`fgs logs`: the log of a function, once or as it grows."""

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import Failure, note, parse_duration_s, say
from funclet.cli.session import Address, Session
from funclet.client import ApiError, NetworkError

_POLL_S = 0.5
_RECONNECT_S = 1.0
_SUCCESS = "success"

Record = Mapping[str, Any]


@session.command("logs", examples=("fgs logs hello --since 10m", "fgs logs hello -f --failed"))
@session.function_argument()
@click.option("-f", "--follow", is_flag=True, help="Show new records as they come, until Ctrl-C.")
@click.option("--since", help="Only records of this last time, such as 10m or 2h.")
@click.option("--start", help="Only from this time on: 2026-01-31T12:00:00 (local), or with Z (UTC).")
@click.option("--end", help="Only until this time.")
@click.option("--request-id", default="", help="Only the invocation with this request id.")
@click.option("--failed", is_flag=True, help="Only invocations that failed.")
@click.option("--cold", is_flag=True, help="Only invocations that started an instance.")
@click.option("--version", default="", help="Only this version.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many records."
)
@click.option(
    "-o",
    "--output",
    "view",
    type=click.Choice(["pretty", "raw", "json"]),
    help="raw: only what was written; default: pretty.",
)
def logs(talk: Session, address: Address, **options: Any) -> None:
    """Show what invocations of FUNCTION wrote, oldest first."""
    view = options["view"] or ("json" if talk.flags.is_json else "pretty")
    filters = _filters(options)
    urn = talk.at(address, talk.existing)
    if options["follow"]:
        _follow(talk, urn, filters, options, view)
        return
    found = [record for record in talk.client.logs(urn, **filters) if _is_wanted(record, options)]
    if view == "json":
        render.as_json(found)
        return
    _write(found, view)
    if not found:
        is_off = talk.client.function_config(urn).get("enable_lts_log") is False
        why = "; its log is switched off (enable_lts_log)" if is_off else ""
        note(talk.flags, f"{address} has no log records of this kind{why}.")


def _filters(options: Mapping[str, Any]) -> dict[str, str | int]:
    filters: dict[str, str | int] = {"limit": options["limit"]}
    if options["since"] and options["start"]:
        raise Failure("Give --since or --start, not both.")
    if options["since"]:
        filters["since"] = f"{time.time() - parse_duration_s(options['since']):.3f}"
    for name, wire in (("start", "since"), ("end", "until")):
        if options[name]:
            filters[wire] = f"{_moment(options[name]):.3f}"
    if options["request_id"]:
        filters["request_id"] = options["request_id"]
    return filters


def _moment(text: str) -> float:
    """Read a time of day and date as seconds since the epoch."""
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as error:
        raise Failure(
            f"'{text}' is no time.", hint="Write it like 2026-01-31T12:00:00 or 2026-01-31T12:00:00Z."
        ) from error


def _is_wanted(record: Record, options: Mapping[str, Any]) -> bool:
    if options["failed"] and str(record.get("outcome")) == _SUCCESS:
        return False
    if options["cold"] and not record.get("cold"):
        return False
    return not options["version"] or record.get("version") == options["version"]


def _follow(talk: Session, urn: str, filters: dict[str, str | int], options: Mapping[str, Any], view: str) -> None:
    """Ask again and again for what is newer; a server that restarts is waited for."""
    if "since" not in filters:
        filters["since"] = f"{time.time():.3f}"
    is_lost = False
    while True:
        try:
            found = talk.client.logs(urn, **filters)
        except NetworkError as error:
            if not is_lost:
                note(talk.flags, f"{error}; trying again until it is back")
            is_lost = True
            time.sleep(_RECONNECT_S)
            continue
        except ApiError as error:
            if error.status < 500:  # noqa: PLR2004 - where faults of the server begin
                raise
            time.sleep(_RECONNECT_S)
            continue
        is_lost = False
        if found:
            filters["after"] = int(found[-1]["id"])
        _write((record for record in found if _is_wanted(record, options)), view)
        time.sleep(_POLL_S)


def _write(records: Iterable[Record], view: str) -> None:
    for record in records:
        if view == "json":
            say(json.dumps(record, ensure_ascii=False))
        elif view == "raw":
            say(str(record.get("text", "")).rstrip("\n"))
        else:
            _pretty(record)


def _pretty(record: Record) -> None:
    outcome = str(record.get("outcome"))
    color = "green" if outcome == _SUCCESS else "red"
    cold = " cold" if record.get("cold") else ""
    duration_ms = float(record.get("duration_ms") or 0)
    head = f"{_local(str(record.get('time')))} {record.get('version')} {record.get('request_id')}"
    say(f"{head} {click.style(outcome, fg=color)} {duration_ms:.1f} ms{cold}")
    for line in str(record.get("text", "")).splitlines():
        say(f"  {line}")


def _local(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except ValueError:
        return text
