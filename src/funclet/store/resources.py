"""What the server may ask of the database about test events, tags, applications, and what the API only remembers.

Groups of `protocol.Tx`, apart because that module is long enough.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from funclet.model.resources import Application, StoredEvent, TagFilter, TaggedFunction, VpcEndpoint
from funclet.store.messaging import Reseal


class Events(Protocol):
    """Test events of functions."""

    def add(self, event: StoredEvent) -> None:
        """Store a new event.

        Raises:
            Duplicate: the function has one of this name.
        """
        ...

    def replace(self, event: StoredEvent) -> None:
        """Give an event of this id another name, content and time.

        Raises:
            Duplicate: the function has another one of this name.
        """
        ...

    def get(self, function_id: str, event_id: str) -> StoredEvent | None:
        """Return one event."""
        ...

    def list(self, function_id: str) -> Sequence[StoredEvent]:
        """Return all events of a function, oldest first."""
        ...

    def delete(self, function_id: str, event_id: str) -> bool:
        """Delete an event; False if there is none."""
        ...


class Tags(Protocol):
    """Tags of functions."""

    def put(self, project_id: str, function_id: str, tags: Mapping[str, str]) -> None:
        """Add tags; the value of a key that is there is replaced."""
        ...

    def remove(self, function_id: str, key: str, value: str | None) -> None:
        """Remove a tag by its key and, unless that is None, only if it has this value."""
        ...

    def of_function(self, function_id: str) -> Mapping[str, str]:
        """Return the tags of a function by key."""
        ...

    def of_project(self, project_id: str) -> Mapping[str, Sequence[str]]:
        """Return all keys of the tags of a project with their values, both sorted."""
        ...

    def find(
        self, project_id: str, wanted: TagFilter, *, offset: int, limit: int
    ) -> tuple[Sequence[TaggedFunction], int]:
        """Return a page of functions, newest change first, then by name, and the count of all matches, 1,000 at most.

        The count is never less than what the page and those before it show.
        """
        ...


class Applications(Protocol):
    """Applications made from templates."""

    def add(self, application: Application) -> None:
        """Store a new application.

        Raises:
            Duplicate: the project has one of this name.
        """
        ...

    def get(self, project_id: str, application_id: str) -> Application | None:
        """Return one application."""
        ...

    def list(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Application], int]:
        """Return a page of the applications of a project, oldest first, and the count of all."""
        ...

    def delete(self, application_id: str) -> None:
        """Delete an application; its functions are not looked at."""
        ...


class Remembered(Protocol):
    """What clients set and read back: log reporting, tracing, snapshots, VPC endpoints."""

    def report_logs(self, project_id: str, group_id: str, group_name: str) -> bool:
        """Remember that a project reports its logs, and where; False if it does already."""
        ...

    def log_group(self, project_id: str) -> tuple[str, str] | None:
        """Return id and name of the group to which a project reports its logs; None if it does not."""
        ...

    def put_tracing(self, function_id: str, access_key: str, sealed_secret: bytes) -> None:
        """Remember the keys with which a function is traced."""
        ...

    def tracing(self, function_id: str) -> str | None:
        """Return the access key with which a function is traced."""
        ...

    def delete_tracing(self, function_id: str) -> None:
        """Forget the keys; nothing happens if there are none."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        ...

    def switch_snapshot(self, function_id: str, version: str, *, is_on: bool) -> None:
        """Remember whether a version shall start from a snapshot."""
        ...

    def has_snapshot(self, function_id: str, version: str) -> bool:
        """Tell whether a version shall start from a snapshot."""
        ...

    def put_endpoint(self, project_id: str, endpoint: VpcEndpoint) -> None:
        """Create or replace the endpoint of a subnet."""
        ...

    def endpoints(self, project_id: str) -> Sequence[VpcEndpoint]:
        """Return all endpoints of a project."""
        ...

    def delete_endpoint(self, project_id: str, vpc_id: str, subnet_id: str) -> bool:
        """Delete an endpoint; False if there is none."""
        ...


def tracing_context(function_id: str) -> str:
    """Return what the secret key of the tracing of a function is sealed for."""
    return f"tracing/{function_id}"
