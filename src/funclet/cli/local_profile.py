"""The profile that `fgs serve` writes, so that `fgs` on this machine finds the server.

`name_for` chooses its name before the server starts, `keep` writes it.
"""

import os
from typing import TYPE_CHECKING

import click

from funclet.cli import profiles
from funclet.cli.frame import Failure
from funclet.cli.profiles import Profiles

if TYPE_CHECKING:
    from funclet.services.identity import Credentials

NAME = "local"


def name_for(api_url: str) -> str:
    """Return the name of the profile that a first start at this address writes: `local`, or `local-2` and so on.

    A profile that leads to another address is left alone: its secret key is perhaps nowhere else.
    """
    try:
        table = profiles.load(profiles.path_of(os.environ)).table
    except Failure:
        return NAME
    name, number = NAME, 1
    while name in table and table[name].get("endpoint") != api_url:
        number += 1
        name = f"{NAME}-{number}"
    return name


def keep(name: str, api_url: str, region: str, project_id: str, created: "Credentials | None") -> None:
    """Write the profile of a server that has started; say on stderr when that is not possible.

    It is chosen unless another one was. Of a server that was there already only the address is renewed, in the
    profile of its project: it may have been started on another port.

    Args:
        name: of a new profile.
        api_url: address of the API.
        region: of the server.
        project_id: of the server's first project.
        created: the credentials of a first start; None: the server was there already.
    """
    path = profiles.path_of(os.environ)
    try:
        known = profiles.load(path)
        values = {"endpoint": api_url}
        if created is not None:
            values |= {"region": region, "project_id": project_id, "ak": created.access, "sk": created.secret}
        else:
            name = _of_project(known, project_id)
            if not name or known.table[name].get("endpoint") == api_url:
                return
        changed = known.with_values(name, values)
        current = known.current if known.current in known.table else name
        profiles.save(path, Profiles(current=current, table=changed.table))
    except (Failure, OSError) as error:
        # The server is what was asked for; the profile is a convenience.
        click.echo(f"warning: profile '{name}' was not written: {error}", err=True)


def _of_project(known: Profiles, project_id: str) -> str:
    """Return the profile that a start of this project wrote; empty when there is none."""
    names = (name for name in known.table if name == NAME or name.startswith(f"{NAME}-"))
    return next((name for name in names if known.table[name].get("project_id") == project_id), "")
