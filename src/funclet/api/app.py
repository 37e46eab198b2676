"""The pipeline of every API request: match, authenticate, authorize, call, render. Start with `Api.handle`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

from funclet.api import errors
from funclet.api.access import Gate, Rule, rule_of
from funclet.api.call import Call, Operation, Services
from funclet.api.probes import Probes
from funclet.api.traces import Tracer
from funclet.base.clock import SystemClock
from funclet.base.http import Request, Response
from funclet.base.ids import new_uuid
from funclet.model.errors import ModelError
from funclet.model.identity import Principal, Project, ProjectState, User
from funclet.model.project_state import check_effect
from funclet.services.callers import Authenticator
from funclet.store.protocol import StoreUnavailable

MAX_QUERY_PARAMETERS = 100
MAX_REMEMBERED_PATHS, MAX_REMEMBERED_LENGTH = 4096, 512
# Bodies of requests that no operation takes are read only to be thrown away.
MAX_UNMATCHED_BODY_BYTES = 1024 * 1024
_INVOCATIONS = frozenset({"InvokeFunction", "AsyncInvokeFunction", "AsyncInvokeReservedFunction"})
_ANONYMOUS = Principal(
    project=Project(project_id="", name="", domain_id="", domain_name=""),
    user=User(user_id="", name="", domain_id="", password_hash=""),
)


@dataclass(slots=True)
class _Node:
    """One segment of the paths of the table."""

    literals: "dict[str, _Node]" = field(default_factory=dict)
    parameter: "_Node | None" = None
    methods: dict[str, tuple[Operation, Rule]] = field(default_factory=dict)


_Match = tuple[Operation, Rule, Mapping[str, str]]


class Api:
    """Answers the requests of one table of operations."""

    def __init__(
        self,
        *,
        operations: Iterable[Operation],
        services: Services,
        authenticator: Authenticator,
        probes: Probes | None = None,
        gate: Gate | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Take what answers requests.

        Args:
            operations: the table.
            services: the use cases.
            authenticator: tells who calls.
            probes: answers beside the table.
            gate: tells who may call what; without one, of a server in an unnamed region.
            tracer: keeps the audit log; None: there is none.
        """
        self._services = services
        self._probes = probes
        self._authenticator = authenticator
        self._gate = gate or Gate(SystemClock(), region="")
        self._tracer = tracer
        self._root = _Node()
        self._matched: dict[tuple[str, str], _Match] = {}
        for operation in operations:
            _insert(self._root, operation)

    async def handle(self, request: Request) -> Response:
        """Answer one request. What is raised from here is a fault of ours.

        The answer carries X-Request-Id, also when it is an error.
        """
        request_id = new_uuid()
        try:
            response = await self._answer(request, request_id)
        except (ModelError, StoreUnavailable) as error:
            response = errors.from_error(error, path=request.raw_path, request_id=request_id)
        response.headers["X-Request-Id"] = request_id
        return response

    def body_limit(self, method: str, raw_path: str) -> tuple[int, str]:
        """Return the largest body in bytes for a request, and the code with which a larger one is refused."""
        try:
            operation, _, _ = self._match(method, raw_path)
        except ModelError:
            return MAX_UNMATCHED_BODY_BYTES, "FSS.0413"
        return operation.max_body_bytes, _too_large_code(operation)

    async def _answer(self, request: Request, request_id: str) -> Response:
        probe = self._probes.find(request) if self._probes is not None else None
        if probe is not None:
            return await probe(request)
        operation, rule, parameters = self._match(request.method, request.raw_path)
        principal = _ANONYMOUS
        try:
            if not operation.is_public:
                project_id = parameters.get("project_id", "")
                principal = await self._authenticator.authenticate(request, project_id=project_id)
                _check_project(parameters, principal)
                facts = await self._gate.look_up(parameters, principal) if principal.grants.asks_function else None
                self._gate.check(operation, rule, request, parameters, principal, facts)
                if principal.project.state is not ProjectState.NORMAL:
                    check_effect(principal.project, rule.effect)
        except ModelError as error:
            if self._tracer is not None:
                resource = self._gate.resource_of(operation, rule, request, parameters, principal)
                self._tracer.denied(operation, rule, request, principal, resource, request_id, error)
            raise
        if len(request.body) > operation.max_body_bytes:
            raise ModelError(
                _too_large_code(operation), f"The body is larger than the {operation.max_body_bytes} bytes allowed."
            )
        if operation.serve is None:
            raise ModelError("FSS.0501", f"The operation {operation.name} is not built yet.")
        call = Call(
            services=self._services,
            principal=principal,
            parameters=parameters,
            query=_decode_query(request.raw_query),
            request=request,
            request_id=request_id,
            gate=self._gate,
        )
        if rule.is_traced and self._tracer is not None:
            resource = self._gate.resource_of(operation, rule, request, parameters, principal)
            return await self._tracer.serve(operation, rule, call, resource)
        return await operation.serve(call)

    def _match(self, method: str, raw_path: str) -> _Match:
        key = (method, raw_path)
        found = self._matched.get(key)
        if found is None:
            found = self._search(method, raw_path)
            if len(self._matched) >= MAX_REMEMBERED_PATHS:
                self._matched.clear()
            if len(raw_path) <= MAX_REMEMBERED_LENGTH:
                self._matched[key] = found
        return found

    def _search(self, method: str, raw_path: str) -> _Match:
        # Only one slash is ignored: a redirect would make clients sign again with the wrong headers.
        segments = [_decode_segment(part) for part in raw_path.removesuffix("/").split("/")[1:]]
        node, values = _find(self._root, segments, 0) or (None, [])
        if node is None:
            raise ModelError("APIG.0101", f"No API answers under {raw_path[:200]}.")
        row = node.methods.get(method)
        if row is None:
            allowed = ", ".join(sorted(node.methods))
            message = f"{method} is not possible under {raw_path[:200]}, only {allowed}."
            raise errors.MethodRefused(message, allowed=allowed)
        operation, rule = row
        return operation, rule, dict(zip(_parameter_names(operation.path), values, strict=True))


def _insert(root: _Node, operation: Operation) -> None:
    node = root
    for segment in operation.path.split("/")[1:]:
        if segment.startswith("{"):
            node.parameter = node.parameter or _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(segment, _Node())
    if operation.method in node.methods:
        raise ValueError(f"two operations answer {operation.method} {operation.path}")
    node.methods[operation.method] = (operation, rule_of(operation))


def _find(node: _Node, segments: list[str], depth: int) -> tuple[_Node, list[str]] | None:
    """Return the node of a path and the values of its parameters. A literal wins wherever it leads to a match."""
    if depth == len(segments):
        return (node, []) if node.methods else None
    segment = segments[depth]
    literal = node.literals.get(segment)
    found = _find(literal, segments, depth + 1) if literal else None
    if found is None and node.parameter is not None and segment:
        found = _find(node.parameter, segments, depth + 1)
        if found is not None:
            found[1].insert(0, segment)
    return found


def _parameter_names(path: str) -> list[str]:
    return [segment[1:-1] for segment in path.split("/") if segment.startswith("{")]


def _too_large_code(operation: Operation) -> str:
    return "FSS.1201" if operation.name in _INVOCATIONS else "FSS.0413"


def _decode_segment(segment: str) -> str:
    if "%" not in segment and segment.isascii():
        return segment
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError as error:
        raise ModelError("FSS.0400", "The path is not UTF-8.") from error


def _decode_query(query: str) -> Mapping[str, str]:
    if not query:
        return {}
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS, errors="strict"))
    except UnicodeDecodeError as error:
        raise ModelError("FSS.1001", "The query is not UTF-8.") from error
    except ValueError as error:
        raise ModelError("FSS.1001", f"There are more than {MAX_QUERY_PARAMETERS} query parameters.") from error


def _check_project(parameters: Mapping[str, str], principal: Principal) -> None:
    project_id = parameters.get("project_id")
    if project_id is None or project_id == principal.project.project_id:
        return
    if project_id == "{project_id}":
        raise ModelError("FSS.0400", "The client filled in no project id; set it in its credentials.")
    raise ModelError("FSS.0403", f"The project '{project_id[:64]}' is not the one of your credentials.")
