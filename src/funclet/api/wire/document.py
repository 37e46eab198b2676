"""The server's own OpenAPI document: rendered when somebody first asks, then kept. Start with `ApiDocument.serve`."""

import hashlib
from collections.abc import Callable, Iterable

from funclet.api.call import Call, Operation
from funclet.api.openapi.document import render
from funclet.base.http import Response


class ApiDocument:
    """The document of a table of operations."""

    def __init__(self, operations: Callable[[], Iterable[Operation]]) -> None:
        """Prepare; `operations` is asked late, since the row of this operation is in the table too."""
        self._operations = operations
        self._body = b""
        self._etag = ""

    async def serve(self, call: Call) -> Response:
        """Serve ShowApiDocument: 304 for a client that has it already."""
        if not self._body:
            self._body = render(self._operations())
            self._etag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'
        headers = {"ETag": self._etag, "Cache-Control": "no-cache"}
        known = {tag.strip().removeprefix("W/") for tag in call.request.headers.get("if-none-match", "").split(",")}
        if self._etag in known or "*" in known:
            return Response(status=304, headers=headers)
        return Response(status=200, body=self._body, headers=headers)
