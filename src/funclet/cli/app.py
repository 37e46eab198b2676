"""`fgs app`: applications, which are functions with their triggers, dependencies and settings, made from a template.

An application or a template is named by its name or by its id.
"""

from collections.abc import Sequence
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import Failure, FgsGroup, confirm, note, say
from funclet.cli.session import Session
from funclet.client import ApiError, Client, Document, Json, segment

_PATH, _TEMPLATES = "/fgs/applications", "/fgs/application/templates"
_RESOURCE = ("logical_resource_type", "logical_resource_name", "physical_resource_name", "resource_status")
_MAX_PAGE = 500

app = FgsGroup("app", help="Make applications from templates, show and delete them.", no_args_is_help=True)
template = FgsGroup("template", help="List and show the templates of applications.", no_args_is_help=True)
app.add_command(template)


@session.command("list", examples=("fgs app template list", "fgs app template list -o json"))
def list_templates(talk: Session) -> None:
    """List the templates that come with the server."""
    found = list(talk.client.pages(_TEMPLATES, "templates"))
    render.rows(talk.flags, found, columns=("name", "category", "runtime", "description"), wide=("id",))


@session.command("show", examples=("fgs app template show notes", "fgs app template show notes -o json"))
@click.argument("name")
def show_template(talk: Session, name: str) -> None:
    """Show what a template makes, and which parameters it takes."""
    found = _document(talk.client.send("GET", f"{_TEMPLATES}/{segment(_find(talk.client, 'template', name))}"))
    columns = ("name", "category", "runtime", "description", "template_guide", "params", "deploy_count")
    render.item(talk.flags, found, columns=columns)


@session.command("list", examples=("fgs app list", "fgs app list -o json"))
def list_(talk: Session) -> None:
    """List the applications of the project."""
    found = list(talk.client.pages(_PATH, "applications", limit=_MAX_PAGE))
    render.rows(talk.flags, found, columns=("name", "status", "description"), wide=("id", "last_modified_time"))


@session.command("show", examples=("fgs app show shop", "fgs app show shop -o json"))
@click.argument("name")
def show(talk: Session, name: str) -> None:
    """Show an application: its resources, and what has become of them."""
    _show(talk, _application(talk.client, _find(talk.client, "application", name)))


@session.command(
    "create",
    examples=(
        "fgs app create shop --template notes --param title=Shop",
        "fgs app create hooks --template webhook-relay --param secret=KEY --param target_url=https://example.com/in",
    ),
)
@click.argument("name")
@click.option("--template", "template_name", required=True, help="Name or id of the template.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the template; repeatable.")
@click.option("--description", default="", help="Text that says what it is.")
@click.option("--agency", default="", help="Agency of its functions.")
def create(
    talk: Session, name: str, *, template_name: str, params: Sequence[str], description: str, agency: str
) -> None:
    """Make everything that a template describes, or nothing, and show where it answers."""
    body = {
        "name": name,
        "template_id": _find(talk.client, "template", template_name),
        "params": _parameters(params),
        "description": description,
        "agency_name": agency,
    }
    made = _document(talk.client.send("POST", _PATH, body))
    found = _application(talk.client, str(made["application_id"]))
    note(talk.flags, f"created {name} ({made['application_id']})")
    _show(talk, found)


@session.command("delete", examples=("fgs app delete shop", "fgs app delete shop -y"))
@click.argument("name")
def delete(talk: Session, name: str) -> None:
    """Delete an application with those of its resources that are still there."""
    application_id = _find(talk.client, "application", name)
    confirm(talk.flags, f"Delete the application {name} with its resources?")
    answer = talk.client.call("DELETE", talk.client.path(f"{_PATH}/{segment(application_id)}"))
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "application", "name": name}]})
    else:
        say(f"deleted {name}")
    kept = answer.headers.get("x-cff-warning", "")
    if kept:
        note(talk.flags, f"note: {kept} (other functions use it)")


def _show(talk: Session, found: Document) -> None:
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=("name", "status", "id", "apig_url", "description", "stack_resources"))
        return
    for row in found["stack_resources"]:
        say("  ".join(str(row[member]) for member in _RESOURCE))
    if found["apig_url"]:
        say(f"url: {found['apig_url']}")


def _application(client: Client, application_id: str) -> Document:
    return _document(client.send("GET", f"{_PATH}/{segment(application_id)}"))


def _find(client: Client, kind: str, name: str) -> str:
    """Return the id of an application or template.

    Raises:
        ApiError: there is none of this name or id.
    """
    path, member = (_TEMPLATES, "templates") if kind == "template" else (_PATH, "applications")
    rows = client.pages(path, member, limit=_MAX_PAGE)
    found = next((row for row in rows if name in (row.get("name"), row.get("id"))), None)
    if found is None:
        code = "FSS.1059" if kind == "template" else "FSS.0404"
        raise ApiError(status=404, code=code, message=f"There is no {kind} '{name}'.")
    return str(found["id"])


def _parameters(pairs: Sequence[str]) -> dict[str, str]:
    params = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise Failure(f"--param '{pair}' is not NAME=VALUE.")
        params[name] = value
    return params


def _document(value: Json) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


for _command in (list_templates, show_template):
    template.add_command(_command)
for _command in (list_, show, create, delete):
    app.add_command(_command)
