"""What follows a change of a function or a trigger in each process: `Changes`."""

import re

from funclet.base.http import Request, Response
from funclet.base.tasks import TaskOwner
from funclet.catalog import Catalog
from funclet.cluster.codec import Hint
from funclet.cluster.mesh import Mesh
from funclet.cluster.ownership import owner_of
from funclet.dataplane.dispatcher import Dispatcher
from funclet.front.listener import Handler
from funclet.model.errors import ModelError
from funclet.triggers.reserved import Reserver
from funclet.wiring import Parts

_INVOCATION = re.compile(r"/v2/[^/]+/fgs/functions/[^/]+/invocations/?")


class Changes:
    """What a process does when a function or a trigger was changed, here or by process 0."""

    def __init__(
        self, parts: Parts, dispatcher: Dispatcher, loops: TaskOwner, mesh: Mesh | None, *, region: str
    ) -> None:
        me, count = (mesh.member.number, mesh.member.count) if mesh else (0, 1)
        self._parts = parts
        self._dispatcher = dispatcher
        self._loops = loops
        self._mesh = mesh
        self._reserver = Reserver(
            parts.store,
            parts.catalog,
            dispatcher,
            parts.clock,
            region=region,
            owns=lambda function_id: owner_of(function_id, count) == me,
        )
        loops.start(self._reserver.run(), name="reserved instances")

    def publish(self, hint: Hint) -> None:
        """Act on a change that was made here, and tell the other processes."""
        self.heed(hint)
        if self._mesh is not None:
            self._mesh.publish(hint)

    def heed(self, hint: Hint) -> None:
        """Forget what has changed: when this returns, no request is answered from it any more."""
        parts = self._parts
        if hint.is_of_identity:
            parts.authenticator.forget()
            return
        parts.routes.changed()
        if not hint.name:
            return
        function = (hint.project_id, hint.package, hint.name)
        parts.catalog.forget(*function)
        self._reserver.changed()
        self._loops.start(_retire_outdated(self._dispatcher, parts.catalog, function), name="retire instances")

    def settled(self, handle: Handler) -> Handler:
        """Return a handler that answers a change only when every process knows of it."""
        mesh = self._mesh
        assert mesh is not None

        async def handle_and_settle(request: Request) -> Response:
            """Answer a request; a change is answered when the other processes have heeded it."""
            response = await handle(request)
            if not mesh.is_settled and not is_invocation(request):
                await mesh.settle()
            return response

        return handle_and_settle


def is_invocation(request: Request) -> bool:
    """Tell whether a request of the API runs a function now."""
    return request.method == "POST" and _INVOCATION.fullmatch(request.raw_path) is not None


async def _retire_outdated(dispatcher: Dispatcher, catalog: Catalog, function: tuple[str, str, str]) -> None:
    """End the instances of one function that no request will run on any more: deleted, disabled or of older code."""
    for version in dispatcher.versions():
        if (version.project_id, version.package, version.name) != function:
            continue
        try:
            current = await catalog.resolve(version.urn)
        except ModelError:
            dispatcher.retire(version)
        else:
            if current.revision > version.revision or current.settings.max_instances == 0:
                dispatcher.retire(version)
