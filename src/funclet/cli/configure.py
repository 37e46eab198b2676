"""`fgs configure` (profiles) and `fgs whoami`."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from funclet.cli import frame, profiles, render, session
from funclet.cli.frame import ExitCode, Failure, FgsGroup, Flags, confirm, global_options, note, pass_flags, say
from funclet.cli.profiles import KEYS, Profiles
from funclet.cli.session import Session

_ASKED = (("endpoint", "Address of the API"), ("region", "Region"), ("project_id", "Project id (empty: looked up)"))


class _Configure(FgsGroup):
    """A group that also does something when no sub-command is called; it takes the global options for that."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for option in global_options():
            option.hidden = True
            self.params.append(option)


@click.group("configure", cls=_Configure, invoke_without_command=True)
@click.pass_context
def configure(context: click.Context) -> None:
    """Write a profile: asks on a terminal, else takes --endpoint, --region, --project-id, --ak, --sk, --token.

    \b
    Examples:
      fgs configure
      fgs configure --profile lab --endpoint http://127.0.0.1:7180 --region local-1 --ak AK --sk SK
    """  # noqa: D301 - click's mark for text that keeps its lines
    if context.invoked_subcommand is None:
        _write(context.ensure_object(Flags))


def _write(flags: Flags) -> None:
    path = profiles.path_of(os.environ)
    known = profiles.load(path)
    name = flags.text("profile") or known.current
    values = {key: flags.text(key) for key in KEYS if flags.text(key)}
    if flags.is_on("insecure"):
        values["insecure"] = "true"
    if not values and sys.stdin.isatty() and not flags.is_on("yes"):
        values = _ask(known.table.get(name, {}))
    if not values:
        hint = "fgs configure --endpoint http://127.0.0.1:7180 --region local-1 --ak AK --sk SK"
        raise Failure("There is no terminal to ask on, and no flag says what to write.", hint=hint)
    changed = known.with_values(name, values)
    if not known.table:
        changed = Profiles(current=name, table=changed.table)
    profiles.save(path, changed)
    _tell(flags, {"profile": name, "file": str(path)}, f"wrote profile {name} to {path}")


def _ask(have: Mapping[str, str]) -> dict[str, str]:
    values = {key: str(click.prompt(text, default=have.get(key, ""), err=True)) for key, text in _ASKED}
    values["ak"] = str(click.prompt("Access key", default=have.get("ak", ""), err=True))
    secret = click.prompt("Secret key", default="", hide_input=True, show_default=False, err=True)
    return values | ({"sk": str(secret)} if secret else {})


@frame.command("list", examples=("fgs configure list", "fgs configure list -o json"))
@pass_flags
def list_(flags: Flags) -> None:
    """List the profiles."""
    known = profiles.load(profiles.path_of(os.environ))
    found = [
        {"name": name, "current": name == known.current, **profiles.masked(values)}
        for name, values in known.table.items()
    ]
    render.rows(flags, found, columns=("name", "current", "endpoint", "region", "ak"), wide=("project_id",))


@frame.command("get", examples=("fgs configure get endpoint", "fgs configure get region --profile lab"))
@click.argument("key", metavar="KEY", type=click.Choice(KEYS))
@pass_flags
def get(flags: Flags, key: str) -> None:
    """Print one value of the profile; secrets as stars.

    KEY is endpoint, region, project_id, ak, sk, security_token, token, ca, insecure or proxy.
    """
    known = profiles.load(profiles.path_of(os.environ))
    name = flags.text("profile") or known.current
    value = profiles.masked(_profile(known, name)).get(key, "")
    _tell(flags, {key: value}, value)


@frame.command("set", examples=("fgs configure set region local-1", "fgs configure set ca /etc/fgs/ca.pem -P lab"))
@click.argument("key", metavar="KEY", type=click.Choice(KEYS))
@click.argument("value", required=False)
@pass_flags
def set_(flags: Flags, key: str, value: str | None) -> None:
    """Change one value; without VALUE it is asked for, or read from stdin.

    KEY is endpoint, region, project_id, ak, sk, security_token, token, ca, insecure or proxy.
    """
    if value is None:
        asked = click.prompt(key, hide_input=key in profiles.SECRET_KEYS, err=True) if sys.stdin.isatty() else None
        value = str(asked) if asked is not None else sys.stdin.readline(4096).strip()
    path = profiles.path_of(os.environ)
    known = profiles.load(path)
    name = flags.text("profile") or known.current
    profiles.save(path, known.with_values(name, {key: value}))
    _tell(flags, {"profile": name, "key": key}, f"set {key} of profile {name}")


@frame.command("delete", examples=("fgs configure delete lab", "fgs configure delete lab -y"))
@click.argument("name")
@pass_flags
def delete(flags: Flags, name: str) -> None:
    """Delete a profile."""
    path = profiles.path_of(os.environ)
    known = profiles.load(path)
    _profile(known, name)
    confirm(flags, f"Delete profile {name}?")
    profiles.save(path, Profiles(current=known.current, table={n: v for n, v in known.table.items() if n != name}))
    _tell(flags, {"removed": name}, f"deleted profile {name}")


@frame.command("use", examples=("fgs configure use lab", "fgs configure use default"))
@click.argument("name")
@pass_flags
def use(flags: Flags, name: str) -> None:
    """Choose the profile that is used when none is named."""
    path = profiles.path_of(os.environ)
    known = profiles.load(path)
    _profile(known, name)
    profiles.save(path, Profiles(current=name, table=known.table))
    _tell(flags, {"current": name}, f"profile {name} is used from now on")


def _profile(known: Profiles, name: str) -> Mapping[str, str]:
    if name not in known.table:
        have = ", ".join(known.table) or "none"
        raise Failure(f"There is no profile '{name}' (there are: {have}).", exit_code=ExitCode.NOT_FOUND)
    return known.table[name]


def _tell(flags: Flags, document: Mapping[str, Any], text: str) -> None:
    if flags.is_json:
        render.as_json(document)
    else:
        say(text)


@session.command("whoami", examples=("fgs whoami", "fgs whoami -P lab -o json"))
def whoami(talk: Session) -> None:
    """Show the profile, the server, the project and the account, and that the credentials work."""
    client = talk.client
    found = {
        "profile": talk.settings["profile"],
        "endpoint": client.endpoint,
        "region": talk.settings.get("region", ""),
        "project_id": client.credentials.project_id,
        "ak": client.credentials.ak,
        "method": "token" if client.credentials.token else "access key",
    }
    domains = (client.call("GET", "/v3/auth/domains").json() or {}).get("domains") or [{}]
    found |= {"account": domains[0].get("name", ""), "account_id": domains[0].get("id", "")}
    render.item(talk.flags, found, columns=tuple(found))
    if talk.flags.verbosity:
        note(talk.flags, "the server accepts these credentials")


for _command in (list_, get, set_, delete, use):
    configure.add_command(_command)
