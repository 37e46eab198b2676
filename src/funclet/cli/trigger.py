"""`fgs trigger`: list, create, update and delete triggers of a function."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import click

from funclet.cli import project, render, session
from funclet.cli.changes import TRIGGER_TYPES, trigger_name
from funclet.cli.frame import Failure, FgsGroup, confirm, did_you_mean, say
from funclet.cli.session import Address, Session
from funclet.client import ApiError

_COLUMNS = ("trigger_id", "trigger_type_code", "trigger_status", "event_data.name", "event_data.schedule",
            "event_data.invoke_url", "x_status_reason")  # fmt: skip
_MAX_FILE_BYTES = 256 * 1024
_WITH_OPTIONS = ("TIMER", "APIG", "DEDICATEDGATEWAY", "APIC")

trigger = FgsGroup("trigger", help="List, create, update and delete triggers.", no_args_is_help=True)


@session.command("list", examples=("fgs trigger list hello", "fgs trigger list 'hello:!live' -o json"))
@session.function_argument()
def list_(talk: Session, address: Address) -> None:
    """List the triggers of a function."""
    render.rows(talk.flags, talk.at(address, talk.client.list_triggers), columns=_COLUMNS, wide=("created_time",))


@session.command("get", examples=("fgs trigger get hello timer-1", "fgs trigger get hello ID -o json"))
@session.function_argument()
@click.argument("name", metavar="ID_OR_NAME")
def get(talk: Session, address: Address, name: str) -> None:
    """Show one trigger."""
    render.item(talk.flags, _find(talk, address, name), columns=(*_COLUMNS, "event_data", "created_time"))


@session.command("create", examples=("fgs trigger create hello --type TIMER --schedule 3m",
                                     "fgs trigger create hello --type APIG --path /hello --auth NONE",
                                     "fgs trigger create hello --type KAFKA --event-data kafka.json"))  # fmt: skip
@session.function_argument()
@click.option("--type", "type_code", required=True, help="Kind of trigger: TIMER, APIG, KAFKA, OBS, ...")
@click.option("--name", default="", help="Its name; default: timer-1, timer-2, ... or one made of the function's.")
@click.option("--schedule", default="", help="TIMER: how often, such as 3m, 2h or 1d.")
@click.option("--cron", default="", help="TIMER: expression with six fields, seconds first.")
@click.option("--event", default="", help="TIMER: text that the function gets as user_event.")
@click.option("--path", default="", help="APIG: path of the URL; default: / and the name of the function.")
@click.option(
    "--auth",
    type=click.Choice(["NONE", "IAM", "APP"], case_sensitive=False),
    default="IAM",
    show_default=True,
    help="APIG: what callers have to prove; NONE: nothing.",
)
@click.option("--method", default="ANY", show_default=True, help="APIG: GET, POST, ... or ANY.")
@click.option("--status", type=click.Choice(["ACTIVE", "DISABLED"]), help="Whether it fires; default: ACTIVE.")
@click.option("--alias", default="", help="Fire this alias instead of latest.")
@click.option("--event-data", "--from-file", default="", metavar="JSON|FILE|-",
              help="The whole event_data: JSON, a file that holds it, or - for standard input.")  # fmt: skip
def create(talk: Session, address: Address, *, type_code: str, event_data: str, **options: Any) -> None:
    """Create a trigger. Kinds without options of their own take --event-data."""
    given = _event_data(event_data) if event_data else None
    if given is None and type_code.upper() not in TRIGGER_TYPES:
        # With its data the server is asked, which may know more of them.
        raise Failure(
            f"There is no trigger type '{type_code}'.{did_you_mean(type_code.upper(), list(TRIGGER_TYPES))}",
            hint=f"Choose one of: {', '.join(TRIGGER_TYPES)}.",
        )
    if given is None and type_code.upper() not in _WITH_OPTIONS:
        raise Failure(
            f"A trigger of type {type_code.upper()} needs --event-data.",
            hint="""fgs trigger create NAME --type SMN --event-data '{"topic_urn": "..."}'""",
        )
    place = (
        Address(name=address.name, app=address.app, qualifier=f"!{options['alias']}") if options["alias"] else address
    )

    def act(urn: str) -> dict[str, Any]:
        if given is not None:
            data = given
        else:
            members = project.TRIGGER_MEMBERS["TIMER" if type_code.upper() == "TIMER" else "APIG"]
            wanted = [name for name in members if name not in ("alias", "status")]
            entry = {key: value for key, value in options.items() if value and key in wanted}
            if type_code.upper() == "TIMER" and not options["name"]:
                entry["name"] = _free_timer_name(talk.client.list_triggers(urn))
            plan = project.trigger_plan({"type": type_code, **entry}, function=address.name)
            data = dict(plan.event_data)
        body = {"trigger_type_code": type_code.upper(), "event_data": data}
        return talk.client.create_trigger(
            urn, body | ({"trigger_status": options["status"]} if options["status"] else {})
        )

    _show(talk, talk.at(place, act), "created")


@session.command("update", examples=("fgs trigger update hello timer-1 --status DISABLED",
                                     "fgs trigger update hello timer-1 --schedule 5m"))  # fmt: skip
@session.function_argument()
@click.argument("name", metavar="ID_OR_NAME")
@click.option("--status", type=click.Choice(["ACTIVE", "DISABLED"]), help="Whether it fires.")
@click.option("--schedule", default="", help="TIMER: how often, such as 3m, 2h or 1d.")
@click.option("--cron", default="", help="TIMER: expression with six fields, seconds first.")
@click.option("--event-data", "--from-file", default="", metavar="JSON|FILE|-",
              help="Members of event_data to change: JSON, a file that holds it, or - for standard input.")  # fmt: skip
def update(talk: Session, address: Address, name: str, **options: Any) -> None:
    """Change a trigger, or switch it on and off."""
    found = _find(talk, address, name)
    data = _event_data(options["event_data"]) if options["event_data"] else {}
    if options["schedule"] or options["cron"]:
        kind = "Cron" if options["cron"] else "Rate"
        data |= {"schedule_type": kind, "schedule": options["cron"] or options["schedule"]}
    body: dict[str, Any] = {"event_data": data} if data else {}
    body |= {"trigger_status": options["status"]} if options["status"] else {}
    if not body:
        raise Failure("Say what to change.", hint="fgs trigger update --help")
    answer = talk.at(address, lambda urn: talk.client.trigger("PUT", urn, found, body))
    _show(talk, answer or found, "updated")


@session.command("delete", examples=("fgs trigger delete hello timer-1", "fgs trigger delete hello ID -y"))
@session.function_argument()
@click.argument("name", metavar="ID_OR_NAME")
def delete(talk: Session, address: Address, name: str) -> None:
    """Delete a trigger."""
    found = _find(talk, address, name)
    confirm(talk.flags, f"Delete trigger {trigger_name(found)} of {address.name}?")
    talk.at(address, lambda urn: talk.client.trigger("DELETE", urn, found))
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "trigger", "name": found.get("trigger_id")}]})
    else:
        say(f"deleted {found.get('trigger_type_code')} trigger {trigger_name(found)} of {address.name}")


def _free_timer_name(triggers: Sequence[dict[str, Any]]) -> str:
    """Return `timer-<n>`, where n counts the timers, or the next number that is free."""
    names = [_plain_name(row) for row in triggers if row.get("trigger_type_code") == "TIMER"]
    return next(name for name in (f"timer-{n}" for n in count(len(names) + 1)) if name not in names)


def _find(talk: Session, address: Address, name: str) -> dict[str, Any]:
    """Return a trigger by its id or by its name or path."""
    rows = talk.at(address, talk.client.list_triggers)
    found = [row for row in rows if name in (row.get("trigger_id"), trigger_name(row), _plain_name(row))]
    if len(found) > 1:
        ids = ", ".join(str(row.get("trigger_id")) for row in found)
        raise Failure(f"Several triggers of {address.name} are called '{name}'.", hint=f"Use the id: {ids}")
    if not found:
        message = f"Function '{address.name}' has no trigger '{name}'."
        raise ApiError(status=404, code="FSS.1131", message=message)
    return found[0]


def _plain_name(row: dict[str, Any]) -> str:
    return str(render.member(row, "event_data.name") or "")


def _event_data(text: str) -> dict[str, Any]:
    """Return the object that is given as JSON, as the name of a file, or on standard input."""
    try:
        if not text.lstrip().startswith("{"):
            with click.open_file(text, "rb") as file:
                text = file.read(_MAX_FILE_BYTES).decode()
        found = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(f"The event data cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise Failure("The event data must be a JSON object.")
    return found


def _show(talk: Session, found: dict[str, Any], verb: str) -> None:
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=(*_COLUMNS, "event_data", "created_time"))
        return
    say(f"{verb} {found.get('trigger_type_code')} trigger {trigger_name(found)} ({found.get('trigger_id')})")
    if found.get("x_status_reason"):
        say(f"note: {found['x_status_reason']}")
    url = render.member(found, "event_data.invoke_url")
    if url:
        say(f"url: {url}")


for _command in (list_, get, create, update, delete):
    trigger.add_command(_command)
