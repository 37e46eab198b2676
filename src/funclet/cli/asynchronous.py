"""`fgs async`: list, show, cancel and replay asynchronous requests; and how `fgs invoke --async --wait` follows one."""

import time
from collections.abc import Sequence
from typing import Any

import click

from funclet.cli import async_config, render, session
from funclet.cli.frame import ExitCode, Failure, FgsGroup, confirm, note, say
from funclet.cli.session import Address, Session
from funclet.client import ApiError, segment

POLL_S = 0.3
FINAL = ("SUCCESS", "FAIL", "DISCARD")
_COLUMNS = ("request_id", "status", "start_time", "end_time", "error_code", "error_message")
_LETTER_COLUMNS = ("id", "request_id", "function_urn", "destination", "reason", "first_seen")
_LETTERS = "/funclet/dead-letters"
_DELIVERED = ("SENT", "DEAD")

Document = dict[str, Any]

asynchronous = FgsGroup("async", help="List, show, cancel and replay asynchronous requests.", no_args_is_help=True)


@session.command(
    "list", examples=("fgs async list hello", "fgs async list hello --status FAIL --since 2026-01-31T12:00:00Z")
)
@session.function_argument()
@click.option(
    "--status", type=click.Choice(["WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD"]), help="Only those in this state."
)
@click.option("--since", default="", help="Accepted at this time or later; default: an hour ago.")
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="At most so many.")
def list_(talk: Session, address: Address, status: str | None, since: str, limit: int) -> None:
    """List the asynchronous requests of a function, newest first."""

    def act(urn: str) -> list[Document]:
        path = f"/fgs/functions/{segment(urn)}/async-invocations"
        found = talk.client.send("GET", path, limit=limit, status=status or "", query_begin_time=since)
        return list(found["invocations"])

    render.rows(talk.flags, talk.at(address, act), columns=_COLUMNS)


@session.command("show", examples=("fgs async show hello 0197a3e2-...", "fgs async show hello 0197a3e2-... -o json"))
@session.function_argument()
@click.argument("request_id")
def show(talk: Session, address: Address, request_id: str) -> None:
    """Show one asynchronous request, and what became of its notification."""

    def act(urn: str) -> Document:
        path = f"/fgs/functions/{segment(urn)}/active-async-invocations"
        found = talk.client.send("GET", path, requests=request_id)["invocations"]
        if not found:
            raise Failure(
                f"{address} has no asynchronous request {request_id}.",
                exit_code=ExitCode.NOT_FOUND,
                hint=f"fgs async list {address}",
            )
        return {**found[0], "deliveries": deliveries(talk, request_id)}

    render.item(talk.flags, talk.at(address, act), columns=(*_COLUMNS, "deliveries"))


@session.command(
    "cancel", examples=("fgs async cancel hello 0197a3e2-...", "fgs async cancel hello 0197a3e2-... --force")
)
@session.function_argument()
@click.argument("request_id")
@click.option("--force", is_flag=True, help="End its instance at once, with everything else that runs in it.")
@click.option("--recursive", is_flag=True, help="Also cancel what this request has caused.")
def cancel(talk: Session, address: Address, request_id: str, *, force: bool, recursive: bool) -> None:
    """End an asynchronous request that waits or runs; it is not tried again."""

    def act(urn: str) -> None:
        body = {"request_id": request_id, "force": force, "recursive": recursive}
        talk.client.send("POST", f"/fgs/functions/{segment(urn)}/cancel", body)

    talk.at(address, act)
    note(talk.flags, f"request {request_id} is cancelled")


@session.command("dead-letters", examples=("fgs async dead-letters", "fgs async dead-letters -o json"))
@click.option("-n", "--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="At most so many.")
def dead_letters(talk: Session, limit: int) -> None:
    """List failures that no destination was told of, newest first."""
    render.rows(
        talk.flags,
        talk.client.send("GET", _LETTERS, limit=limit)["dead_letters"],
        columns=_LETTER_COLUMNS,
        wide=("document",),
    )


@session.command("replay", examples=("fgs async replay 17", "fgs async replay 17 -q"))
@click.argument("letter_id", type=click.IntRange(1))
def replay(talk: Session, letter_id: int) -> None:
    """Send a dead letter again: to its destination, or without one its event to its function."""
    say(str(talk.client.send("POST", f"{_LETTERS}/{letter_id}/replay")["request_id"]))


@session.command("purge", examples=("fgs async purge 17 18", "fgs async purge --all -y"))
@click.argument("letter_ids", type=click.IntRange(1), nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Delete all dead letters of the project.")
def purge(talk: Session, letter_ids: Sequence[int], *, is_all: bool) -> None:
    """Delete dead letters."""
    if bool(letter_ids) == is_all:
        raise Failure("Name the letters, or say --all.")
    if is_all:
        confirm(talk.flags, "Delete all dead letters of the project?")
    count = talk.client.send("DELETE", _LETTERS, {"ids": list(letter_ids)})["count"]
    note(talk.flags, f"{count} deleted")


def wait(talk: Session, urn: str, request_id: str) -> Document:
    """Ask until a request has ended, and then until its destination has been told, if it has one.

    --timeout limits single answers, Ctrl-C the whole. What was sent is in the member `deliveries`.
    """
    while True:
        record = talk.client.async_record(urn, request_id)
        if record is not None and record.get("status") in FINAL:
            break
        time.sleep(POLL_S)
    while True:
        sent = deliveries(talk, request_id)
        if all(one["status"] in _DELIVERED for one in sent):
            return {**record, "deliveries": sent} if sent else record
        time.sleep(POLL_S)


def deliveries(talk: Session, request_id: str) -> list[Document]:
    """Return what was sent to destinations; nothing if the server does not say, which must hide nothing else."""
    try:
        return list(talk.client.send("GET", f"/funclet/async/{segment(request_id)}/deliveries")["deliveries"])
    except ApiError:
        return []


for _command in (list_, show, cancel, dead_letters, replay, purge, async_config.config):
    asynchronous.add_command(_command)
