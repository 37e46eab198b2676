"""Operations on templates of functions and applications: what comes with the server, to be read."""

import base64
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from funclet.api.call import Call, resources_of
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.services.app_templates import AppTemplate
from funclet.services.template_catalog import FunctionTemplate

T = TypeVar("T")

DEFAULT_PAGE, MAX_PAGE = 100, 500
SERVICE = "FunctionGraph"
# The vendor's numbers are not published; all of ours are of one kind.
_TYPE = 1
_VERSION = 1


async def list_function_templates(call: Call) -> Response:
    """Serve ListFunctionTemplate. All are public, so whoever wants those that are not gets none."""
    query = call.query
    found = [
        template
        for template in resources_of(call).templates.functions
        if query.get("runtime", "") in ("", template.runtime)
        and query.get("scene", "") in ("", template.scene)
        and query.get("service", "") in ("", SERVICE)
        and query.get("ispublic", "").lower() != "false"
    ]
    shown, following = _page(call, found)
    return codec.json_response(200, {"func_templates": [_function(one) for one in shown], "next_marker": following})


async def show_function_template(call: Call) -> Response:
    """Serve ShowFunctionTemplate."""
    return codec.json_response(200, _function(resources_of(call).templates.function(call.parameters["template_id"])))


async def list_app_templates(call: Call) -> Response:
    """Serve ListAppTemplates."""
    query = call.query
    found = [
        template
        for template in resources_of(call).templates.applications
        if query.get("runtime", "") in ("", template.runtime) and query.get("category", "") in ("", template.category)
    ]
    shown, following = _page(call, found)
    rows = [
        {
            "id": template.template_id,
            "name": template.name,
            "runtime": template.runtime,
            "category": template.category,
            "description": template.description.of(_language(call)),
            "image": "",
        }
        for template in shown
    ]
    return codec.json_response(200, {"templates": rows, "next_marker": following, "count": len(found)})


async def show_app_template(call: Call) -> Response:
    """Serve ShowAppTemplate; `params` is the text of a JSON array."""
    template = resources_of(call).templates.application(call.parameters["id"])
    language = _language(call)
    body = {
        "name": template.name,
        "description": template.description.of(language),
        "runtime": template.runtime,
        "category": template.category,
        "params": _parameters(template, language),
        "image": "",
        "deploy_count": await resources_of(call).applications.count_of(call.principal, template),
        "version": _VERSION,
        "template_guide": template.guide.of(language),
        "create_time": int(template.created_at * 1000),
        "update_time": int(template.created_at * 1000),
        "resources": [{"resource_name": name, "icon": "", "href": ""} for name in _names(template)],
    }
    return codec.json_response(200, body)


def _page(call: Call, found: Sequence[T]) -> tuple[Sequence[T], int]:
    marker, size = codec.page(call, "maxitems", default=DEFAULT_PAGE, maximum=MAX_PAGE)
    shown = found[marker : marker + size]
    return shown, marker + len(shown)


def _function(template: FunctionTemplate) -> dict[str, Any]:
    upload = template.sources.upload
    is_text = upload.code_type == "inline"
    return {
        "id": template.template_id,
        "type": _TYPE,
        "title": template.title,
        "template_name": template.name,
        "description": template.description,
        "runtime": template.runtime,
        "handler": template.handler,
        "code_type": upload.code_type,
        "code": upload.content.decode() if is_text else base64.b64encode(upload.content).decode(),
        "timeout": template.timeout_s,
        "memory_size": template.memory_mib,
        "trigger_metadata_list": template.triggers,
        "temp_detail": {
            "input": template.sample_input,
            "output": template.sample_output,
            "warning": template.warning,
        },
        "user_data": template.user_data,
        "encrypted_user_data": "",
        "dependencies": [],
        "scene": template.scene,
        "service": SERVICE,
    }


def _language(call: Call) -> str:
    return call.request.headers.get("x-language", "")


def _names(template: AppTemplate) -> Sequence[str]:
    """Return what an application will have of its own, in the order in which it is made."""
    return [one.name for group in (template.dependencies, template.parts, template.triggers) for one in group]


def _parameters(template: AppTemplate, language: str) -> str:
    return json.dumps(
        [
            {
                "name": parameter.name,
                "description": parameter.description.of(language),
                "default": parameter.default,
                "required": parameter.is_required,
            }
            for parameter in template.parameters
        ],
        ensure_ascii=False,
    )
