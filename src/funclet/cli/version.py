"""`fgs version`: list, publish and delete versions of a function, not of fgs itself."""

import click

from funclet.cli import render, session
from funclet.cli.changes import next_version
from funclet.cli.frame import FgsGroup, confirm, say
from funclet.cli.session import Address, Session

_COLUMNS = ("version", "version_description", "code_size", "last_modified")

version = FgsGroup("version", help="List, publish and delete versions of a function.", no_args_is_help=True)


@session.command("list", examples=("fgs version list hello", "fgs version list hello -o name"))
@session.function_argument()
def list_(talk: Session, address: Address) -> None:
    """List the versions of a function."""
    found = talk.at(address, talk.client.list_versions)
    render.rows(talk.flags, found, columns=_COLUMNS, wide=("runtime", "handler", "digest", "func_urn"))


@session.command("get", examples=("fgs version get hello v1", "fgs version get hello latest -o json"))
@session.function_argument()
@click.argument("name")
def get(talk: Session, address: Address, name: str) -> None:
    """Show one version."""
    place = Address(name=address.name, app=address.app, qualifier=name)
    columns = (*_COLUMNS, "runtime", "handler", "memory_size", "timeout", "digest", "func_urn")
    render.item(talk.flags, talk.at(place, talk.client.function_config, follow_alias=False), columns=columns)


@session.command("publish", examples=("fgs version publish hello", "fgs version publish hello --name v2"))
@session.function_argument()
@click.option("--name", default="", help="Name of the version; default: the next free v<number>.")
@click.option("--description", default="", help="Text that says what is new in it.")
@click.option("--digest", default="", help="Publish only if the code has this digest (see fgs function get).")
def publish(talk: Session, address: Address, name: str, description: str, digest: str) -> None:
    """Freeze the code and the settings of latest under a name."""

    def act(urn: str) -> dict[str, object]:
        chosen = name or next_version(talk.client.list_versions(urn))
        return talk.client.publish_version(urn, name=chosen, description=description, digest=digest)

    found = talk.at(address, act)
    if talk.flags.text("output"):
        render.item(talk.flags, found, columns=(*_COLUMNS, "func_urn"))
    else:
        say(f"published {address.name}:{found.get('version')}")


@session.command("delete", examples=("fgs version delete hello v1", "fgs version delete hello v1 -y"))
@session.function_argument()
@click.argument("name")
def delete(talk: Session, address: Address, name: str) -> None:
    """Delete a version with its aliases and triggers."""
    confirm(talk.flags, f"Delete version {name} of {address.name}?")
    place = Address(name=address.name, app=address.app, qualifier=name)
    talk.at(place, talk.client.delete_function, follow_alias=False)
    if talk.flags.is_json:
        render.as_json({"removed": [{"kind": "version", "name": str(place)}]})
    else:
        say(f"deleted version {name} of {address.name}")


for _command in (list_, get, publish, delete):
    version.add_command(_command)
