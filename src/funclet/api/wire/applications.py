"""Operations on applications, and their bodies. Start with `create_application`."""

from typing import Any

import msgspec

from funclet.api.actions import CREATE_ACTION
from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.api.wire.guards import check_agencies, check_deletion, check_settings
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.resources import Application
from funclet.services.applications import AppState, NewApplication

DEFAULT_PAGE, MAX_PAGE = 100, 500
# All functions are made in one transaction, so no client ever sees another state.
STATUS = "success"
SERVICE = "FunctionGraph"


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
    applications = resources_of(call).applications
    await check_agencies(call, new.agency_name)
    for part in applications.functions_of(new):
        settings, place = part.settings, (part.package, part.name)
        check_settings(call, CREATE_ACTION, place, runtime=settings.runtime, echoed=settings.echoed)
    application = await applications.create(call.principal, new)
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
    """Serve ShowFunctionApp. Repository, pipeline and gateway are empty: this server makes functions only."""
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
        "stack_resources": _resources(call, state),
        "repo_name": "",
        "repo": {"https_url": "", "web_url": "", "repo_status": "", "error_msg": "", "project_id": ""},
        "pipeline_id": "",
        "project_id": application.project_id,
        "apig_url": "",
    }
    return codec.json_response(200, body)


async def delete_application(call: Call) -> Response:
    """Serve DeleteFunctionApp."""
    applications, application_id = resources_of(call).applications, call.parameters["id"]
    # Whoever may not delete a function may not do so by way of its application.
    application = (await applications.get(call.principal, application_id)).application
    await check_deletion(call, ((one.package, one.name) for one in application.functions))
    await applications.delete(call.principal, application_id)
    return codec.no_content()


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _milliseconds(application: Application) -> int:
    return int(application.created_at * 1000)


def _resources(call: Call, state: AppState) -> list[dict[str, Any]]:
    applications = resources_of(call).applications
    return [
        {
            "physical_resource_id": str(applications.urn_of(state.application, function)),
            "physical_resource_name": function.name,
            "logical_resource_name": function.name.removeprefix(f"{state.application.name}-"),
            "logical_resource_type": "function",
            "resource_status": "CREATE_COMPLETE" if function.function_id in state.present else "DELETED",
            "status_message": "",
            "href": "",
            "display_name": SERVICE,
        }
        for function in state.application.functions
    ]
