"""`fgs async config`: how the asynchronous requests of a version are treated, and where their outcomes go."""

import json
from typing import Any
from urllib.parse import parse_qs

import click

from funclet.cli import render, session
from funclet.cli.frame import Failure, FgsGroup, note
from funclet.cli.session import Address, Session, parse_address
from funclet.client import Answer, ApiError, segment

_COLUMNS = (
    "func_urn", "max_async_retry_attempts", "max_async_event_age_in_seconds", "destination_config",
    "enable_async_status_log", "last_modified",
)  # fmt: skip
_NOT_FOUND = 404
_FORMS = "fn:NAME, obs:BUCKET[/PREFIX][?expires=DAYS], smn:TOPIC_URN, dis:STREAM or none"

Document = dict[str, Any]

config = FgsGroup("config", help="Show, set and remove the settings of asynchronous requests.", no_args_is_help=True)


@session.command("show", examples=("fgs async config show hello", "fgs async config show hello:v1 -o json"))
@session.function_argument()
def show(talk: Session, address: Address) -> None:
    """Show the settings of a version."""
    render.item(talk.flags, talk.at(address, lambda urn: dict(talk.client.send("GET", _path(urn)))), columns=_COLUMNS)


@session.command(
    "set",
    examples=(
        "fgs async config set hello --retries 2 --max-age 600",
        "fgs async config set hello --on-success fn:next --on-failure 'obs:failures/orders?expires=30'",
    ),
)
@session.function_argument()
@click.option("--retries", type=click.IntRange(0, 3), help="How often an error of the function is tried again.")
@click.option("--max-age", type=click.IntRange(1, 86_400), help="Seconds after which it is not tried any more.")
@click.option("--on-success", metavar="DESTINATION", help=f"Who is told of successes: {_FORMS}.")
@click.option("--on-failure", metavar="DESTINATION", help="Who is told of failures, likewise.")
@click.option("--status-log/--no-status-log", default=None, help="Whether changes of state are logged.")
def set_(
    talk: Session,
    address: Address,
    *,
    retries: int | None,
    max_age: int | None,
    on_success: str | None,
    on_failure: str | None,
    status_log: bool | None,
) -> None:
    """Set some of the settings of a version; the others stay as they are."""
    given = {
        "max_async_retry_attempts": retries,
        "max_async_event_age_in_seconds": max_age,
        "enable_async_status_log": status_log,
    }
    told = {"on_success": on_success, "on_failure": on_failure}
    destinations = {name: _destination(talk, text) for name, text in told.items() if text is not None}

    def act(urn: str) -> Answer:
        body = _current(talk, urn) | {name: value for name, value in given.items() if value is not None}
        body["destination_config"] = body.get("destination_config", {}) | destinations
        return talk.client.call("PUT", talk.client.path(_path(urn)), body=json.dumps(body).encode())

    answer = talk.at(address, act)
    render.item(talk.flags, answer.json(), columns=_COLUMNS)
    if answer.headers.get("x-cff-warning") == "destination-cycle":
        click.echo(f"warning: these destinations lead back to {address}; the server cuts such a chain off.", err=True)


@session.command("remove", examples=("fgs async config remove hello", "fgs async config remove hello:v1"))
@session.function_argument()
def remove(talk: Session, address: Address) -> None:
    """Remove the settings of a version: no retries, an hour's age, nobody is told."""
    talk.at(address, lambda urn: talk.client.send("DELETE", _path(urn)))
    note(talk.flags, f"{address} has no asynchronous settings any more")


def _path(urn: str) -> str:
    return f"/fgs/functions/{segment(urn)}/async-invoke-config"


def _current(talk: Session, urn: str) -> Document:
    """Return the settings of a version; none if it has none, or is not there: the server will say so."""
    try:
        return dict(talk.client.send("GET", _path(urn)))
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        return {}


def _destination(talk: Session, text: str) -> Document:
    """Return a destination as the server takes it; an empty one stands for none."""
    kind, _, rest = text.partition(":")
    if text == "none":
        return {}
    if not rest or kind not in ("fn", "obs", "smn", "dis"):
        raise Failure(f"'{text}' is no destination.", hint=f"Write {_FORMS}.")
    if kind == "fn":
        return _as_sent("FunctionGraph", func_urn=_full_urn(talk, rest))
    if kind == "smn":
        return _as_sent("SMN", topic_urn=rest)
    if kind == "dis":
        return _as_sent("DIS", stream_name=rest)
    place, _, query = rest.partition("?")
    bucket, _, prefix = place.partition("/")
    expires = parse_qs(query).get("expires", ["0"])[-1]
    if not (expires.isascii() and expires.isdigit()):
        raise Failure(f"'{expires}' is no number of days.", hint=f"Write {_FORMS}.")
    return _as_sent("OBS", bucket=bucket, prefix=prefix, expires=int(expires))


def _as_sent(kind: str, **param: str | int) -> Document:
    return {"destination": kind, "param": json.dumps(param)}


def _full_urn(talk: Session, text: str) -> str:
    """Return the full urn of a function, with the version or alias that was named."""
    address = parse_address(text)
    found = str(talk.at(address, talk.client.function_config)["func_urn"])
    return f"{found.rsplit(':', 1)[0]}:{address.qualifier}" if address.qualifier else found


for _command in (show, set_, remove):
    config.add_command(_command)
