"""`fgs connection`: how the server reaches object stores and brokers outside, for destinations."""

import sys
from pathlib import Path
from typing import Any

import click

from funclet.cli import render, session
from funclet.cli.frame import ExitCode, Failure, FgsGroup, confirm, say
from funclet.cli.session import Session
from funclet.client import segment

_COLUMNS = ("name", "kind", "address", "user", "resources")
_PATH = "/funclet/connections"
_MAX_SECRET_BYTES = 8192

connection = FgsGroup("connection", help="Connect object stores and brokers to destinations.", no_args_is_help=True)


@session.command("list", examples=("fgs connection list", "fgs connection list -o json"))
def list_(talk: Session) -> None:
    """List the connections of the project, without their secrets."""
    found = talk.client.send("GET", _PATH)["connections"]
    render.rows(talk.flags, found, columns=_COLUMNS, wide=("region", "created_at"))


@session.command("set", examples=(("fgs connection set store --kind s3 --address https://s3.example.com "
                                  "--user ACCESSKEY --secret-file key.txt"),
                                  ("fgs connection set broker --kind nats --address nats://broker:4222 "
                                  "--user funclet --secret-file - --resource orders")))  # fmt: skip
@click.argument("name")
@click.option("--kind", type=click.Choice(["s3", "nats"]), required=True, help="What stands at the other end.")
@click.option("--address", required=True, help="http(s)://host:port of a store, nats:// or tls:// of a broker.")
@click.option("--user", default="", help="Access key of a store, user of a broker.")
@click.option("--secret-file", default="", help="File that holds the secret key or password; - reads stdin.")
@click.option("--region", default="us-east-1", show_default=True, help="s3: the region that requests are signed for.")
@click.option("--resource", "resources", multiple=True, help="Bucket or stream that is there; default: all.")
def set_(talk: Session, name: str, *, secret_file: str, resources: tuple[str, ...], **members: str) -> None:
    """Create a connection, or replace it as a whole."""
    body: dict[str, Any] = {**members, "resources": list(resources) or ["*"]}
    if secret_file:
        body["secret"] = _read_secret(secret_file)
    found = talk.client.send("PUT", f"{_PATH}/{segment(name)}", body)
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=(*_COLUMNS, "region", "created_at"))
    else:
        say(f"connected {name} to {found['address']}")


@session.command("test", examples=("fgs connection test store", "fgs connection test store -o json"))
@click.argument("name")
def test(talk: Session, name: str) -> None:
    """Reach the system at the other end with the credentials that are stored."""
    found = talk.client.send("POST", f"{_PATH}/{segment(name)}/test")
    if talk.flags.is_json:
        render.as_json(found)
    if not found["is_working"]:
        raise Failure(f"The connection '{name}' does not work: {found['problem']}", exit_code=ExitCode.NETWORK)
    if not talk.flags.is_json:
        say(f"{name} works")


@session.command("delete", examples=("fgs connection delete store", "fgs connection delete store -y"))
@click.argument("name")
def delete(talk: Session, name: str) -> None:
    """Delete a connection; destinations write into the server's own folder and streams then."""
    confirm(talk.flags, f"Delete the connection {name}?")
    talk.client.send("DELETE", f"{_PATH}/{segment(name)}")
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "connection", "name": name}]})
    else:
        say(f"deleted connection {name}")


@session.command("rotate-key", examples=("fgs connection rotate-key", "fgs connection rotate-key --profile prod"))
def rotate_key(talk: Session) -> None:
    """Encrypt all stored secrets with a new key, and forget the old one."""
    talk.client.send("POST", "/funclet/secret-key/rotate")
    say("secrets are encrypted with a new key")


def _read_secret(name: str) -> str:
    try:
        if name == "-":
            text = sys.stdin.read(_MAX_SECRET_BYTES)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_MAX_SECRET_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"The secret cannot be read from {name}: {error}") from error
    return text.strip()


for _command in (list_, set_, test, delete, rotate_key):
    connection.add_command(_command)
