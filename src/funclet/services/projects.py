"""Projects of a domain: made, listed, suspended and deleted. Start with `ProjectService.create`.

Users, groups and agencies are those of the domain; everything else belongs to one project.
"""

import re
from collections.abc import Callable, Sequence

from funclet.base.ids import new_hex_id
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project
from funclet.model.project_state import parse_state, suspended_of
from funclet.services.permissions import policies_of
from funclet.store.protocol import Store, Tx

MAX_PROJECTS = 100
"""Of one domain."""
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,32}")


class ProjectService:
    """Use cases of projects."""

    def __init__(self, store: Store, *, region: str, on_change: Callable[[], None]) -> None:
        """Take the parts; `on_change` is told that credentials and permissions must be looked up anew."""
        self._store = store
        self._region = region
        self._changed = on_change
        self.on_state: Sequence[Callable[[frozenset[str]], None]] = ()
        """They are told the ids of all projects that are suspended, after each change of a state."""

    async def create(self, principal: Principal, name: str) -> Project:
        """Create an empty project of the caller's domain, named `<region>_<something>` as in the cloud.

        Raises:
            ModelError: FSS.0403 for another name, which SDKs ask for when they are pointed at another region, and
                beyond the quota; FSS.0409 if the name is taken.
        """
        prefix, suffix = name[: len(self._region) + 1], name[len(self._region) + 1 :]
        if prefix != f"{self._region}_" or not _SUFFIX.fullmatch(suffix):
            raise ModelError(
                "FSS.0403",
                f"A project '{name[:80]}' cannot be created here: use '{self._region}', the region of this server, or "
                f"'{self._region}_' and 1 to 32 letters, digits, '-' or '_'.",
            )
        own = principal.project
        project = Project(project_id=new_hex_id(), name=name, domain_id=own.domain_id, domain_name=own.domain_name)

        def add(tx: Tx) -> None:
            there = _of_domain(tx, own.domain_id)
            if any(one.name.lower() == name.lower() for one in there):
                raise ModelError("FSS.0409", f"The project '{name}' exists already.")
            if len(there) >= MAX_PROJECTS:
                raise ModelError("FSS.0403", f"There are {MAX_PROJECTS} projects already.")
            tx.identities.add_project(project)

        await self._store.write(add)
        self._changed()
        return project

    async def set_state(self, principal: Principal, project_id: str, text: str, reason: str) -> None:
        """Give a project another state; what is accepted when this returns heeds it.

        Raises:
            ModelError: FSS.0403 for a caller outside the first project, whose people run the server; FSS.0404; FSS.0400
                if there is no such state, or for the reason.
        """
        state = parse_state(text, reason)

        def change(tx: Tx) -> frozenset[str]:
            there = _of_domain(tx, principal.project.domain_id)
            if principal.project.project_id != there[0].project_id:
                raise ModelError("FSS.0403", f"Only callers in '{there[0].name}' may change the state of a project.")
            if project_id not in [one.project_id for one in there]:
                raise ModelError("FSS.0404", f"The project '{project_id[:64]}' does not exist.")
            tx.identities.set_state(project_id, state, reason)
            return suspended_of(tx.identities.projects())

        now_suspended = await self._store.write(change)
        self._changed()
        for told in self.on_state:
            told(now_suspended)

    async def delete(self, principal: Principal, project_id: str) -> None:
        """Delete an empty project with its tokens and grants. Access keys that were made in it are the first one's.

        Raises:
            ModelError: FSS.0404; FSS.0409 for the first project, the caller's, and one that is not empty.
        """

        def delete(tx: Tx) -> None:
            first, *others = _of_domain(tx, principal.project.domain_id)
            if project_id == first.project_id:
                raise ModelError("FSS.0409", f"'{first.name}' is the first project of this server and stays.")
            if project_id not in [one.project_id for one in others]:
                raise ModelError("FSS.0404", f"The project '{project_id[:64]}' does not exist.")
            if project_id == principal.project.project_id:
                raise ModelError("FSS.0409", "A project cannot be deleted with credentials of its own.")
            left = tx.identities.contents(project_id)
            if left:
                shown = ", ".join(f"{count} {kind}" for kind, count in left.items())
                raise ModelError("FSS.0409", f"The project is not empty: it has {shown}. Delete them first.")
            tx.identities.delete_project(project_id, heir_id=first.project_id)

        await self._store.write(delete)
        self._changed()

    async def visible(self, principal: Principal, *, name: str = "", with_others: bool) -> Sequence[Project]:
        """Return the projects of the domain, only the one called `name` if given.

        Without `with_others`, those in which the caller may do anything at all, and if there is none, the caller's.
        """

        def read(tx: Tx) -> Sequence[Project]:
            user = principal.user
            holders = [*tx.iam.groups_of(user.user_id), user.user_id]
            there = _of_domain(tx, user.domain_id)
            if not with_others:
                there = [one for one in there if policies_of(tx, holders, one.project_id)] or [principal.project]
            return [one for one in there if name in ("", one.name)]

        return await self._store.read(read)


def _of_domain(tx: Tx, domain_id: str) -> list[Project]:
    """Return the projects of a domain, the first one first."""
    return [one for one in tx.identities.projects() if one.domain_id == domain_id]
