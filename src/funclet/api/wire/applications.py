"""Operations on applications, and their bodies. Start with `create_application`."""

from typing import Any

import msgspec

from funclet.api.actions import (
    ASYNC_ACTION,
    CREATE_ACTION,
    DELETE_DEPENDENCY_ACTION,
    NEW_DEPENDENCY_ACTION,
    TRIGGER_ACTION,
)
from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.api.wire.guards import check_action, check_agencies, check_deletion, check_settings
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.resources import Application, ResourceKind, StackResource
from funclet.model.urn import DEFAULT_PACKAGE
from funclet.services.applications import ShownResource
from funclet.services.blueprint import Blueprint, NewApplication

DEFAULT_PAGE, MAX_PAGE = 100, 500
# Everything is made in one transaction, so no client ever sees another state.
STATUS = "success"
SERVICE = "FunctionGraph"
WARNING = "X-Cff-Warning"


class ApplicationFields(msgspec.Struct):
    """Body of `CreateFunctionApp`."""

    name: str | None = None
    template_id: str | None = None
    description: str | None = None
    enterprise_project_id: str | None = None
    agency_name: str | None = None
    params: dict[str, str | int | float | bool | None] | None = None


async def create_application(call: Call) -> Response:
    """Serve CreateFunctionApp."""
    fields = codec.decode(ApplicationFields, call)
    for name, value in (("name", fields.name), ("template_id", fields.template_id)):
        if not value:
            raise ModelError("FSS.0400", f"{name} is missing.")
    new = NewApplication(
        name=fields.name or "",
        template_id=fields.template_id or "",
        description=fields.description or "",
        agency_name=fields.agency_name or "",
        enterprise_project_id=fields.enterprise_project_id or "",
        parameters={name: _text(value) for name, value in (fields.params or {}).items() if value is not None},
    )
    await check_agencies(call, new.agency_name)
    applications = resources_of(call).applications
    blueprint = applications.draw(call.principal, new)
    _check_rights(call, blueprint)
    application = await applications.create(
        call.principal, blueprint, lambda who, action, name: call.gate.may(call.request, who, action, name)
    )
    return codec.json_response(200, {"application_id": application.application_id})


async def list_applications(call: Call) -> Response:
    """Serve ListFunctionApplications."""
    marker, size = codec.page(call, "limit", default=DEFAULT_PAGE, maximum=MAX_PAGE)
    found, count = await resources_of(call).applications.find(call.principal, offset=marker, limit=size)
    rows = [
        {
            "id": application.application_id,
            "name": application.name,
            "status": STATUS,
            "last_modified_time": _milliseconds(application),
            "description": application.description,
        }
        for application in found
    ]
    return codec.json_response(200, {"applications": rows, "next_marker": marker + len(rows), "count": count})


async def show_application(call: Call) -> Response:
    """Serve ShowFunctionApp. Repository and pipeline are empty: this server has neither."""
    state = await resources_of(call).applications.get(call.principal, call.parameters["id"])
    application = state.application
    body = {
        "id": application.application_id,
        "name": application.name,
        "description": application.description,
        "status": STATUS,
        "last_modified_time": _milliseconds(application),
        "stack_id": application.application_id,
        "stack_name": application.name,
        "stack_resources": [_resource(call, application, one) for one in state.resources],
        "repo_name": "",
        "repo": {"https_url": "", "web_url": "", "repo_status": "", "error_msg": "", "project_id": ""},
        "pipeline_id": "",
        "project_id": application.project_id,
        "apig_url": state.url,
    }
    return codec.json_response(200, body)


async def delete_application(call: Call) -> Response:
    """Serve DeleteFunctionApp. A header names the dependencies that stay because other functions use them."""
    applications, application_id = resources_of(call).applications, call.parameters["id"]
    # Whoever may not delete a resource may not do so by way of its application.
    state = await applications.get(call.principal, application_id)
    functions = (one.resource for one in state.resources if one.resource.kind is ResourceKind.FUNCTION)
    await check_deletion(call, ((DEFAULT_PACKAGE, function.name) for function in functions))
    for version in await applications.dependencies_of(call.principal, state):
        check_action(call, DELETE_DEPENDENCY_ACTION, version.dependency_id, version.version_id)
    kept = await applications.delete(call.principal, application_id)
    headers = {WARNING: f"dependency-kept: {', '.join(one.name for one in kept)}"} if kept else {}
    return Response(status=204, headers=headers)


def _check_rights(call: Call, blueprint: Blueprint) -> None:
    """Refuse a caller that may not make one of the resources by itself."""
    if blueprint.dependencies:
        check_action(call, NEW_DEPENDENCY_ACTION)
    actions = {one.logical_name: [CREATE_ACTION] for one in blueprint.functions}
    for trigger in blueprint.triggers:
        actions[trigger.function].append(TRIGGER_ACTION)
    for one in blueprint.settings:
        actions[one.function].append(ASYNC_ACTION)
    for function in blueprint.functions:
        settings, place = function.new.settings, (function.new.package, function.new.name)
        for action in actions[function.logical_name]:
            check_settings(call, action, place, runtime=settings.runtime, echoed=settings.echoed)


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _milliseconds(application: Application) -> int:
    return int(application.created_at * 1000)


def _resource(call: Call, application: Application, shown: ShownResource) -> dict[str, Any]:
    resource, made_at = shown.resource, utc_text(application.created_at)
    return {
        "physical_resource_id": _physical_id(call, application, resource),
        "physical_resource_name": resource.name,
        "logical_resource_name": resource.logical_name,
        "logical_resource_type": resource.kind,
        "resource_status": "CREATE_COMPLETE" if shown.is_present else "DELETED",
        "status_message": f"Made at {made_at}{'' if shown.is_present else ', deleted since'}.",
        "href": shown.url,
        "display_name": SERVICE,
    }


def _physical_id(call: Call, application: Application, resource: StackResource) -> str:
    if resource.kind in (ResourceKind.FUNCTION, ResourceKind.ASYNC_SETTINGS):
        return str(resources_of(call).applications.urn_of(application, resource))
    return resource.resource_id
