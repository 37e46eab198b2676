"""Signed links to stored packages, and their download."""

from funclet.api.call import Call
from funclet.base.http import Response

DOWNLOAD_PATH = "/v2/{project_id}/funclet/code/{digest}"


def link_to(call: Call, digest: str) -> str:
    """Return a link to a package on the address by which the client reached us; empty for an empty digest."""
    if not digest:
        return ""
    headers = call.request.headers
    scheme = "https" if headers.get("x-forwarded-proto") == "https" else "http"
    query = "&".join(f"{key}={value}" for key, value in call.services.functions.links.sign(digest).items())
    path = DOWNLOAD_PATH.format(project_id=call.principal.project.project_id, digest=digest)
    return f"{scheme}://{headers.get('host', 'localhost')}{path}?{query}"


async def download_code(call: Call) -> Response:
    """Send a package to whoever has a signed link to it."""
    service = call.services.functions
    digest = call.parameters["digest"]
    service.links.check(digest, call.query)
    data = await service.read_code(digest)
    headers = {"Content-Disposition": 'attachment; filename="code.zip"', "Cache-Control": "private, no-store"}
    return Response(status=200, body=data, content_type="application/zip", headers=headers)
