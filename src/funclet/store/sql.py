"""The groups of `protocol.Tx` over named queries.

Every method is one or two queries and the conversion between row and model
value. Documents are JSON: members that this code does not know are ignored,
members that a document lacks take their defaults.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from funclet.model.function import Alias, FunctionVersion
from funclet.model.invocation import Submission
from funclet.model.trigger import Trigger, TriggerStatus, secret_context
from funclet.model.urn import LATEST
from funclet.store.connection import Session
from funclet.store.messaging import Reseal
from funclet.store.protocol import (
    Aliases,
    Duplicate,
    FunctionFilter,
    Functions,
    Identities,
    Reserved,
    StoreError,
    Triggers,
    UsageTable,
)
from funclet.store.queue_protocol import AsyncConfigs, Deliveries, Queue
from funclet.store.sealing import SEALED, Sealing, sealed_anew
from funclet.store.sql_async import SqlAsyncConfigs, SqlDeliveries
from funclet.store.sql_audit import SqlTraces
from funclet.store.sql_dependencies import SqlDependencies, note_use
from funclet.store.sql_gateway import SqlGatewayAccess
from funclet.store.sql_identity import SqlIam, SqlIdentities
from funclet.store.sql_messaging import SqlConnections, SqlObjects, SqlStreams, SqlTopics
from funclet.store.sql_queue import SqlQueue
from funclet.store.sql_reserved import SqlReserved
from funclet.store.sql_resources import SqlApplications, SqlEvents, SqlRemembered, SqlTags
from funclet.store.sql_usage import SqlUsage

if TYPE_CHECKING:
    from funclet.store import identity, messaging, resources
    from funclet.store.dependencies import Dependencies
    from funclet.store.gateway_protocol import GatewayAccess

_URN_FIELDS = 7
_TAKEN = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)


class SqlTx:
    """One transaction on one connection. Made once per connection, because the groups keep nothing between calls."""

    def __init__(self, session: Session, sealing: Sealing) -> None:
        self.functions: Functions = SqlFunctions(session, sealing)
        self.aliases: Aliases = SqlAliases(session)
        self.queue: Queue = SqlQueue(session)
        self.async_configs: AsyncConfigs = SqlAsyncConfigs(session)
        self.deliveries: Deliveries = SqlDeliveries(session)
        self.triggers: Triggers = SqlTriggers(session, self.queue)
        self.identities: Identities = SqlIdentities(session)
        self.iam: identity.Iam = SqlIam(session)
        self.traces: identity.Traces = SqlTraces(session)
        self.topics: messaging.Topics = SqlTopics(session)
        self.streams: messaging.Streams = SqlStreams(session)
        self.objects: messaging.Objects = SqlObjects(session)
        self.connections: messaging.Connections = SqlConnections(session)
        self.events: resources.Events = SqlEvents(session)
        self.tags: resources.Tags = SqlTags(session)
        self.applications: resources.Applications = SqlApplications(session)
        self.remembered: resources.Remembered = SqlRemembered(session)
        self.gateway: GatewayAccess = SqlGatewayAccess(session)
        self.dependencies: Dependencies = SqlDependencies(session)
        self.reserved: Reserved = SqlReserved(session)
        self.usage: UsageTable = SqlUsage(session)


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _add(session: Session, query: str, taken: str, /, **values: Any) -> None:
    try:
        session.run(query, **values)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode in _TAKEN:
            raise Duplicate(taken) from error
        raise


class SqlFunctions:
    """Functions and their versions."""

    def __init__(self, session: Session, sealing: Sealing) -> None:
        self._session = session
        self._sealing = sealing
        self._decode_stored: Callable[[str], FunctionVersion] = msgspec.json.Decoder(FunctionVersion).decode

    def _decode(self, document: str) -> FunctionVersion:
        version = self._decode_stored(document)
        return self._sealing.reveal(version) if version.settings.encrypted_user_data else version

    def add(self, version: FunctionVersion) -> None:
        """Store a new function with its `latest` version."""
        _add(
            self._session,
            "add_function",
            f"function '{version.name}' exists",
            function_id=version.function_id,
            project_id=version.project_id,
            package=version.package,
            name=version.name,
            modified_at=version.modified_at,
        )
        self.add_version(version)

    def get(self, project_id: str, package: str, name: str, version: str) -> FunctionVersion | None:
        """Return one version; None if there is no such function or version."""
        row = self._session.one(
            "get_function_version", project_id=project_id, package=package, name=name, version=version
        )
        return self._decode(row[0]) if row else None

    def exists(self, project_id: str, package: str, name: str) -> bool:
        """Tell whether the function exists."""
        return self._session.one("function_exists", project_id=project_id, package=package, name=name) is not None

    def find(self, wanted: FunctionFilter) -> tuple[Sequence[FunctionVersion], int]:
        """Return a page of `latest` versions, newest change first and then by name, and the count of all matches."""
        matches = {"project_id": wanted.project_id, "package": wanted.package, "name_part": wanted.name_part}
        rows = self._session.all("find_functions", **matches, version=LATEST, offset=wanted.offset, limit=wanted.limit)
        return [self._decode(document) for (document,) in rows], self._session.number("count_functions", **matches)

    def replace_latest(self, version: FunctionVersion) -> None:
        """Overwrite the `latest` version of an existing function.

        Raises:
            StoreError: there is no such function, or `version` is a published one.
        """
        replaced = version.is_latest and self._session.run("replace_function_version", **self._row(version)).rowcount
        if not replaced:
            raise StoreError(f"function '{version.name}' has no version '{version.version}' that can be replaced")
        note_use(self._session, version)
        self._session.run("touch_function", function_id=version.function_id, modified_at=version.modified_at)

    def add_version(self, version: FunctionVersion) -> None:
        """Store a published version."""
        _add(
            self._session,
            "add_function_version",
            f"function '{version.name}' has a version '{version.version}'",
            project_id=version.project_id,
            **self._row(version),
        )
        note_use(self._session, version)

    def versions(self, function_id: str) -> Sequence[FunctionVersion]:
        """Return all versions, `latest` first, then the newest first."""
        rows = self._session.all("list_function_versions", function_id=function_id, latest=LATEST)
        return [self._decode(document) for (document,) in rows]

    def delete(self, function_id: str) -> None:
        """Delete a function with its versions, aliases, triggers and settings. What waits for it is not looked at."""
        self._session.run("delete_function", function_id=function_id)

    def delete_version(self, function_id: str, version: str) -> None:
        """Delete one published version with its aliases, triggers and settings."""
        # Triggers before aliases: those of an alias are found by it.
        self._session.run("delete_triggers_of_version", function_id=function_id, version=version)
        self._session.run("delete_aliases_of_version", function_id=function_id, version=version)
        self._session.run("delete_async_config", function_id=function_id, version=version)
        self._session.run("delete_function_version", function_id=function_id, version=version, latest=LATEST)

    def totals(self, project_id: str) -> tuple[int, int]:
        """Return the number of functions of a project and the bytes of code of all its versions."""
        row = self._session.one("get_project_usage", project_id=project_id)
        return (row[0], row[1]) if row else (0, 0)

    def packages(self, project_id: str) -> frozenset[str]:
        """Return the names of all packages that hold functions."""
        return frozenset(name for (name,) in self._session.all("list_packages", project_id=project_id))

    def subnets(self, project_id: str) -> frozenset[tuple[str, str]]:
        """Return the VPC and subnet of all versions in one."""
        return frozenset(self._session.all("list_subnets", project_id=project_id))

    def code_digests(self) -> frozenset[str]:
        """Return the digests of all packages in use, those of dependencies too, for the clean-up of blobs."""
        return frozenset(digest for (digest,) in self._session.all("list_code_digests"))

    def code_trees(self) -> frozenset[str]:
        """Return `Code.tree` of all versions that use dependencies, for the clean-up of unpacked code."""
        return frozenset(
            self._decode(document).code.tree for (document,) in self._session.each("list_layered_versions")
        )

    def reseal(self, reseal: Reseal) -> None:
        """Seal the encrypted variables of all versions anew."""
        for version_id, document in self._session.all("list_sealed_versions"):
            version = sealed_anew(self._decode_stored(document), reseal)
            self._session.run("put_sealed_version", version_id=version_id, secrets=SEALED, document=_encode(version))

    def seal_all(self) -> None:
        """Seal what an older version of this server has stored in the clear; nothing happens if there is nothing."""
        for version_id, document in self._session.all("list_versions_in_the_clear"):
            version = self._sealing.seal(self._decode_stored(document))
            self._session.run("put_sealed_version", version_id=version_id, secrets=SEALED, document=_encode(version))

    def _row(self, version: FunctionVersion) -> dict[str, Any]:
        return {
            "function_id": version.function_id,
            "version": version.version,
            "code_digest": version.code.digest,
            "code_size": version.code.size,
            "secrets": SEALED if version.settings.encrypted_user_data else 0,
            "document": _encode(self._sealing.seal(version)),
        }


class SqlAliases:
    """Aliases of a function."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode: Callable[[str], Alias] = msgspec.json.Decoder(Alias).decode

    def put(self, function_id: str, alias: Alias) -> None:
        """Create or replace an alias."""
        self._session.run(
            "put_alias", function_id=function_id, name=alias.name, version=alias.version, document=_encode(alias)
        )

    def get(self, function_id: str, name: str) -> Alias | None:
        """Return one alias."""
        row = self._session.one("get_alias", function_id=function_id, name=name)
        return self._decode(row[0]) if row else None

    def list(self, function_id: str) -> Sequence[Alias]:
        """Return all aliases by name."""
        return [self._decode(document) for (document,) in self._session.all("list_aliases", function_id=function_id)]

    def delete(self, function_id: str, name: str) -> None:
        """Delete an alias; nothing happens if there is none."""
        self._session.run("delete_alias", function_id=function_id, name=name)


class SqlTriggers:
    """Triggers of all functions."""

    def __init__(self, session: Session, queue: Queue) -> None:
        self._session = session
        self._queue = queue
        self._decode: Callable[[str], Trigger] = msgspec.json.Decoder(Trigger).decode

    def put(self, trigger: Trigger) -> None:
        """Create or replace a trigger by its id.

        Raises:
            Duplicate: a trigger of another project has this id.
        """
        stored = self._session.run(
            "put_trigger",
            trigger_id=trigger.trigger_id,
            project_id=trigger.project_id,
            function_id=trigger.function_id,
            qualifier=_qualifier(trigger.function_urn),
            type_code=trigger.type_code,
            status=trigger.status.value,
            created_at=trigger.created_at,
            document=_encode(trigger),
        ).rowcount
        if not stored:
            raise Duplicate(f"trigger id '{trigger.trigger_id}' is taken")

    def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        """Return one trigger."""
        row = self._session.one("get_trigger", project_id=project_id, trigger_id=trigger_id)
        return self._decode(row[0]) if row else None

    def of_function(self, function_id: str) -> Sequence[Trigger]:
        """Return the triggers of a function, all versions and aliases, oldest first."""
        return self._decoded(self._session.all("list_triggers_of_function", function_id=function_id))

    def of_project(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Trigger], int]:
        """Return a page of the triggers of a project, oldest first, and their count."""
        rows = self._session.all("list_triggers_of_project", project_id=project_id, offset=offset, limit=limit)
        return self._decoded(rows), self._session.number("count_triggers_of_project", project_id=project_id)

    def of_type(self, *type_codes: str) -> Sequence[Trigger]:
        """Return all triggers of these types, of every project, oldest first."""
        return self._decoded(self._session.all("list_triggers_of_types", type_codes=_encode(type_codes)))

    def delete(self, trigger_id: str) -> None:
        """Delete a trigger; nothing happens if there is none."""
        self._session.run("delete_trigger", trigger_id=trigger_id)

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        for trigger in self._decoded(self._session.all("list_sealed_triggers")):
            sealed = {
                name: reseal(secret, secret_context(trigger.trigger_id, name))
                for name, secret in trigger.sealed.items()
            }
            self.put(replace(trigger, sealed=sealed))

    def position(self, trigger_id: str) -> float | None:
        """Return up to when the trigger has fired, as `fire` or `seek` last left it; None if neither was called."""
        row = self._session.one("get_position", trigger_id=trigger_id)
        return row[0] if row else None

    def seek(self, trigger_id: str, position: float) -> None:
        """Set the position without firing: what lies before it is never fired. No trigger: nothing happens."""
        self._session.run("seek_trigger", trigger_id=trigger_id, position=position)

    def fire(self, trigger_id: str, position: float, submission: Submission, *, queued_at: float | None = None) -> bool:
        """Move the position forward to `position` and queue `submission`, both or neither; tell whether it was done."""
        if self._session.one("submission_exists", request_id=submission.request_id):
            return False
        advanced = self._advance(trigger_id, position)
        if advanced:
            self._queue.add(submission, queued_at=queued_at)
        return advanced

    def skip(self, trigger_id: str, position: float) -> None:
        """Move the position forward without firing; nothing happens if it is further already or none is ACTIVE."""
        self._advance(trigger_id, position)

    def is_running(self, request_id: str) -> bool:
        """Tell whether a submission has not come to its end."""
        return self._session.one("submission_waits", request_id=request_id) is not None

    def _advance(self, trigger_id: str, position: float) -> bool:
        active = TriggerStatus.ACTIVE.value
        return bool(
            self._session.run("advance_trigger", trigger_id=trigger_id, position=position, active=active).rowcount
        )

    def _decoded(self, rows: list[tuple[Any, ...]]) -> list[Trigger]:
        return [self._decode(document) for (document,) in rows]


def _qualifier(urn: str) -> str:
    fields = urn.split(":", _URN_FIELDS)
    return fields[_URN_FIELDS] if len(fields) > _URN_FIELDS else LATEST
