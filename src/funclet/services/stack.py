"""The kinds of resources that an application is made of, in the order in which they refer to each other.

Start with `Stack.prepare` and `Stack.add`: first what takes time and leaves nothing behind that anybody sees, then
everything in one transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from funclet.asyncq.delivery import Destination
from funclet.base.clock import Clock
from funclet.model.async_config import AsyncConfig
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.resources import Application, ResourceKind, StackResource
from funclet.model.urn import DEFAULT_PACKAGE, LATEST
from funclet.services import bucket_loops, destination_rights
from funclet.services.blueprint import Blueprint
from funclet.services.dependencies import DependencyService, StoredArchive
from funclet.services.destination_rights import May
from funclet.services.functions import FunctionService
from funclet.services.triggers import TriggerService
from funclet.store.protocol import Tx

CheckDestination = Callable[[Destination], None]
"""Refuses a destination whose members are wrong."""
_WORDS = {ResourceKind.ASYNC_SETTINGS: "asynchronous settings"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An application that is being made, with all that was prepared for it."""

    blueprint: Blueprint
    principal: Principal
    may: May
    """Tells what the caller, or an agency, may do."""
    archives: dict[str, StoredArchive] = field(default_factory=dict)
    """Of dependencies, by logical name."""
    functions: dict[str, FunctionVersion] = field(default_factory=dict)
    """Not stored yet, by logical name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one transaction has made so far."""

    resources: list[StackResource] = field(default_factory=list)
    dependency_ids: dict[str, str] = field(default_factory=dict)
    """Of versions, by logical name."""
    functions: dict[str, FunctionVersion] = field(default_factory=dict)
    """By logical name."""


class Kind(Protocol):
    """What is special to one kind of resource."""

    code: ResourceKind

    async def prepare(self, draft: Draft) -> None:
        """Check all resources of the kind as far as that needs no transaction, and store what they need.

        Raises:
            ModelError: one cannot be made.
        """
        ...

    def add(self, tx: Tx, draft: Draft, made: Made) -> None:
        """Make all resources of the kind.

        Raises:
            ModelError: one cannot be made; the transaction must end without effect.
        """
        ...

    def is_present(self, tx: Tx, application: Application, resource: StackResource) -> bool:
        """Tell whether a resource is still the one that was made."""
        ...

    def remove(self, tx: Tx, resource: StackResource) -> bool:
        """Delete a resource that is present; False if it must stay because others use it."""
        ...


class Dependencies:
    """Dependencies of the project that functions of the application share."""

    code = ResourceKind.DEPENDENCY

    def __init__(self, service: DependencyService) -> None:
        self._service = service

    async def prepare(self, draft: Draft) -> None:
        """Store their archives."""
        for one in draft.blueprint.dependencies:
            with _naming(self.code, one.logical_name):
                draft.archives[one.logical_name] = await self._service.prepare(draft.principal, one.upload)

    def add(self, tx: Tx, draft: Draft, made: Made) -> None:
        """Make them. One of the same name that is there already gets no new version: it belongs to somebody else."""
        principal = draft.principal
        for one in draft.blueprint.dependencies:
            name = one.upload.name
            with _naming(self.code, one.logical_name):
                if tx.dependencies.named(principal.project.project_id, name):
                    raise ModelError("FSS.1065", f"Dependency '{name}' exists already in this project.")
                version = self._service.add(tx, principal, one.upload, draft.archives[one.logical_name])
            made.dependency_ids[one.logical_name] = version.version_id
            made.resources.append(_resource(self.code, one.logical_name, name, version.version_id))

    def is_present(self, tx: Tx, application: Application, resource: StackResource) -> bool:  # noqa: ARG002 - the protocol
        """Look for the version."""
        return tx.dependencies.get(resource.resource_id) is not None

    def remove(self, tx: Tx, resource: StackResource) -> bool:
        """Delete the version, unless another function uses it."""
        version = tx.dependencies.get(resource.resource_id)
        if version is None or tx.dependencies.users(resource.resource_id):
            return False
        tx.dependencies.delete(version)
        return True


class Functions:
    """Functions, in the default package."""

    code = ResourceKind.FUNCTION

    def __init__(self, service: FunctionService) -> None:
        self._service = service

    async def prepare(self, draft: Draft) -> None:
        """Check them and store their code."""
        for one in draft.blueprint.functions:
            with _naming(self.code, one.logical_name):
                draft.functions[one.logical_name] = await self._service.prepare(draft.principal, one.new)

    def add(self, tx: Tx, draft: Draft, made: Made) -> None:
        """Make them, with their dependencies."""
        for one in draft.blueprint.functions:
            version = draft.functions[one.logical_name]
            ids = tuple(made.dependency_ids[name] for name in one.dependencies)
            version = replace(version, settings=replace(version.settings, dependency_ids=ids))
            with _naming(self.code, one.logical_name):
                made.functions[one.logical_name] = self._service.add(tx, version)
            made.resources.append(_resource(self.code, one.logical_name, version.name, version.function_id))

    def is_present(self, tx: Tx, application: Application, resource: StackResource) -> bool:
        """Look for a function of the same name and id: another may have taken its place."""
        found = tx.functions.get(application.project_id, DEFAULT_PACKAGE, resource.name, LATEST)
        return found is not None and found.function_id == resource.resource_id

    def remove(self, tx: Tx, resource: StackResource) -> bool:
        """Delete the function with all its versions and whatever hangs on it."""
        tx.functions.delete(resource.resource_id)
        return True


class Triggers:
    """Triggers of functions of the application, on `latest`."""

    code = ResourceKind.TRIGGER

    def __init__(self, service: TriggerService) -> None:
        self._service = service

    async def prepare(self, draft: Draft) -> None:
        """Do nothing: all checks need the transaction."""

    def add(self, tx: Tx, draft: Draft, made: Made) -> None:
        """Make them."""
        for one in draft.blueprint.triggers:
            place = made.functions[one.function].urn.qualified(LATEST)
            with _naming(self.code, one.logical_name):
                trigger = self._service.add(tx, place, one.new)
            name = str(trigger.event_data.get("name", ""))
            made.resources.append(_resource(self.code, one.logical_name, name, trigger.trigger_id))

    def is_present(self, tx: Tx, application: Application, resource: StackResource) -> bool:
        """Look for the trigger."""
        return tx.triggers.get(application.project_id, resource.resource_id) is not None

    def remove(self, tx: Tx, resource: StackResource) -> bool:
        """Delete the trigger."""
        tx.triggers.delete(resource.resource_id)
        return True


class AsyncSettings:
    """Settings of asynchronous requests of functions of the application, of `latest`."""

    code = ResourceKind.ASYNC_SETTINGS

    def __init__(self, clock: Clock, check_destination: CheckDestination) -> None:
        self._clock = clock
        self._check_destination = check_destination

    async def prepare(self, draft: Draft) -> None:
        """Check the members of destinations."""
        for one in draft.blueprint.settings:
            for destination in filter(None, (one.on_success, one.on_failure)):
                with _naming(self.code, one.function):
                    self._check_destination(Destination(kind=destination.kind, param=destination.members))

    def add(self, tx: Tx, draft: Draft, made: Made) -> None:
        """Make them."""
        now = self._clock.now()
        for one in draft.blueprint.settings:
            version = made.functions[one.function]
            wanted = [target for target in (one.on_success, one.on_failure) if target is not None]
            with _naming(self.code, one.function):
                destination_rights.check(tx, version, wanted, draft.principal, draft.may, now=now)
                bucket_loops.check(tx, version, wanted)
            config = AsyncConfig(
                func_urn=str(version.urn),
                max_retries=one.retries,
                on_success=one.on_success,
                on_failure=one.on_failure,
                created_at=now,
                modified_at=now,
            )
            tx.async_configs.put(version.function_id, version.version, config)
            made.resources.append(_resource(self.code, one.function, version.name, version.function_id))

    def is_present(self, tx: Tx, application: Application, resource: StackResource) -> bool:  # noqa: ARG002 - the protocol
        """Look for settings of the function."""
        return tx.async_configs.get(resource.resource_id, LATEST) is not None

    def remove(self, tx: Tx, resource: StackResource) -> bool:
        """Delete the settings."""
        return tx.async_configs.delete(resource.resource_id, LATEST)


class Stack:
    """Makes and removes everything that applications are made of."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        """Take the kinds in the order in which they refer to each other."""
        self._kinds = kinds
        self._by_code = {kind.code: kind for kind in kinds}

    async def prepare(self, draft: Draft) -> None:
        """Do what takes time, before the transaction.

        Raises:
            ModelError: with the resource that cannot be made.
        """
        for kind in self._kinds:
            await kind.prepare(draft)

    def add(self, tx: Tx, draft: Draft) -> Made:
        """Make everything; announce it when the transaction has ended.

        Raises:
            ModelError: with the resource that cannot be made; the transaction must end without effect.
        """
        made = Made()
        for kind in self._kinds:
            kind.add(tx, draft, made)
        return made

    def present(self, tx: Tx, application: Application) -> Sequence[StackResource]:
        """Return the resources that are still those that were made."""
        return [one for one in application.resources if self._by_code[one.kind].is_present(tx, application, one)]

    def remove(self, tx: Tx, application: Application) -> Sequence[StackResource]:
        """Delete the resources that are present, the last made first; return those that must stay."""
        present = reversed(self.present(tx, application))
        return [one for one in present if not self._by_code[one.kind].remove(tx, one)]


@contextmanager
def _naming(kind: ResourceKind, name: str) -> Iterator[None]:
    """Let errors say which resource they are about."""
    try:
        yield
    except ModelError as error:
        message = f"{_WORDS.get(kind, kind.value)} '{name}': {error.message}"
        raise ModelError(error.code, message, retry_after_s=error.retry_after_s) from error


def _resource(kind: ResourceKind, logical_name: str, name: str, resource_id: str) -> StackResource:
    return StackResource(kind=kind, logical_name=logical_name, name=name, resource_id=resource_id)
