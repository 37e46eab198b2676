"""Use cases of tags of functions. Start with `TagService.add`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from funclet.model import urn as urns
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.resources import MAX_TAGS, TagFilter, TaggedFunction, check_tags
from funclet.model.urn import LATEST, Urn
from funclet.services.functions import require_version
from funclet.store.protocol import Store, Tx

NO_ENTERPRISE_PROJECT = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsOfFunction:
    """Tags of one function, and what the system says of it in the form of a tag."""

    tags: Mapping[str, str]
    enterprise_project_id: str


class TagService:
    """Tags of all functions. Whatever version a urn names, they belong to the function."""

    def __init__(self, store: Store, *, region: str) -> None:
        self._store = store
        self._region = region

    async def add(self, principal: Principal, urn: str, tags: Mapping[str, str]) -> None:
        """Add tags to a function; a key that it has gets the new value.

        Raises:
            ModelError: FSS.0400 for a wrong tag or too many; the codes of the urn.
        """
        check_tags(tags)
        place = self._parse(principal, urn)

        def work(tx: Tx) -> None:
            function_id = require_version(tx, place).function_id
            tx.tags.put(place.project_id, function_id, tags)
            if len(tx.tags.of_function(function_id)) > MAX_TAGS:
                raise ModelError("FSS.0400", f"The function would have more than {MAX_TAGS} tags.")

        await self._store.write(work)

    async def remove(self, principal: Principal, urn: str, tags: Mapping[str, str | None]) -> None:
        """Remove tags from a function by key and, where one is given, by value; what it has not is ignored.

        Raises:
            ModelError: FSS.0400 for a wrong tag; the codes of the urn.
        """
        check_tags(tags)
        place = self._parse(principal, urn)

        def work(tx: Tx) -> None:
            function_id = require_version(tx, place).function_id
            for key, value in tags.items():
                tx.tags.remove(function_id, key, value)

        await self._store.write(work)

    async def of_function(self, principal: Principal, urn: str) -> TagsOfFunction:
        """Return the tags of a function.

        Raises:
            ModelError: the codes of the urn.
        """
        place = self._parse(principal, urn)

        def work(tx: Tx) -> TagsOfFunction:
            version = require_version(tx, place)
            return TagsOfFunction(
                tags=tx.tags.of_function(version.function_id), enterprise_project_id=_enterprise_project(version)
            )

        return await self._store.read(work)

    async def of_project(self, principal: Principal) -> Mapping[str, Sequence[str]]:
        """Return all keys of the project with their values."""
        return await self._store.read(lambda tx: tx.tags.of_project(principal.project.project_id))

    async def find(
        self, principal: Principal, wanted: TagFilter, *, offset: int, limit: int
    ) -> tuple[Sequence[TaggedFunction], int]:
        """Return a page of functions that have the wanted tags, and the count of all matches."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.tags.find(project_id, wanted, offset=offset, limit=limit))

    def _parse(self, principal: Principal, urn: str) -> Urn:
        return urns.parse(urn, region=self._region, project_id=principal.project.project_id).qualified(LATEST)


def _enterprise_project(version: FunctionVersion) -> str:
    return version.settings.echoed.get("enterprise_project_id") or NO_ENTERPRISE_PROJECT
