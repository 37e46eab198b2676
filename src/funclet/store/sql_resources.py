"""The groups of `resources` over named queries, as `sql` has those of `protocol`."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from funclet.model.resources import Application, StoredEvent, TagFilter, TaggedFunction, VpcEndpoint
from funclet.model.urn import LATEST, Urn
from funclet.store.connection import Session
from funclet.store.messaging import Reseal
from funclet.store.protocol import Duplicate
from funclet.store.resources import tracing_context

MAX_COUNTED = 1000
"""Functions that a search by tags counts: more than a project may have, unless its limits are raised."""


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _run(session: Session, query: str, taken: str, /, **values: Any) -> None:
    try:
        session.run(query, **values)
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise Duplicate(taken) from error
        raise


class SqlEvents:
    """Test events of functions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, event: StoredEvent) -> None:
        """Store a new event."""
        _run(
            self._session,
            "add_event",
            f"event '{event.name}' exists",
            **msgspec.to_builtins(event, builtin_types=(bytes,)),
        )

    def replace(self, event: StoredEvent) -> None:
        """Give an event of this id another name, content and time."""
        values = msgspec.to_builtins(event, builtin_types=(bytes,))
        _run(self._session, "replace_event", f"event '{event.name}' exists", **values)

    def get(self, function_id: str, event_id: str) -> StoredEvent | None:
        """Return one event."""
        row = self._session.one("get_event", function_id=function_id, event_id=event_id)
        return _event(row) if row else None

    def list(self, function_id: str) -> Sequence[StoredEvent]:
        """Return all events of a function, oldest first."""
        return [_event(row) for row in self._session.all("list_events", function_id=function_id)]

    def delete(self, function_id: str, event_id: str) -> bool:
        """Delete an event; False if there is none."""
        return bool(self._session.run("delete_event", function_id=function_id, event_id=event_id).rowcount)


def _event(row: tuple[Any, ...]) -> StoredEvent:
    event_id, function_id, name, content, modified_at = row
    return StoredEvent(event_id=event_id, function_id=function_id, name=name, content=content, modified_at=modified_at)


class SqlTags:
    """Tags of functions."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, project_id: str, function_id: str, tags: Mapping[str, str]) -> None:
        """Add tags; the value of a key that is there is replaced."""
        for key, value in tags.items():
            self._session.run("put_tag", function_id=function_id, key=key, value=value, project_id=project_id)

    def remove(self, function_id: str, key: str, value: str | None) -> None:
        """Remove a tag by its key and, unless that is None, only if it has this value."""
        self._session.run("remove_tag", function_id=function_id, key=key, value=value)

    def of_function(self, function_id: str) -> Mapping[str, str]:
        """Return the tags of a function by key."""
        return dict(self._session.all("list_tags_of_function", function_id=function_id))

    def of_project(self, project_id: str) -> Mapping[str, Sequence[str]]:
        """Return all keys of the tags of a project with their values, both sorted."""
        values: dict[str, list[str]] = {}
        for key, value in self._session.all("list_tags_of_project", project_id=project_id):
            values.setdefault(key, []).append(value)
        return values

    def find(
        self, project_id: str, wanted: TagFilter, *, offset: int, limit: int
    ) -> tuple[Sequence[TaggedFunction], int]:
        """Return a page of functions, newest change first and then by name, and the count of all matches."""
        matches = {
            "project_id": project_id,
            "name_part": wanted.name_part,
            "wanted": _encode([] if wanted.without_tags else list(wanted.tags.items())),
            "enterprise_project_ids": _encode(wanted.enterprise_project_ids),
            "latest": LATEST,
        }
        rare = None if wanted.without_tags else self._rare_key(project_id, wanted.tags)
        if rare is not None:
            rows = self._session.all("find_tagged_by_key", **matches, key=rare, values=_encode(wanted.tags[rare]))
            return [self._tagged(project_id, row) for row in rows[offset : offset + limit]], len(rows)
        kind = "untagged" if wanted.without_tags else "tagged"
        rows = self._session.all(f"find_{kind}", **matches, offset=offset, limit=limit)
        count = self._session.number(f"count_{kind}", **matches, most=MAX_COUNTED)
        return [self._tagged(project_id, row) for row in rows], max(count, offset + len(rows) if rows else 0)

    def _rare_key(self, project_id: str, tags: Mapping[str, Sequence[str]]) -> str | None:
        """Return the key that the fewest functions have, if they are few."""
        counts = {
            key: self._session.number(
                "count_tag", project_id=project_id, key=key, values=_encode(values), most=MAX_COUNTED
            )
            for key, values in tags.items()
        }
        rarest = min(counts, key=lambda key: counts[key], default=None)
        return rarest if rarest is not None and counts[rarest] < MAX_COUNTED else None

    def _tagged(self, project_id: str, row: tuple[Any, ...]) -> TaggedFunction:
        region, package, name, function_id, enterprise_project_id = row
        return TaggedFunction(
            urn=str(Urn(region=region, project_id=project_id, package=package, name=name)),
            name=name,
            tags=self.of_function(function_id),
            enterprise_project_id=enterprise_project_id,
        )


class SqlApplications:
    """Applications made from templates."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode: Callable[[str], Application] = msgspec.json.Decoder(Application).decode

    def add(self, application: Application) -> None:
        """Store a new application."""
        _run(
            self._session,
            "add_application",
            f"application '{application.name}' exists",
            application_id=application.application_id,
            project_id=application.project_id,
            name=application.name,
            document=_encode(application),
        )

    def get(self, project_id: str, application_id: str) -> Application | None:
        """Return one application."""
        row = self._session.one("get_application", project_id=project_id, application_id=application_id)
        return self._decode(row[0]) if row else None

    def list(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Application], int]:
        """Return a page of the applications of a project, oldest first, and the count of all."""
        rows = self._session.all("list_applications", project_id=project_id, offset=offset, limit=limit)
        count = self._session.number("count_applications", project_id=project_id)
        return [self._decode(document) for (document,) in rows], count

    def delete(self, application_id: str) -> None:
        """Delete an application; its functions are not looked at."""
        self._session.run("delete_application", application_id=application_id)


class SqlRemembered:
    """What clients set and read back: log reporting, tracing, snapshots, VPC endpoints."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decode: Callable[[str], VpcEndpoint] = msgspec.json.Decoder(VpcEndpoint).decode

    def report_logs(self, project_id: str, group_id: str, group_name: str) -> bool:
        """Remember that a project reports its logs, and where; False if it does already."""
        added = self._session.run("add_log_reporting", project_id=project_id, group_id=group_id, group_name=group_name)
        return bool(added.rowcount)

    def log_group(self, project_id: str) -> tuple[str, str] | None:
        """Return id and name of the group to which a project reports its logs; None if it does not."""
        row = self._session.one("get_log_reporting", project_id=project_id)
        return (row[0], row[1]) if row else None

    def put_tracing(self, function_id: str, access_key: str, sealed_secret: bytes) -> None:
        """Remember the keys with which a function is traced."""
        self._session.run("put_tracing", function_id=function_id, access_key=access_key, sealed_secret=sealed_secret)

    def tracing(self, function_id: str) -> str | None:
        """Return the access key with which a function is traced."""
        row = self._session.one("get_tracing", function_id=function_id)
        return row[0] if row else None

    def delete_tracing(self, function_id: str) -> None:
        """Forget the keys; nothing happens if there are none."""
        self._session.run("delete_tracing", function_id=function_id)

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        for function_id, sealed in self._session.all("list_sealed_tracing"):
            sealed_anew = reseal(sealed, tracing_context(function_id))
            self._session.run("seal_tracing", function_id=function_id, sealed_secret=sealed_anew)

    def switch_snapshot(self, function_id: str, version: str, *, is_on: bool) -> None:
        """Remember whether a version shall start from a snapshot."""
        self._session.run("add_snapshot" if is_on else "delete_snapshot", function_id=function_id, version=version)

    def has_snapshot(self, function_id: str, version: str) -> bool:
        """Tell whether a version shall start from a snapshot."""
        return self._session.one("snapshot_exists", function_id=function_id, version=version) is not None

    def put_endpoint(self, project_id: str, endpoint: VpcEndpoint) -> None:
        """Create or replace the endpoint of a subnet."""
        self._session.run(
            "put_endpoint",
            project_id=project_id,
            vpc_id=endpoint.vpc_id,
            subnet_id=endpoint.subnet_id,
            document=_encode(endpoint),
        )

    def endpoints(self, project_id: str) -> Sequence[VpcEndpoint]:
        """Return all endpoints of a project."""
        return [self._decode(document) for (document,) in self._session.all("list_endpoints", project_id=project_id)]

    def delete_endpoint(self, project_id: str, vpc_id: str, subnet_id: str) -> bool:
        """Delete an endpoint; False if there is none."""
        deleted = self._session.run("delete_endpoint", project_id=project_id, vpc_id=vpc_id, subnet_id=subnet_id)
        return bool(deleted.rowcount)
