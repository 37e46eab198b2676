"""Use cases of applications: functions made together from a template. Start with `ApplicationService.create`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from funclet.base.clock import Clock
from funclet.base.ids import new_uuid
from funclet.model.errors import ModelError
from funclet.model.function import MAX_DESCRIPTION_LENGTH, FunctionVersion, Settings
from funclet.model.identity import Principal
from funclet.model.resources import MAX_APPLICATIONS, Application, ApplicationFunction, check_application_name
from funclet.model.urn import DEFAULT_PACKAGE, LATEST, Urn
from funclet.services.functions import FunctionService, NewFunction
from funclet.services.template_catalog import AppTemplate, Parameter, PartTemplate, TemplateCatalog
from funclet.store.protocol import Duplicate, Store, Tx

MAX_PARAMETER_LENGTH = 1024
MAX_AGENCY_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApplication:
    """An application to be made."""

    name: str
    template_id: str
    description: str = ""
    agency_name: str = ""
    enterprise_project_id: str = ""
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppState:
    """An application, and which of its functions are still there."""

    application: Application
    present: frozenset[str]
    """Ids of functions."""


class ApplicationService:
    """Applications of all projects. Each is made and deleted in one transaction, so none is ever half there."""

    def __init__(
        self, store: Store, clock: Clock, functions: FunctionService, catalog: TemplateCatalog, *, region: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._functions = functions
        self._region = region
        self.catalog = catalog

    async def create(self, principal: Principal, new: NewApplication) -> Application:
        """Make all functions of a template, named `<application>-<part>`, or none.

        Raises:
            ModelError: FSS.0400 or FSS.1019 for a wrong field, FSS.1059 without the template, FSS.0409 if the name is
                taken, FSS.0403 beyond the limit of applications, and those of `FunctionService.create`.
        """
        check_application_name(new.name)
        if len(new.description) > MAX_DESCRIPTION_LENGTH:
            raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")
        for name, text in (("agency_name", new.agency_name), ("enterprise_project_id", new.enterprise_project_id)):
            if len(text) > MAX_AGENCY_LENGTH:
                raise ModelError("FSS.0400", f"{name} is longer than {MAX_AGENCY_LENGTH} characters.")
        versions = [await self._functions.prepare(principal, part) for part in self.functions_of(new)]
        application = Application(
            application_id=new_uuid(),
            project_id=principal.project.project_id,
            name=new.name,
            template_id=new.template_id,
            description=new.description,
            agency_name=new.agency_name,
            enterprise_project_id=new.enterprise_project_id,
            functions=[
                ApplicationFunction(function_id=version.function_id, package=version.package, name=version.name)
                for version in versions
            ],
            created_at=self._clock.now(),
        )
        await self._store.write(lambda tx: self._add(tx, application, versions))
        for version in versions:
            self._functions.announce(version)
        return application

    def functions_of(self, new: NewApplication) -> Sequence[NewFunction]:
        """Return the functions that `create` would make.

        Raises:
            ModelError: FSS.1059 without the template, FSS.0400 for a wrong parameter.
        """
        template = self.catalog.application(new.template_id)
        values = _values(template, new.parameters)
        return [_function_of(new, part, values) for part in template.parts]

    async def get(self, principal: Principal, application_id: str) -> AppState:
        """Return an application.

        Raises:
            ModelError: FSS.0404.
        """

        def work(tx: Tx) -> AppState:
            application = _require(tx, principal, application_id)
            present = {version.function_id for version in _present(tx, application)}
            return AppState(application=application, present=frozenset(present))

        return await self._store.read(work)

    async def find(self, principal: Principal, *, offset: int, limit: int) -> tuple[Sequence[Application], int]:
        """Return a page of the applications of the project, oldest first, and the count of all."""
        project_id = principal.project.project_id
        return await self._store.read(lambda tx: tx.applications.list(project_id, offset=offset, limit=limit))

    async def count_of(self, principal: Principal, template: AppTemplate) -> int:
        """Return how many applications of the project were made from a template."""
        found, _ = await self.find(principal, offset=0, limit=MAX_APPLICATIONS)
        return sum(one.template_id == template.template_id for one in found)

    async def delete(self, principal: Principal, application_id: str) -> None:
        """Delete an application with those of its functions that are still there.

        Raises:
            ModelError: FSS.0404.
        """

        def work(tx: Tx) -> Sequence[FunctionVersion]:
            application = _require(tx, principal, application_id)
            versions = _present(tx, application)
            for version in versions:
                tx.functions.delete(version.function_id)
            tx.applications.delete(application_id)
            return versions

        for version in await self._store.write(work):
            self._functions.announce(version)

    def urn_of(self, application: Application, function: ApplicationFunction) -> Urn:
        """Return the urn of a function of an application, without a version."""
        return Urn(region=self._region, project_id=application.project_id, package=function.package, name=function.name)

    def _add(self, tx: Tx, application: Application, versions: Sequence[FunctionVersion]) -> None:
        try:
            tx.applications.add(application)
        except Duplicate as error:
            raise ModelError("FSS.0409", f"Application '{application.name}' exists already in this project.") from error
        _, count = tx.applications.list(application.project_id, offset=0, limit=1)
        if count > MAX_APPLICATIONS:
            raise ModelError("FSS.0403", f"The project has {MAX_APPLICATIONS} applications; delete one first.")
        for version in versions:
            self._functions.add(tx, version)


def _values(template: AppTemplate, given: Mapping[str, str]) -> dict[str, str]:
    """Return the value of every parameter."""
    known = {parameter.name for parameter in template.parameters}
    unknown = sorted(given.keys() - known)
    if unknown:
        names = ", ".join(sorted(known))
        raise ModelError("FSS.0400", f"params has '{unknown[0][:80]}', but this template takes {names}.")
    return {parameter.name: _value(parameter, given) for parameter in template.parameters}


def _value(parameter: Parameter, given: Mapping[str, str]) -> str:
    value = given.get(parameter.name, parameter.default)
    if parameter.is_required and not value:
        raise ModelError("FSS.0400", f"params.{parameter.name} is missing: {parameter.description}.")
    if len(value) > MAX_PARAMETER_LENGTH:
        raise ModelError("FSS.0400", f"params.{parameter.name} is longer than {MAX_PARAMETER_LENGTH} characters.")
    return value


def _function_of(new: NewApplication, part: PartTemplate, values: Mapping[str, str]) -> NewFunction:
    echoed = {"xrole": new.agency_name, "enterprise_project_id": new.enterprise_project_id}
    return NewFunction(
        package=DEFAULT_PACKAGE,
        name=f"{new.name}-{part.name}",
        settings=Settings(
            runtime=part.runtime,
            handler=part.handler,
            timeout_s=part.timeout_s,
            memory_mib=part.memory_mib,
            description=f"Part of application {new.name}",
            user_data=_variables(part.variables, values),
            encrypted_user_data=_variables(part.secrets, values),
            echoed={name: value for name, value in echoed.items() if value},
        ),
        upload=part.sources.upload,
    )


def _variables(wanted: Mapping[str, str], values: Mapping[str, str]) -> str:
    return json.dumps({name: values[parameter] for name, parameter in wanted.items()}) if wanted else ""


def _require(tx: Tx, principal: Principal, application_id: str) -> Application:
    application = tx.applications.get(principal.project.project_id, application_id)
    if application is None:
        raise ModelError("FSS.0404", f"Application '{application_id[:64]}' does not exist.")
    return application


def _present(tx: Tx, application: Application) -> Sequence[FunctionVersion]:
    """Return `latest` of the functions that are still those that were made."""
    found = [
        tx.functions.get(application.project_id, function.package, function.name, LATEST)
        for function in application.functions
    ]
    ids = {function.function_id for function in application.functions}
    return [version for version in found if version is not None and version.function_id in ids]
