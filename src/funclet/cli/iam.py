"""`fgs iam`: users, groups, access keys, policies, agencies, and who may do what.

People name things by their names; the ids that the server wants are looked up.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import ExitCode, Failure, FgsGroup, confirm, say
from funclet.cli.session import Session
from funclet.client import segment

_USERS, _GROUPS, _ROLES = "/v3/users", "/v3/groups", "/v3/roles"
_KEYS, _POLICIES, _AGENCIES = "/v3.0/OS-CREDENTIAL/credentials", "/v3.0/OS-ROLE/roles", "/v3.0/OS-AGENCY"
_PROJECTS, _PROJECT_STATES = "/v3/projects", "/v3-ext/projects"
_MAX_FILE_BYTES = 64 * 1024

iam = FgsGroup("iam", help="Manage users and what they may do.", no_args_is_help=True)
user = FgsGroup("user", help="List, create, change and delete users.", no_args_is_help=True)
group = FgsGroup("group", help="List, create and delete groups, and say who is in them.", no_args_is_help=True)
key = FgsGroup("key", help="List, create, switch and delete access keys.", no_args_is_help=True)
policy = FgsGroup(
    "policy",
    help="List, write, grant and revoke policies.",
    synonyms=dict.fromkeys(("create", "add", "new", "update", "set"), "put"),
    no_args_is_help=True,
)
project = FgsGroup("project", help="List, create, suspend and delete projects.", no_args_is_help=True)
agency = FgsGroup("agency", help="List, create and delete agencies.", no_args_is_help=True)


def _send(talk: Session, method: str, path: str, document: Any = None, **query: str) -> Any:
    body = b"" if document is None else json.dumps(document, ensure_ascii=False).encode()
    return talk.client.call(method, path, query=query, body=body).json()


def _id_of(talk: Session, path: str, kind: str, name: str) -> str:
    """Return the id of what has this name.

    Raises:
        Failure: there is none.
    """
    found = _send(talk, "GET", path)[kind]
    for row in found:
        if name in (row["id"], row.get("display_name") or row["name"]):
            return str(row["id"])
    names = ", ".join(sorted(row.get("display_name") or row["name"] for row in found)) or "none"
    raise Failure(f"There is no '{name}' among the {kind} (there are: {names}).", exit_code=ExitCode.NOT_FOUND)


def _user_id(talk: Session, name: str) -> str:
    return _id_of(talk, _USERS, "users", name)


def _group_id(talk: Session, name: str) -> str:
    return _id_of(talk, _GROUPS, "groups", name)


def _done(talk: Session, text: str, found: Any = None) -> None:
    if talk.flags.is_json:
        render.as_json(found if found is not None else {"done": text})
    else:
        say(text)


@session.command("list", examples=("fgs iam user list", "fgs iam user list -o json"))
def list_users(talk: Session) -> None:
    """List users; without permission to see others, only yourself."""
    found = _send(talk, "GET", _USERS)["users"]
    render.rows(talk.flags, found, columns=("name", "enabled", "email", "last_login_time", "id"), wide=("description",))


@session.command("create", examples=("fgs iam user create ann --password-file -",
                                     "fgs iam user create robot --group operators"))  # fmt: skip
@click.argument("name")
@click.option("--password-file", default="", help="File that holds the password; - reads stdin. Default: no password.")
@click.option("--email", default="", help="Address of the user.")
@click.option("--description", default="", help="Who this is.")
@click.option("--group", "groups", multiple=True, help="Group to join; may be given several times.")
def create_user(talk: Session, name: str, *, password_file: str, groups: tuple[str, ...], **members: str) -> None:
    """Create a user, who may do what the groups may and nothing else."""
    group_ids = [_group_id(talk, one) for one in groups]
    body: dict[str, Any] = {"name": name, **members}
    if password_file:
        body["password"] = _read(password_file)
    made = _send(talk, "POST", _USERS, {"user": body})["user"]
    for group_id in group_ids:
        _send(talk, "PUT", f"{_GROUPS}/{group_id}/users/{made['id']}")
    _done(talk, f"created user {name}", made)


@session.command("password", examples=("fgs iam user password ann --password-file -",
                                       "fgs iam user password ann --password-file new.txt"))  # fmt: skip
@click.argument("name")
@click.option("--password-file", required=True, help="File that holds the new password; - reads stdin.")
def set_password(talk: Session, name: str, *, password_file: str) -> None:
    """Give a user another password; all tokens of the user end."""
    _send(talk, "PATCH", f"{_USERS}/{_user_id(talk, name)}", {"user": {"password": _read(password_file)}})
    _done(talk, f"changed the password of {name}")


@session.command("enable", examples=("fgs iam user enable ann", "fgs iam user enable ann -o json"))
@click.argument("name")
def enable_user(talk: Session, name: str) -> None:
    """Let a user in again."""
    _send(talk, "PATCH", f"{_USERS}/{_user_id(talk, name)}", {"user": {"enabled": True}})
    _done(talk, f"enabled {name}")


@session.command("disable", examples=("fgs iam user disable ann", "fgs iam user disable ann -o json"))
@click.argument("name")
def disable_user(talk: Session, name: str) -> None:
    """Take no credentials of a user any more, from now on."""
    _send(talk, "PATCH", f"{_USERS}/{_user_id(talk, name)}", {"user": {"enabled": False}})
    _done(talk, f"disabled {name}")


@session.command("delete", examples=("fgs iam user delete ann", "fgs iam user delete ann -y"))
@click.argument("name")
def delete_user(talk: Session, name: str) -> None:
    """Delete a user with all access keys."""
    user_id = _user_id(talk, name)
    confirm(talk.flags, f"Delete the user {name}?")
    _send(talk, "DELETE", f"{_USERS}/{user_id}")
    _done(talk, f"deleted user {name}")


@session.command("list", examples=("fgs iam group list", "fgs iam group list --user ann"))
@click.option("--user", "name", default="", help="Only groups of this user.")
def list_groups(talk: Session, *, name: str) -> None:
    """List groups."""
    path = f"{_USERS}/{_user_id(talk, name)}/groups" if name else _GROUPS
    render.rows(talk.flags, _send(talk, "GET", path)["groups"], columns=("name", "description", "id"))


@session.command("create", examples=("fgs iam group create testers", "fgs iam group create testers --description QA"))
@click.argument("name")
@click.option("--description", default="", help="Who is in it.")
def create_group(talk: Session, name: str, *, description: str) -> None:
    """Create a group without members and permissions."""
    made = _send(talk, "POST", _GROUPS, {"group": {"name": name, "description": description}})["group"]
    _done(talk, f"created group {name}", made)


@session.command("members", examples=("fgs iam group members developers", "fgs iam group members developers -o name"))
@click.argument("name")
def list_members(talk: Session, name: str) -> None:
    """List the users of a group."""
    found = _send(talk, "GET", f"{_GROUPS}/{_group_id(talk, name)}/users")["users"]
    render.rows(talk.flags, found, columns=("name", "enabled", "email", "id"))


@session.command("add", examples=("fgs iam group add developers ann", "fgs iam group add viewers ann"))
@click.argument("name")
@click.argument("user_name")
def add_member(talk: Session, name: str, user_name: str) -> None:
    """Put a user into a group."""
    _send(talk, "PUT", f"{_GROUPS}/{_group_id(talk, name)}/users/{_user_id(talk, user_name)}")
    _done(talk, f"{user_name} is in {name}")


@session.command("remove", examples=("fgs iam group remove developers ann", "fgs iam group remove viewers ann"))
@click.argument("name")
@click.argument("user_name")
def remove_member(talk: Session, name: str, user_name: str) -> None:
    """Take a user out of a group."""
    _send(talk, "DELETE", f"{_GROUPS}/{_group_id(talk, name)}/users/{_user_id(talk, user_name)}")
    _done(talk, f"{user_name} is not in {name}")


@session.command("delete", examples=("fgs iam group delete testers", "fgs iam group delete testers -y"))
@click.argument("name")
def delete_group(talk: Session, name: str) -> None:
    """Delete a group; its users stay."""
    group_id = _group_id(talk, name)
    confirm(talk.flags, f"Delete the group {name}?")
    _send(talk, "DELETE", f"{_GROUPS}/{group_id}")
    _done(talk, f"deleted group {name}")


@session.command("list", examples=("fgs iam key list", "fgs iam key list --user ann"))
@click.option("--user", "name", default="", help="Whose; default: your own.")
def list_keys(talk: Session, *, name: str) -> None:
    """List access keys, without their secrets."""
    query = {"user_id": _user_id(talk, name)} if name else {}
    found = _send(talk, "GET", _KEYS, **query)["credentials"]
    render.rows(talk.flags, found, columns=("access", "status", "create_time", "description"))


@session.command("create", examples=("fgs iam key create --user ann", "fgs iam key create --user ann -o json"))
@click.option("--user", "name", default="", help="Whose; default: your own.")
@click.option("--description", default="", help="What it is for.")
def create_key(talk: Session, *, name: str, description: str) -> None:
    """Create an access key; its secret is shown this once."""
    body = {"description": description} | ({"user_id": _user_id(talk, name)} if name else {})
    made = _send(talk, "POST", _KEYS, {"credential": body})["credential"]
    render.item(talk.flags, made, columns=("access", "secret"))


@session.command("enable", examples=("fgs iam key enable ACCESSKEY", "fgs iam key enable ACCESSKEY -o json"))
@click.argument("access")
def enable_key(talk: Session, access: str) -> None:
    """Take an access key again."""
    _send(talk, "PUT", f"{_KEYS}/{segment(access)}", {"credential": {"status": "active"}})
    _done(talk, f"enabled {access}")


@session.command("disable", examples=("fgs iam key disable ACCESSKEY", "fgs iam key disable ACCESSKEY -o json"))
@click.argument("access")
def disable_key(talk: Session, access: str) -> None:
    """Take an access key no more, from now on."""
    _send(talk, "PUT", f"{_KEYS}/{segment(access)}", {"credential": {"status": "inactive"}})
    _done(talk, f"disabled {access}")


@session.command("delete", examples=("fgs iam key delete ACCESSKEY", "fgs iam key delete ACCESSKEY -y"))
@click.argument("access")
def delete_key(talk: Session, access: str) -> None:
    """Delete an access key."""
    confirm(talk.flags, f"Delete the access key {access}?")
    _send(talk, "DELETE", f"{_KEYS}/{segment(access)}")
    _done(talk, f"deleted {access}")


@session.command("list", examples=("fgs iam policy list", "fgs iam policy list -o wide"))
def list_policies(talk: Session) -> None:
    """List policies: those of every server, and your own."""
    found = _send(talk, "GET", _ROLES)["roles"]
    render.rows(talk.flags, found, columns=("display_name", "catalog", "description"), wide=("id",))


@session.command("get", examples=("fgs iam policy get deployers", "fgs iam policy get 'FunctionGraph FullAccess'"))
@click.argument("name")
def show_policy(talk: Session, name: str) -> None:
    """Print the document of a policy."""
    found = _send(talk, "GET", f"{_ROLES}/{_id_of(talk, _ROLES, 'roles', name)}")["role"]
    render.as_json(found if talk.flags.is_json else found["policy"])


@session.command("put", examples=("fgs iam policy put deployers --file policy.json",
                                  "fgs iam policy put deployers --file - < policy.json"))  # fmt: skip
@click.argument("name")
@click.option("--file", "file_name", required=True, help="File with the JSON document; - reads stdin.")
@click.option("--description", default=None, help="What it is for.")
def put_policy(talk: Session, name: str, *, file_name: str, description: str | None) -> None:
    """Create a policy, or replace the document of one; says what looks like a mistake."""
    try:
        document = json.loads(_read(file_name))
    except ValueError as error:
        raise Failure(f"{file_name} is not JSON: {error}") from error
    body = {"policy": document} | ({} if description is None else {"description": description})
    there = [row for row in _send(talk, "GET", _POLICIES)["roles"] if row["display_name"] == name]
    if there:
        made = _send(talk, "PATCH", f"{_POLICIES}/{there[0]['id']}", {"role": body})["role"]
    else:
        made = _send(talk, "POST", _POLICIES, {"role": {"display_name": name, "type": "AX", **body}})["role"]
    for warning in made.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    _done(talk, f"{'changed' if there else 'created'} policy {name}", made)


@session.command("delete", examples=("fgs iam policy delete deployers", "fgs iam policy delete deployers -y"))
@click.argument("name")
def delete_policy(talk: Session, name: str) -> None:
    """Delete a policy of your own that nobody has."""
    policy_id = _id_of(talk, _POLICIES, "roles", name)
    confirm(talk.flags, f"Delete the policy {name}?")
    _send(talk, "DELETE", f"{_POLICIES}/{policy_id}")
    _done(talk, f"deleted policy {name}")


@session.command("granted", examples=("fgs iam policy granted --group developers",
                                      "fgs iam policy granted --agency serverless-trust"))  # fmt: skip
@click.option("--group", "group_name", default="", help="What this group has.")
@click.option("--agency", "agency_name", default="", help="What this agency has.")
def list_granted(talk: Session, *, group_name: str, agency_name: str) -> None:
    """List what a group or an agency has, in all projects and in this one."""
    found = [row for path in _grant_paths(talk, group_name, agency_name) for row in _send(talk, "GET", path)["roles"]]
    render.rows(talk.flags, found, columns=("display_name", "catalog", "description"))


@session.command("grant", examples=("fgs iam policy grant deployers --group testers",
                                    "fgs iam policy grant 'FunctionGraph Invoker' --agency job"))  # fmt: skip
@click.argument("name")
@click.option("--group", "group_name", default="", help="Who gets it: a group,")
@click.option("--agency", "agency_name", default="", help="or an agency.")
def grant_policy(talk: Session, name: str, *, group_name: str, agency_name: str) -> None:
    """Give a policy to a group or an agency, in this project."""
    role_id = _id_of(talk, _ROLES, "roles", name)
    _send(talk, "PUT", f"{_grant_paths(talk, group_name, agency_name)[-1]}/{role_id}")
    _done(talk, f"{group_name or agency_name} has {name}")


@session.command("revoke", examples=("fgs iam policy revoke deployers --group testers",
                                     "fgs iam policy revoke 'FunctionGraph Invoker' --agency job"))  # fmt: skip
@click.argument("name")
@click.option("--group", "group_name", default="", help="Who loses it: a group,")
@click.option("--agency", "agency_name", default="", help="or an agency.")
def revoke_policy(talk: Session, name: str, *, group_name: str, agency_name: str) -> None:
    """Take a policy back from a group or an agency: in this project if it was given here, else in all."""
    role_id = _id_of(talk, _ROLES, "roles", name)
    everywhere, here = _grant_paths(talk, group_name, agency_name)
    is_here = any(row["id"] == role_id for row in _send(talk, "GET", here)["roles"])
    _send(talk, "DELETE", f"{here if is_here else everywhere}/{role_id}")
    _done(talk, f"{group_name or agency_name} has no longer {name}")


@session.command("list", examples=("fgs iam agency list", "fgs iam agency list -o json"))
def list_agencies(talk: Session) -> None:
    """List agencies."""
    found = _send(talk, "GET", f"{_AGENCIES}/agencies")["agencies"]
    render.rows(talk.flags, found, columns=("name", "trust_domain_name", "duration", "description"), wide=("id",))


@session.command("create", examples=("fgs iam agency create job --policy 'FunctionGraph Invoker'",
                                     "fgs iam agency create job --duration ONEDAY"))  # fmt: skip
@click.argument("name")
@click.option("--policy", "names", multiple=True, help="What it may do, in this project; may be given several times.")
@click.option("--duration", default="FOREVER", show_default=True, help="FOREVER, ONEDAY or a number of days.")
@click.option("--trust", default="op_svc_cff", show_default=True, help="op_svc_cff: functions; or a domain of users.")
@click.option("--description", default="", help="What it is for.")
def create_agency(
    talk: Session, name: str, *, names: tuple[str, ...], trust: str, duration: str, description: str
) -> None:
    """Create an agency, which gives functions temporary keys for what its policies allow."""
    role_ids = [_id_of(talk, _ROLES, "roles", one) for one in names]
    body = {"name": name, "trust_domain_name": trust, "duration": duration, "description": description}
    made = _send(talk, "POST", f"{_AGENCIES}/agencies", {"agency": body})["agency"]
    for role_id in role_ids:
        _send(talk, "PUT", f"{_grant_paths(talk, '', name)[-1]}/{role_id}")
    _done(talk, f"created agency {name}", made)


@session.command("delete", examples=("fgs iam agency delete job", "fgs iam agency delete job -y"))
@click.argument("name")
def delete_agency(talk: Session, name: str) -> None:
    """Delete an agency; keys that were given out in its name end at once."""
    agency_id = _agency_id(talk, name)
    confirm(talk.flags, f"Delete the agency {name}?")
    _send(talk, "DELETE", f"{_AGENCIES}/agencies/{agency_id}")
    _done(talk, f"deleted agency {name}")


@session.command("list", examples=("fgs iam project list", "fgs iam project list -o json"))
def list_projects(talk: Session) -> None:
    """List the projects that you may use."""
    found = _send(talk, "GET", _PROJECTS)["projects"]
    render.rows(talk.flags, found, columns=("name", "status", "id"), wide=("status_reason",))


@session.command(
    "create", examples=("fgs iam project create local-1_shop", "fgs iam project create local-1_test -o json")
)
@click.argument("name")
def create_project(talk: Session, name: str) -> None:
    """Create an empty project, named after the region with '_' and more; --project or a profile leads into it."""
    made = _send(talk, "POST", _PROJECTS, {"project": {"name": name}})["project"]
    if talk.flags.is_json:
        render.as_json(made)
    else:
        render.item(talk.flags, made, columns=("name", "id"))


@session.command("suspend", examples=("fgs iam project suspend local-1_shop --reason 'invoice 17 is open'",
                                      "fgs iam project suspend local-1_shop --read-only"))  # fmt: skip
@click.argument("name")
@click.option("--reason", default="", help="What callers are told. Default: account in arrears.")
@click.option("--read-only", is_flag=True, help="Refuse changes only; functions go on running.")
def suspend_project(talk: Session, name: str, *, reason: str, read_only: bool) -> None:
    """Refuse everything but reads in a project, until it is activated."""
    _set_status(talk, name, "readonly" if read_only else "suspended", reason)
    _done(talk, f"suspended {'changes in ' if read_only else ''}project {name}")


@session.command("activate", examples=("fgs iam project activate local-1_shop",
                                       "fgs iam project activate local-1_shop --reason 'paid on 5 May'"))  # fmt: skip
@click.argument("name")
@click.option("--reason", default="", help="A note that lists show.")
def activate_project(talk: Session, name: str, *, reason: str) -> None:
    """Allow everything in a project again; requests that wait run now."""
    _set_status(talk, name, "normal", reason)
    _done(talk, f"activated project {name}")


def _set_status(talk: Session, name: str, status: str, reason: str) -> None:
    project_id = _id_of(talk, _PROJECTS, "projects", name)
    document = {"project": {"status": status, "reason": reason}}
    _send(talk, "PUT", f"{_PROJECT_STATES}/{project_id}", document)


@session.command("delete", examples=("fgs iam project delete local-1_shop", "fgs iam project delete local-1_shop -y"))
@click.argument("name")
def delete_project(talk: Session, name: str) -> None:
    """Delete a project that is empty."""
    project_id = _id_of(talk, _PROJECTS, "projects", name)
    confirm(talk.flags, f"Delete the project {name}?")
    _send(talk, "DELETE", f"{_PROJECTS}/{project_id}")
    _done(talk, f"deleted project {name}")


_SIMULATED = (
    "fgs iam simulate --user ann --action functiongraph:function:list",
    "fgs iam simulate --agency job --action iam:users:listUsers",
)


@session.command("simulate", examples=_SIMULATED)
@click.option("--user", default="", help="Who would do it: a user,")
@click.option("--agency", default="", help="or an agency.")
@click.option("--action", required=True, help="The action, for example functiongraph:function:invoke.")
@click.option("--resource", default="", help="What it would be done to; none for lists.")
def simulate(talk: Session, **question: str) -> None:
    """Tell whether a user or an agency would be allowed something; exit code 4 if not."""
    found = talk.client.send("POST", "/funclet/policies/simulate", question)
    if talk.flags.is_json:
        render.as_json(found)
    if not found["is_allowed"]:
        raise Failure(f"denied: {found['asked']}", exit_code=ExitCode.DENIED)
    if not talk.flags.is_json:
        say(f"allowed: {found['asked']}")


def _agency_id(talk: Session, name: str) -> str:
    return _id_of(talk, f"{_AGENCIES}/agencies", "agencies", name)


def _grant_paths(talk: Session, group_name: str, agency_name: str) -> tuple[str, str]:
    """Return the paths of what a group or an agency has in all projects, and in this one."""
    if bool(group_name) == bool(agency_name):
        raise Failure("Name either --group or --agency.")
    project_id = talk.client.credentials.project_id
    domain_id = _send(talk, "GET", "/v3/auth/domains")["domains"][0]["id"]
    if group_name:
        end = f"groups/{_group_id(talk, group_name)}/roles"
        return f"/v3/domains/{domain_id}/{end}", f"/v3/projects/{project_id}/{end}"
    end = f"agencies/{_agency_id(talk, agency_name)}/roles"
    return f"{_AGENCIES}/domains/{domain_id}/{end}", f"{_AGENCIES}/projects/{project_id}/{end}"


def _read(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read(_MAX_FILE_BYTES).strip()
        with Path(name).open(encoding="utf-8") as file:
            return file.read(_MAX_FILE_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{name} cannot be read: {error}") from error


for _group, _commands in (
    (user, (list_users, create_user, set_password, enable_user, disable_user, delete_user)),
    (group, (list_groups, create_group, list_members, add_member, remove_member, delete_group)),
    (key, (list_keys, create_key, enable_key, disable_key, delete_key)),
    (policy, (list_policies, show_policy, put_policy, grant_policy, revoke_policy, list_granted, delete_policy)),
    (agency, (list_agencies, create_agency, delete_agency)),
    (project, (list_projects, create_project, suspend_project, activate_project, delete_project)),
    (iam, (user, group, key, policy, agency, project, simulate)),
):
    for _command in _commands:
        _group.add_command(_command)
