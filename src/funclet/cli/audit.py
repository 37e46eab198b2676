"""`fgs audit`: who did what."""

import json
import time

import click

from funclet.cli import render, session
from funclet.cli.frame import parse_duration_s, say
from funclet.cli.session import Session

_PAGE = 200
_COLUMNS = ("time", "user.name", "operation", "outcome", "code", "resource_name", "source_ip", "count")
_WIDE = ("action", "error_code", "request_id")


@session.command("audit", examples=("fgs audit --since 1h", "fgs audit --outcome denied --user ann",
                                    "fgs audit --limit 100000 --lines > audit.jsonl"))  # fmt: skip
@click.option("--since", default="", help="Only what is not older, such as 1h or 7d.")
@click.option("--user", default="", help="Only calls of this user.")
@click.option("--operation", default="", help="Only calls of this operation, such as DeleteFunction.")
@click.option("--outcome", type=click.Choice(["", "done", "denied", "failed"]), default="", help="Only such calls.")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="At most so many.")
@click.option("--lines", is_flag=True, help="One JSON document per line.")
def audit(talk: Session, *, since: str, limit: int, lines: bool, **filters: str) -> None:
    """List changing and denied calls, newest first."""
    if since:
        filters["from"] = f"{time.time() - parse_duration_s(since):.3f}"
    found: list[dict[str, object]] = []
    marker = 0
    while len(found) < limit:
        size = min(_PAGE, limit - len(found))
        page = talk.client.send("GET", "/funclet/traces", None, marker=marker, **filters, limit=size)
        found += page["traces"]
        if len(page["traces"]) < size:
            break
        marker = page["next_marker"]
    if lines:
        for row in found:
            say(json.dumps(row, ensure_ascii=False))
    else:
        render.rows(talk.flags, found, columns=_COLUMNS, wide=_WIDE)
