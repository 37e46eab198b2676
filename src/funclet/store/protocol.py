"""What the rest of the server may ask of the database.

A piece of work is a plain function that is given a transaction: `Store.write`
runs it inside one, commits, and only then returns its result. Work functions do
nothing but database calls; they may run again if a commit is retried.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from funclet.model.function import Alias, FunctionVersion
from funclet.model.identity import AccessKey, Project, ProjectState, Token, User
from funclet.model.invocation import Report, Submission
from funclet.model.reserved import ReservedPolicy
from funclet.model.trigger import Trigger
from funclet.model.usage import Tally
from funclet.store.dependencies import Dependencies
from funclet.store.gateway_protocol import GatewayAccess
from funclet.store.identity import Iam, Traces
from funclet.store.messaging import Connections, Objects, Reseal, Streams, Topics
from funclet.store.queue_protocol import AsyncConfigs, Deliveries, Queue
from funclet.store.resources import Applications, Events, Remembered, Tags

T = TypeVar("T")


class StoreError(Exception):
    """The database cannot do what was asked."""


class StoreUnavailable(StoreError):
    """Nothing was changed; the disk is full, read-only or failing, or the store is closed. Try later."""


class Duplicate(StoreError):
    """A row with this key exists already; nothing was changed by this piece of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFilter:
    """Which functions a list call wants. Only `latest` versions are listed."""

    project_id: str
    package: str = ""
    """Exact; empty for all."""
    name_part: str = ""
    """Part of the name, case-sensitive; empty for all."""
    offset: int = 0
    limit: int = 400


class UsageRow(NamedTuple):
    """Sums of one version in one slot, or of a whole project: then its id stands for the function, without version."""

    project_id: str
    function_id: str
    version: str
    span_s: int
    begins_at: int
    """Seconds since the epoch."""
    tally: Tally


class FunctionUsage(NamedTuple):
    """Sums of one function."""

    package: str
    name: str
    tally: Tally


Slots = Sequence[tuple[int, Tally]]
"""Beginnings of slots with what was used in them, oldest first; slots without anything are missing."""


class Functions(Protocol):
    """Functions and their versions."""

    def add(self, version: FunctionVersion) -> None:
        """Store a new function with its `latest` version.

        Raises:
            Duplicate: the project has a function of this name, in whatever package.
        """
        ...

    def get(self, project_id: str, package: str, name: str, version: str) -> FunctionVersion | None:
        """Return one version; None if there is no such function or version."""
        ...

    def exists(self, project_id: str, package: str, name: str) -> bool:
        """Tell whether the function exists."""
        ...

    def find(self, wanted: FunctionFilter) -> tuple[Sequence[FunctionVersion], int]:
        """Return a page of `latest` versions, newest change first and then by name, and the count of all matches."""
        ...

    def replace_latest(self, version: FunctionVersion) -> None:
        """Overwrite the `latest` version of an existing function."""
        ...

    def add_version(self, version: FunctionVersion) -> None:
        """Store a published version.

        Raises:
            Duplicate: the function has a version of this name.
        """
        ...

    def versions(self, function_id: str) -> Sequence[FunctionVersion]:
        """Return all versions, `latest` first, then the newest first."""
        ...

    def delete(self, function_id: str) -> None:
        """Delete a function with its versions, aliases, triggers and settings. What waits for it is not looked at."""
        ...

    def delete_version(self, function_id: str, version: str) -> None:
        """Delete one published version with its aliases, triggers and settings."""
        ...

    def totals(self, project_id: str) -> tuple[int, int]:
        """Return the number of functions of a project and the bytes of code of all its versions."""
        ...

    def packages(self, project_id: str) -> frozenset[str]:
        """Return the names of all packages that hold functions."""
        ...

    def subnets(self, project_id: str) -> frozenset[tuple[str, str]]:
        """Return the VPC and subnet of all versions in one."""
        ...

    def code_digests(self) -> frozenset[str]:
        """Return the digests of all packages in use, those of dependencies too, for the clean-up of blobs."""
        ...

    def code_trees(self) -> frozenset[str]:
        """Return `Code.tree` of all versions that use dependencies, for the clean-up of unpacked code."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal the encrypted variables of all versions anew."""
        ...


class Aliases(Protocol):
    """Aliases of a function."""

    def put(self, function_id: str, alias: Alias) -> None:
        """Create or replace an alias."""
        ...

    def get(self, function_id: str, name: str) -> Alias | None:
        """Return one alias."""
        ...

    def list(self, function_id: str) -> Sequence[Alias]:
        """Return all aliases by name."""
        ...

    def delete(self, function_id: str, name: str) -> None:
        """Delete an alias; nothing happens if there is none."""
        ...


class Triggers(Protocol):
    """Triggers of all functions."""

    def put(self, trigger: Trigger) -> None:
        """Create or replace a trigger by its id."""
        ...

    def get(self, project_id: str, trigger_id: str) -> Trigger | None:
        """Return one trigger."""
        ...

    def of_function(self, function_id: str) -> Sequence[Trigger]:
        """Return the triggers of a function, all versions and aliases, oldest first."""
        ...

    def of_project(self, project_id: str, *, offset: int, limit: int) -> tuple[Sequence[Trigger], int]:
        """Return a page of the triggers of a project, oldest first, and their count."""
        ...

    def of_type(self, *type_codes: str) -> Sequence[Trigger]:
        """Return all triggers of these types, of every project, oldest first."""
        ...

    def delete(self, trigger_id: str) -> None:
        """Delete a trigger; nothing happens if there is none."""
        ...

    def reseal(self, reseal: Reseal) -> None:
        """Seal all secrets anew."""
        ...

    def position(self, trigger_id: str) -> float | None:
        """Return up to when the trigger has fired, as `fire` or `seek` last left it; None if neither was called."""
        ...

    def seek(self, trigger_id: str, position: float) -> None:
        """Set the position without firing: what lies before it is never fired. No trigger: nothing happens."""
        ...

    def skip(self, trigger_id: str, position: float) -> None:
        """Move the position forward without firing; nothing happens if it is further already or none is ACTIVE."""
        ...

    def is_running(self, request_id: str) -> bool:
        """Tell whether a submission has not come to its end."""
        ...

    def fire(self, trigger_id: str, position: float, submission: Submission, *, queued_at: float | None = None) -> bool:
        """Move the position forward to `position` and queue `submission` as `Queue.add` does, both or neither.

        False, and nothing is done: the trigger is gone or not ACTIVE, its position is `position` or later already,
        or the request id was submitted before. A `put` of the trigger keeps the position.
        """
        ...


class Identities(Protocol):
    """Projects, users, access keys, tokens."""

    def add_project(self, project: Project) -> None:
        """Store a project."""
        ...

    def projects(self) -> Sequence[Project]:
        """Return all projects, the first one first."""
        ...

    def set_state(self, project_id: str, state: ProjectState, reason: str) -> None:
        """Give a project another state."""
        ...

    def contents(self, project_id: str) -> Mapping[str, int]:
        """Return how much of what a project has, by kind; nothing of what it has none of."""
        ...

    def delete_project(self, project_id: str, *, heir_id: str) -> None:
        """Delete an empty project with its tokens and grants; its access keys go to the project `heir_id`."""
        ...

    def add_user(self, user: User) -> None:
        """Store a user."""
        ...

    def user(self, user_id: str) -> User | None:
        """Return a user by id."""
        ...

    def user_named(self, name: str) -> User | None:
        """Return a user by name."""
        ...

    def add_access_key(self, key: AccessKey) -> None:
        """Store or replace an access key."""
        ...

    def access_key(self, access: str) -> AccessKey | None:
        """Return an access key by its public part."""
        ...

    def add_token(self, token: Token) -> None:
        """Store a token."""
        ...

    def token(self, digest: str) -> Token | None:
        """Return a token by the SHA-256 of its text."""
        ...

    def forget_expired(self, *, now: float) -> None:
        """Delete tokens and temporary keys that have expired."""
        ...


class Reserved(Protocol):
    """What functions keep ready."""

    def put(self, policy: ReservedPolicy) -> None:
        """Create or replace the policy of a version or alias."""
        ...

    def delete(self, function_id: str, qualifier: str) -> None:
        """Delete a policy; nothing happens if there is none. It goes with its version, alias or function as well."""
        ...

    def get(self, function_id: str, qualifier: str) -> ReservedPolicy | None:
        """Return the policy of a version or alias."""
        ...

    def of_function(self, function_id: str) -> Sequence[ReservedPolicy]:
        """Return all policies of a function, by qualifier."""
        ...

    def of_project(self, project_id: str) -> Sequence[ReservedPolicy]:
        """Return all policies of a project, by function name and qualifier."""
        ...

    def all(self) -> Sequence[ReservedPolicy]:
        """Return the policies of all projects."""
        ...


class UsageTable(Protocol):
    """What was used, by slots of time. Lengths of slots are those of `model.usage.LEVELS`, and `MONTH`."""

    def add(self, rows: Sequence[UsageRow]) -> None:
        """Add sums to what is there for their slots."""
        ...

    def projects(self, function_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the projects of functions that are there, or of which something was used, by function id."""
        ...

    def of_function(self, function_id: str, version: str, *, span_s: int, since: int, until: int) -> Slots:
        """Return the sums of a function by slot: those that begin from `since` up to but not at `until`.

        An empty version stands for all; the id of a project for all its functions, those that are gone included.
        """
        ...

    def by_function(self, project_id: str, *, span_s: int, since: int, until: int) -> Sequence[FunctionUsage]:
        """Return the sums of each function of a project that is there and has some."""
        ...

    def count(self) -> int:
        """Return how many rows there are."""
        ...

    def prune(self, *, span_s: int, before: int, limit: int) -> int:
        """Delete the oldest slots of a length that begin before a time, at most `limit`; return how many."""
        ...


class Tx(Protocol):
    """One transaction; the groups share it."""

    functions: Functions
    aliases: Aliases
    triggers: Triggers
    queue: Queue
    async_configs: AsyncConfigs
    deliveries: Deliveries
    identities: Identities
    iam: Iam
    traces: Traces
    topics: Topics
    streams: Streams
    objects: Objects
    connections: Connections
    events: Events
    tags: Tags
    applications: Applications
    remembered: Remembered
    gateway: GatewayAccess
    dependencies: Dependencies
    reserved: Reserved
    usage: UsageTable


class Store(Protocol):
    """The database of one server."""

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction; when this returns, its changes survive a crash.

        Concurrent calls may share one commit, but each piece of work succeeds or fails alone:
        what it raises undoes its own changes only, and is raised here.

        Raises:
            StoreUnavailable: nothing of `work` is kept.
        """
        ...

    async def read(self, work: Callable[[Tx], T], *, is_brief: bool = False) -> T:
        """Run `work` on a consistent view that sees every finished `write`. It must not change anything.

        Args:
            work: what to do.
            is_brief: `work` looks up a few rows by their keys. It is then done at once in the calling thread: that
                holds up everything else, but not for as long as two threads hand over to each other.

        Raises:
            StoreUnavailable: the store is closed or failing.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and close the files. Calls that come later raise StoreUnavailable."""
        ...


NO_TAGS: Mapping[str, str] = MappingProxyType({})


class LogStore(Protocol):
    """Logs of functions. Written in batches off the hot path; a crash may lose the last second."""

    def add(self, record: Report) -> None:
        """Queue a record for writing; never waits, drops the oldest when too many are queued and counts them."""
        ...

    async def find(
        self,
        function_id: str,
        *,
        since: float = 0.0,
        until: float | None = None,
        request_id: str = "",
        tags: Mapping[str, str] = NO_TAGS,
        after_id: int = 0,
        limit: int = 1000,
    ) -> Sequence[tuple[int, Report]]:
        """Return records with their ids, oldest first; the newest `limit` of them when `after_id` is 0.

        Only those that have all `tags`.
        """
        ...

    async def flush(self) -> None:
        """Return when whatever was added before has been written, or given up."""
        ...

    async def close(self) -> None:
        """Write what is queued and close the file."""
        ...
