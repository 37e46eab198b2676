"""`fgs function reserve`, `instances` and `stats`: what is kept ready, what is there, and what was used."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from funclet.base.clock import utc_text
from funclet.cli import render, session
from funclet.cli.frame import Failure
from funclet.cli.session import Address, Session
from funclet.client import segment
from funclet.model.billing import Prices, Usage, charge

# Times are long enough to tell them from what a list in the expression ends with.
_SCHEDULE = re.compile(r"([^,]+),(.+?),(\d{1,4})(?:,([^,]{9,}|),([^,]{9,}|))?")
_METRIC_PARTS = 3
_CONFIG_COLUMNS = ("qualifier_name", "qualifier_type", "min_count", "idle_mode", "tactics_config")
_INSTANCE_COLUMNS = ("instance_id", "version", "state", "reserved", "memory_size", "started_at", "served")
_STAT_COLUMNS = (
    "time", "count", "fail_count", "reject_count", "duration", "min_duration", "max_duration", "concurrency_num",
    "instance_num", "reserved_instance_num",
)  # fmt: skip
_MONTH_COLUMNS = ("month", "count", "gbs", "idle_gbs", "estimate")
_NO_DATA = -1

Document = dict[str, Any]


@session.command(
    "reserve",
    examples=(
        "fgs function reserve hello --count 2",
        "fgs function reserve hello:live --schedule 'day,0 0 8 * * ?,10' --schedule 'night,0 0 20 * * ?,0'",
    ),
)
@session.function_argument()
@click.option("--count", type=click.IntRange(0, 1000), help="Instances that are always kept ready; 0: none.")
@click.option("--idle/--no-idle", "is_idle", default=False, help="Whether they have no CPU between requests.")
@click.option(
    "--schedule",
    "schedules",
    multiple=True,
    metavar="NAME,CRON,COUNT[,FROM,TO]",
    help="Keep COUNT from each time of CRON on. FROM and TO: seconds since 1970, or a time. May be repeated.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME,THRESHOLD,MIN",
    help="Keep so many that THRESHOLD percent of them are at work, and at least MIN. May be repeated.",
)
def reserve(
    talk: Session,
    address: Address,
    count: int | None,
    schedules: Sequence[str],
    metrics: Sequence[str],
    *,
    is_idle: bool,
) -> None:
    """Show or set how many instances of a version or alias are kept ready. What is set replaces what was set before."""
    if count is None and not schedules and not metrics:
        render.rows(talk.flags, talk.at(address, lambda urn: _configs(talk, urn)), columns=_CONFIG_COLUMNS)
        return
    tactics = {
        "cron_configs": [_schedule(text) for text in schedules],
        "metric_configs": [_metric(text) for text in metrics],
    }
    body = {
        "count": count or 0,
        "idle_mode": is_idle,
        "tactics_config": {name: found for name, found in tactics.items() if found},
    }

    def act(urn: str) -> Document:
        return dict(talk.client.send("PUT", f"/fgs/functions/{segment(urn)}/reservedinstances", body))

    render.item(talk.flags, talk.at(address, act), columns=("count", "idle_mode", "tactics_config"))


@session.command("instances", examples=("fgs function instances hello", "fgs function instances hello -o json"))
@session.function_argument()
def instances(talk: Session, address: Address) -> None:
    """List the instances of a function that are ready or at work."""

    def act(urn: str) -> list[Document]:
        return list(talk.client.send("GET", f"/funclet/functions/{segment(urn)}/instances")["instances"])

    render.rows(talk.flags, talk.at(address, act), columns=_INSTANCE_COLUMNS)


@session.command(
    "stats",
    examples=("fgs function stats hello --minutes 60", "fgs function stats hello:v1 -o json", "fgs function stats"),
)
@click.argument("name", default="")
@click.option("--minutes", type=click.IntRange(1, 655_200), default=15, show_default=True, help="How far back.")
@click.option("--months", is_flag=True, help="What the project has used in the last six months.")
def stats(talk: Session, name: str, minutes: int, *, months: bool) -> None:
    """Show requests, failures, durations and instances by time: of a function, or without a name of the project."""
    if months:
        render.rows(talk.flags, _months(talk), columns=_MONTH_COLUMNS)
        return
    if name:
        found = talk.at(
            session.parse_address(name),
            lambda urn: talk.client.send("GET", f"/fgs/functions/{segment(urn)}/slareports/{minutes}"),
        )
    else:
        path = "/fgs/functions/statistics"
        found = talk.client.send("GET", path, filter="monitor_data", period=minutes, limit=500)["statistics"]
    render.rows(talk.flags, _points(found), columns=_STAT_COLUMNS)


def _configs(talk: Session, urn: str) -> list[Document]:
    found = talk.client.send("GET", "/fgs/functions/reservedinstanceconfigs", function_urn=urn, limit=500)
    return list(found["reserved_instances"])


def _points(series: Document) -> list[Document]:
    """Return one row for each point of time; what is not known is left out."""
    rows: dict[int, Document] = {}
    for name, points in series.items():
        for point in points:
            row = rows.setdefault(point["timestamp"], {"time": utc_text(point["timestamp"] / 1000)})
            row[name] = None if point["value"] == _NO_DATA else point["value"]
    return [rows[at] for at in sorted(rows)]


def _months(talk: Session) -> list[Document]:
    """Return the months with what the cloud would ask for them, in yuan at its list prices."""
    found = talk.client.send("GET", "/fgs/functions/statistics", filter="monthly_report", option="3")
    rows = []
    for count, all_, idle in zip(found["count"], found["gbs"], found["idle_gbs"], strict=True):
        usage = Usage(requests=count["value"], active_gb_s=all_["value"] - idle["value"], idle_gb_s=idle["value"])
        rows.append(
            {
                "month": count["date"],
                "count": count["value"],
                "gbs": all_["value"],
                "idle_gbs": idle["value"],
                "estimate": round(charge(usage, Prices()), 2),
            }
        )
    return rows


def _schedule(text: str) -> Document:
    match = _SCHEDULE.fullmatch(text)
    if match is None:
        raise Failure(f"'{text}' is no schedule.", hint="--schedule 'day,0 0 8 * * ?,10'")
    name, cron, count, begin, end = match.groups()
    times = {"start_time": _seconds(begin), "expired_time": _seconds(end)}
    known = {key: value for key, value in times.items() if value is not None}
    return {"name": name, "cron": cron, "count": int(count), **known}


def _metric(text: str) -> Document:
    parts = text.split(",")
    if len(parts) != _METRIC_PARTS or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise Failure(f"'{text}' is no policy by load.", hint="--metric busy,60,2")
    return {"name": parts[0], "type": "Concurrency", "threshold": int(parts[1]), "min": int(parts[2])}


def _seconds(text: str | None) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Failure(f"'{text}' is no time.", hint="2026-03-17T08:00:00Z, or seconds since 1970") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
