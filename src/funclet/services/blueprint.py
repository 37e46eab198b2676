"""What an application will be made of: its template with all texts filled in. Start with `draw`. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from funclet.model.async_config import DestinationConfig
from funclet.model.errors import ModelError
from funclet.model.function import MAX_DESCRIPTION_LENGTH, Settings
from funclet.model.resources import check_application_name
from funclet.model.urn import DEFAULT_PACKAGE, Urn
from funclet.services.app_templates import (
    AppTemplate,
    DependencyTemplate,
    Parameter,
    PartTemplate,
    SettingsTemplate,
    TriggerTemplate,
)
from funclet.services.dependencies import DependencyUpload
from funclet.services.functions import NewFunction
from funclet.services.triggers import NewTrigger

MAX_PARAMETER_LENGTH = 1024
MAX_AGENCY_LENGTH = 64
_FUNCTION_KIND = "FunctionGraph"


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
class PlannedDependency:
    """A dependency to be made."""

    logical_name: str
    upload: DependencyUpload


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFunction:
    """A function to be made, but for the ids of its dependencies, which are not known yet."""

    logical_name: str
    new: NewFunction
    dependencies: Sequence[str]
    """Logical names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTrigger:
    """A trigger to be made."""

    logical_name: str
    function: str
    """Logical name."""
    new: NewTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSettings:
    """Settings of asynchronous requests to be made."""

    function: str
    """Logical name."""
    retries: int
    on_success: DestinationConfig | None
    on_failure: DestinationConfig | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """Everything that an application will be made of."""

    application_id: str
    new: NewApplication
    dependencies: Sequence[PlannedDependency]
    functions: Sequence[PlannedFunction]
    triggers: Sequence[PlannedTrigger]
    settings: Sequence[PlannedSettings]


def draw(template: AppTemplate, new: NewApplication, application_id: str, *, region: str, project_id: str) -> Blueprint:
    """Return what an application will be made of.

    Raises:
        ModelError: FSS.0400 or FSS.1019 for a wrong field or parameter.
    """
    _check(new)
    values = _values(template, new.parameters)
    filler = _Filler(new.name, application_id, values, region=region, project_id=project_id)
    return Blueprint(
        application_id=application_id,
        new=new,
        dependencies=[_dependency(new, one) for one in template.dependencies],
        functions=[_function(new, one, values) for one in template.parts],
        triggers=[_trigger(one, filler) for one in template.triggers],
        settings=[_settings(one, filler) for one in template.settings if not one.needs or values[one.needs]],
    )


class _Filler:
    """Puts the values of parameters, and what is known of the application, into the texts of a template."""

    def __init__(
        self, name: str, application_id: str, values: Mapping[str, str], *, region: str, project_id: str
    ) -> None:
        self._name = name
        self._known = {**values, "application": name, "id": application_id.replace("-", "")}
        self._region = region
        self._project_id = project_id

    def fill(self, value: Any) -> Any:
        """Return a value with all its texts filled in."""
        if isinstance(value, str):
            return Template(value).substitute(self._known)
        if isinstance(value, Mapping):
            return {name: self.fill(member) for name, member in value.items()}
        return value

    def destination(self, table: Mapping[str, Any]) -> DestinationConfig | None:
        """Return a destination; None if the template has none there."""
        if not table:
            return None
        members = self.fill({name: value for name, value in table.items() if name != "kind"})
        if table["kind"] == _FUNCTION_KIND:
            members = {"func_urn": self._urn(members["function"])}
        return DestinationConfig(kind=table["kind"], param=json.dumps(members))

    def _urn(self, logical_name: str) -> str:
        name = f"{self._name}-{logical_name}"
        return str(Urn(region=self._region, project_id=self._project_id, package=DEFAULT_PACKAGE, name=name))


def _check(new: NewApplication) -> None:
    check_application_name(new.name)
    if len(new.description) > MAX_DESCRIPTION_LENGTH:
        raise ModelError("FSS.1019", f"description is longer than {MAX_DESCRIPTION_LENGTH} characters.")
    for name, text in (("agency_name", new.agency_name), ("enterprise_project_id", new.enterprise_project_id)):
        if len(text) > MAX_AGENCY_LENGTH:
            raise ModelError("FSS.0400", f"{name} is longer than {MAX_AGENCY_LENGTH} characters.")


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
        raise ModelError("FSS.0400", f"params.{parameter.name} is missing: {parameter.description.english}.")
    if len(value) > MAX_PARAMETER_LENGTH:
        raise ModelError("FSS.0400", f"params.{parameter.name} is longer than {MAX_PARAMETER_LENGTH} characters.")
    return value


def _dependency(new: NewApplication, template: DependencyTemplate) -> PlannedDependency:
    upload = DependencyUpload(
        name=f"{new.name}-{template.name}",
        runtime=template.runtime,
        description=_description(new),
        dependency_type="zip",
        content=template.sources.archive,
    )
    return PlannedDependency(logical_name=template.name, upload=upload)


def _function(new: NewApplication, part: PartTemplate, values: Mapping[str, str]) -> PlannedFunction:
    echoed = {
        "xrole": new.agency_name,
        "enterprise_project_id": new.enterprise_project_id,
        "mount_config": _mounts(part, values),
    }
    settings = Settings(
        runtime=part.runtime,
        handler=part.handler,
        timeout_s=part.timeout_s,
        memory_mib=part.memory_mib,
        max_instances=part.max_instances,
        description=_description(new),
        user_data=_variables(part.variables, values),
        encrypted_user_data=_variables(part.secrets, values),
        echoed={name: value for name, value in echoed.items() if value},
    )
    return PlannedFunction(
        logical_name=part.name,
        new=NewFunction(
            package=DEFAULT_PACKAGE, name=f"{new.name}-{part.name}", settings=settings, upload=part.sources.upload
        ),
        dependencies=part.dependencies,
    )


def _description(new: NewApplication) -> str:
    return f"Part of application {new.name}"


def _variables(wanted: Mapping[str, str], values: Mapping[str, str]) -> str:
    return json.dumps({name: values[parameter] for name, parameter in wanted.items()}) if wanted else ""


def _mounts(part: PartTemplate, values: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Return the mount of a file system; None if the template has none, or nobody has named one."""
    share = values[part.share["parameter"]] if part.share else ""
    if not share:
        return None
    mount = {
        "mount_type": "sfs",
        "mount_resource": share,
        "local_mount_path": part.share["path"],
        "status": "active",
    }
    return {"mount_user": {"user_id": -1, "user_group_id": -1}, "func_mounts": [mount]}


def _trigger(template: TriggerTemplate, filler: _Filler) -> PlannedTrigger:
    new = NewTrigger(type_code=template.type_code, event_data=filler.fill(template.event_data))
    return PlannedTrigger(logical_name=template.name, function=template.function, new=new)


def _settings(template: SettingsTemplate, filler: _Filler) -> PlannedSettings:
    return PlannedSettings(
        function=template.function,
        retries=template.retries,
        on_success=filler.destination(template.on_success),
        on_failure=filler.destination(template.on_failure),
    )
