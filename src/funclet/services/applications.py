"""Use cases of applications: resources made together from a template. Start with `ApplicationService.create`."""

from collections.abc import Sequence
from dataclasses import dataclass

from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.model.dependency import DependencyVersion
from funclet.model.errors import ModelError
from funclet.model.function import FunctionVersion
from funclet.model.identity import Principal
from funclet.model.resources import MAX_APPLICATIONS, Application, ResourceKind, StackResource
from funclet.model.urn import DEFAULT_PACKAGE, LATEST, Urn
from funclet.services import blueprint, stack
from funclet.services.app_templates import AppTemplate
from funclet.services.blueprint import Blueprint, NewApplication
from funclet.services.dependencies import DependencyService
from funclet.services.destination_rights import May
from funclet.services.functions import FunctionService
from funclet.services.stack import CheckDestination, Draft, Made, Stack
from funclet.services.template_catalog import TemplateCatalog
from funclet.services.triggers import TriggerService
from funclet.store.protocol import Store, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Makers:
    """Who makes what applications are made of."""

    functions: FunctionService
    dependencies: DependencyService
    triggers: TriggerService
    check_destination: CheckDestination


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownResource:
    """A resource of an application as a client reads it."""

    resource: StackResource
    is_present: bool
    url: str
    """Of a gateway trigger that is present; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """An application, and what has become of its resources."""

    application: Application
    resources: Sequence[ShownResource]

    @property
    def url(self) -> str:
        """Of its first gateway trigger that is present; empty if there is none."""
        return next((one.url for one in self.resources if one.url), "")


class ApplicationService:
    """Applications of all projects. Each is made and deleted in one transaction, so none is ever half there."""

    def __init__(self, store: Store, clock: Clock, makers: Makers, catalog: TemplateCatalog, *, region: str) -> None:
        self._store = store
        self._clock = clock
        self._makers = makers
        # What comes later refers to what comes before.
        self._stack = Stack(
            (
                stack.Dependencies(makers.dependencies),
                stack.Functions(makers.functions),
                stack.Triggers(makers.triggers),
                stack.AsyncSettings(clock, makers.check_destination),
            )
        )
        self._region = region
        self.catalog = catalog

    def draw(self, principal: Principal, new: NewApplication) -> Blueprint:
        """Return what `create` will make, for its caller to ask whether that is allowed.

        Raises:
            ModelError: FSS.1059 without the template, FSS.0400 or FSS.1019 for a wrong field or parameter.
        """
        template = self.catalog.application(new.template_id)
        project_id = principal.project.project_id
        return blueprint.draw(template, new, new_uuid(), region=self._region, project_id=project_id)

    async def create(self, principal: Principal, wanted: Blueprint, may: May) -> Application:
        """Make everything that was drawn, named `<application>-<part>`, or nothing.

        Raises:
            ModelError: FSS.0409 if the name is taken, FSS.0403 beyond the limit of applications or for a destination
                that neither caller nor agency may send to, and, with the resource that they are about, the codes of
                `DependencyService.create`, `FunctionService.create`, `TriggerService.create` and
                `AsyncService.configure`.
        """
        draft = Draft(blueprint=wanted, principal=principal, may=may)
        await self._stack.prepare(draft)
        application, made = await self._store.write(lambda tx: self._add(tx, draft))
        self._announce(list(made.functions.values()))
        return application

    async def get(self, principal: Principal, application_id: str) -> AppState:
        """Return an application.

        Raises:
            ModelError: FSS.0404.
        """

        def work(tx: Tx) -> AppState:
            application = _require(tx, principal, application_id)
            present = self._stack.present(tx, application)
            shown = [
                ShownResource(resource=one, is_present=one in present, url=self._url(tx, application, one))
                for one in application.resources
            ]
            return AppState(application=application, resources=shown)

        return await self._store.read(work)

    async def find(self, principal: Principal, *, offset: int, limit: int) -> tuple[Sequence[Application], int]:
        """Return a page of the applications of the project, oldest first, and the count of all."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.applications.list(project_id, offset=offset, limit=limit))

    async def count_of(self, principal: Principal, template: AppTemplate) -> int:
        """Return how many applications of the project were made from a template."""
        found, _ = await self.find(principal, offset=0, limit=MAX_APPLICATIONS)
        return sum(one.template_id == template.template_id for one in found)

    async def dependencies_of(self, principal: Principal, state: AppState) -> Sequence[DependencyVersion]:
        """Return the dependencies of an application that are present."""
        ids = [
            one.resource.resource_id
            for one in state.resources
            if one.is_present and one.resource.kind is ResourceKind.DEPENDENCY
        ]
        return [await self._makers.dependencies.get(principal, version_id) for version_id in ids]

    async def delete(self, principal: Principal, application_id: str) -> Sequence[StackResource]:
        """Delete an application with those of its resources that are still there.

        Return what stays: dependencies that other functions use.

        Raises:
            ModelError: FSS.0404.
        """

        def work(tx: Tx) -> tuple[Sequence[FunctionVersion], Sequence[StackResource]]:
            application = _require(tx, principal, application_id)
            versions = [_latest(tx, application, one) for one in self._stack.present(tx, application)]
            kept = self._stack.remove(tx, application)
            tx.applications.delete(application_id)
            return [version for version in versions if version is not None], kept

        versions, kept = await self._store.write(work)
        self._announce(versions)
        return kept

    def urn_of(self, application: Application, resource: StackResource) -> Urn:
        """Return the urn of a function of an application, without a version."""
        return Urn(region=self._region, project_id=application.project_id, package=DEFAULT_PACKAGE, name=resource.name)

    def _add(self, tx: Tx, draft: Draft) -> tuple[Application, Made]:
        wanted, project_id = draft.blueprint, draft.principal.project.project_id
        others, count = tx.applications.list(project_id, offset=0, limit=MAX_APPLICATIONS)
        if any(other.name == wanted.new.name for other in others):
            raise ModelError("FSS.0409", f"Application '{wanted.new.name}' exists already in this project.")
        if count >= MAX_APPLICATIONS:
            raise ModelError("FSS.0403", f"The project has {MAX_APPLICATIONS} applications; delete one first.")
        made = self._stack.add(tx, draft)
        application = Application(
            application_id=wanted.application_id,
            project_id=project_id,
            name=wanted.new.name,
            template_id=wanted.new.template_id,
            description=wanted.new.description,
            agency_name=wanted.new.agency_name,
            enterprise_project_id=wanted.new.enterprise_project_id,
            resources=made.resources,
            created_at=self._clock.now(),
        )
        tx.applications.add(application)
        return application, made

    def _announce(self, versions: Sequence[FunctionVersion]) -> None:
        for version in versions:
            self._makers.functions.announce(version)
        self._makers.triggers.announce()

    def _url(self, tx: Tx, application: Application, resource: StackResource) -> str:
        if resource.kind is not ResourceKind.TRIGGER:
            return ""
        trigger = tx.triggers.get(application.project_id, resource.resource_id)
        return self._makers.triggers.url_of(trigger) if trigger is not None else ""


def _require(tx: Tx, principal: Principal, application_id: str) -> Application:
    application = tx.applications.get(principal.project.project_id, application_id)
    if application is None:
        raise ModelError("FSS.0404", f"Application '{application_id[:64]}' does not exist.")
    return application


def _latest(tx: Tx, application: Application, resource: StackResource) -> FunctionVersion | None:
    """Return a function of an application; None for a resource of another kind."""
    if resource.kind is not ResourceKind.FUNCTION:
        return None
    return tx.functions.get(application.project_id, DEFAULT_PACKAGE, resource.name, LATEST)
