"""Requests made up from the table of operations: nearly right, wrong, and hostile. Start with `requests`."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hypothesis import strategies as st

from funclet.api.operations import OPERATIONS
from funclet.api.signing import signature, signing_key
from funclet.base.http import Request
from tests.support import hostile
from tests.support.packages import zip_base64, zip_of
from tests.support.server import AK, PROJECT_ID, REGION, SK

FACTS = json.loads((Path(__file__).parents[1] / "api" / "operation_shapes.json").read_text())
SHAPES = FACTS["shapes"]
NAMES = [f"gen{number}" for number in range(5)]
ECHO = "def handler(event, context):\n    return {'event': event}\n"
_PREFIX = f"urn:fss:{REGION}:{PROJECT_ID}:function:default"

_SEEDS = {
    "func_name": NAMES,
    "package": ["default", "shop", ""],
    "runtime": [
        "Python3.10",
        "Python3.9",
        "Node.js18.15",
        "Java11",
        "http",
        "Custom",
        "Go1.x",
        "Custom Image",
        "Cobol",
    ],
    "handler": ["index.handler", "index.none", "bootstrap", "-", "a.b.c"],
    "timeout": [3, 30, 259200, 2, 0],
    "memory_size": [128, 256, 129, 10240],
    "code_type": ["zip", "inline", "obs", "jar", "Custom-Image-Swr"],
    "code_filename": ["index.zip", "index.py", "../x.py", ""],
    "code_url": ["http://127.0.0.1:1/a.zip", "file:///etc/passwd", "ftp://x", ""],
    "user_data": ['{"A":"1"}', "{}", "[]", "{", '{"RUNTIME_PACKAGE":"x"}', '{"a":1}', '{"A":"\\ud800"}'],
    "encrypted_user_data": ['{"S":"1"}', ""],
    "version": ["v1", "v2", "latest", "one"],
    "name": ["a1", "a2", "tick", "!x"],
    "trigger_type_code": ["TIMER", "APIG", "DEDICATEDGATEWAY", "OBS", "KAFKA", "timer", "NOTHING"],
    "trigger_status": ["ACTIVE", "DISABLED", "active"],
    "additional_version_weights": [{"v2": 50}, {"v1": 101}, {"v1": 1, "v2": 2}, {"latest": 5}],
    "depend_type": ["zip", "obs", "swr"],
    "depend_link": ["http://127.0.0.1:1/a.zip", "obs://bucket/a.zip", "file:///etc/passwd"],
    "depend_version_list": [[], ["none"], ["none"] * 21],
    "file_type": ["zip", "tar"],
    "max_instance_num": [-1, 0, 1, 1000, 1001, -2],
    "digest": ["0" * 128, "x"],
    "event_data": [
        {"name": "tick", "schedule_type": "Rate", "schedule": "3m"},
        {"name": "tock", "schedule_type": "Cron", "schedule": "0 0 0 1 1 ?"},
        {"name": "tock", "schedule_type": "Cron", "schedule": "99 * * * * *"},
        {"name": "api", "auth": "NONE", "path": "/gen", "req_method": "ANY", "func_info": {"timeout": 5000}},
        [{"schedule": "5m"}],
    ],
}
_DEPENDENCY = {
    "name": "lib1",
    "runtime": "Python3.10",
    "depend_type": "zip",
    "depend_file": zip_base64({"library.py": "X = 1"}),
}
_TEMPLATE = (
    "Resources: {gen2: {Type: 'HC::Serverless::Function', Properties: "
    "{Runtime: Python3.10, Handler: index.handler, CodeFileName: c.zip}}}"
)
_BODIES = {
    "CreateFunction": {
        "func_name": "gen0",
        "package": "default",
        "runtime": "Python3.10",
        "handler": "index.handler",
        "timeout": 3,
        "memory_size": 128,
        "code_type": "zip",
        "func_code": {"file": zip_base64({"index.py": ECHO})},
    },
    "UpdateFunctionCode": {"code_type": "zip", "func_code": {"file": zip_base64({"index.py": ECHO})}},
    "UpdateFunctionConfig": {"timeout": 5, "handler": "index.handler", "memory_size": 128, "runtime": "Python3.10"},
    "CreateFunctionVersion": {"version": "v1"},
    "CreateVersionAlias": {"name": "a1", "version": "v1"},
    "UpdateVersionAlias": {"version": "v1"},
    "CreateFunctionTrigger": {"trigger_type_code": "TIMER", "event_data": _SEEDS["event_data"][0]},
    "UpdateFunctionMaxInstanceConfig": {"max_instance_num": 10},
    "CreateDependencyVersion": _DEPENDENCY,
    "CreateDependency": _DEPENDENCY,
    "UpdateDependency": _DEPENDENCY,
    "ImportFunction": {
        "func_name": "gen2",
        "file_name": "a.zip",
        "file_type": "zip",
        "file_code": zip_base64({"t.yaml": _TEMPLATE, "c.zip": zip_of({"index.py": ECHO})}),
    },
    "CreateToken": {"auth": {"identity": {"methods": ["password"]}, "scope": {"project": {"name": REGION}}}},
}
_PATH_VALUES = {
    "project_id": [PROJECT_ID],
    "function_urn": [*NAMES, *[f"{_PREFIX}:{name}" for name in NAMES], f"{_PREFIX}:gen0:v1", f"{_PREFIX}:gen1:!a1"],
    "trigger_type_code": ["TIMER", "APIG"],
    # Stands for a trigger that was created meanwhile: see `KnownTriggers`.
    "trigger_id": ["@0", "@1", "@2", "none"],
    "alias_name": ["a1", "a2"],
    "state": ["true", "false"],
}
_PATH_VALUES["func_urn"] = _PATH_VALUES["function_urn"]
# Whatever a path can be made of without ending its line.
_PATH_ODDITIES = (
    "%zz",
    "%",
    "%2",
    "%00",
    "%2f",
    "..%2f..%2f",
    "%ff%fe",
    "\xff",
    "//",
    "/./",
    "/../",
    ";a=b",
    "%25",
    "%C3",
)
_HEADERS = (
    ("X-Cff-Log-Type", "tail"),
    ("X-CFF-Request-Version", "v1"),
    ("X-CFF-Request-Version", "v9"),
    ("X-Cff-Instance-Memory", "999"),
    ("Content-Type", "text/plain"),
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Content-Type", "multipart/form-data; boundary=x"),
    ("Content-Encoding", "gzip"),
    ("Accept", "application/xml;q=0.9"),
    ("X-Project-Id", "f" * 32),
    ("X-Security-Token", "x"),
    ("X-Auth-Token", "x" * 3000),
    ("Expect", "100-continue-not"),
    ("Upgrade", "websocket"),
    ("Cookie", "a=\xff; b"),
    ("X-Forwarded-For", "::1, 127.0.0.1"),
    ("X-Odd", ""),
    ("X-Odd", "\t v \xe9 \t"),
    ("x_under_score", "1"),
    ("X-Long", "y" * 9000),
    ("Range", "bytes=0-1"),
    ("If-None-Match", "*"),
)
_TRIGGER_PATH = re.compile(r"/v2/[0-9a-f]{32}/fgs/triggers/[^/]+/[^/]+/(?:@|%40)(\d)")
_JSON_HEADER = ("Content-Type", "application/json")
# Functions are deleted all the time, and without them there is nothing to be done.
_OFTEN = {"CreateFunction": 12, "CreateFunctionVersion": 4, "CreateVersionAlias": 3, "InvokeFunction": 3}
_PRESENT = [one for one in OPERATIONS if one.serve for _ in range(_OFTEN.get(one.name, 2))]
_MISSING = [operation for operation in OPERATIONS if not operation.serve]
_KNOWN = {facts["name"]: facts for facts in FACTS["operations"]}


@dataclass(frozen=True, slots=True)
class Generated:
    """A request as it will be signed and sent."""

    operation: str
    """Empty if the path was made odd, so that it may name something else."""
    method: str
    target: str
    headers: tuple
    body: bytes
    signing: str
    framing: str

    @property
    def is_v0(self):
        """Whether the answer of an invocation is whatever the function returned."""
        return not any(name.lower() == "x-cff-request-version" and value == "v1" for name, value in self.headers)


class _Raw(str):
    """JSON text that no writer would write; `_json_text` puts it in as it is."""

    __slots__ = ()


_hostile_text = st.one_of(st.sampled_from(hostile.TEXTS), st.text(max_size=40))
_hostile_json = st.one_of(
    st.sampled_from(hostile.JSON_VALUES),
    st.text(max_size=30),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.sampled_from(hostile.JSON_VALUES), max_size=3),
    st.dictionaries(st.text(max_size=8), st.sampled_from(hostile.JSON_VALUES), max_size=3),
    st.sampled_from(hostile.RAW_JSON).map(_Raw),
)
_files = st.one_of(
    st.sampled_from([name for name in hostile.archives() if name != "entries"]).map(hostile.archive_base64),
    st.sampled_from(hostile.NOT_BASE64),
    st.binary(max_size=60).map(lambda data: "UEsD" + data.hex()),
    st.just(_BODIES["CreateFunction"]["func_code"]["file"]),
)


def _json_text(value, *, ascii_only):
    """Return `value` as JSON, with raw tokens in place of what stands for them."""
    raw = []

    def replaced(part):
        if isinstance(part, _Raw):
            raw.append(str(part))
            return f"@raw{len(raw) - 1}@"
        if isinstance(part, Mapping):
            return {name: replaced(one) for name, one in part.items()}
        return [replaced(one) for one in part] if isinstance(part, list) else part

    text = json.dumps(replaced(value), ensure_ascii=ascii_only)
    for number, token in enumerate(raw):
        text = text.replace(f'"@raw{number}@"', token)
    return text.encode(errors="surrogatepass")


def _typed(kind, depth=0):
    """Return a strategy for values of a kind in the facts."""
    if kind.startswith("#") and depth < 3:
        return _members(SHAPES[kind[1:]], depth + 1)
    if kind.startswith("["):
        return st.lists(_typed(kind[1:-1], depth + 1), max_size=2)
    if kind.startswith("{"):
        return st.dictionaries(st.sampled_from(["v1", "v2", "k"]), _typed(kind[1:-1], depth + 1), max_size=2)
    if kind.startswith("string:"):
        return st.sampled_from(kind.removeprefix("string:").split("|"))
    simple = {"string": st.sampled_from(["x", "1", "a-b"]), "integer": st.integers(-1, 5000), "boolean": st.booleans()}
    return simple.get(kind, _hostile_json)


def _value(name, kind, depth):
    usual = st.sampled_from(_SEEDS[name]) if name in _SEEDS else _files if name == "file" else _typed(kind, depth)
    return st.one_of(usual, usual, _hostile_json)


@st.composite
def _members(draw, shape, depth=0):
    chosen = draw(st.lists(st.sampled_from(sorted(shape)), max_size=5, unique=True))
    return {name: draw(_value(name, shape[name], depth)) for name in chosen}


@st.composite
def _bodies(draw, operation):
    """Draw the body of a request: usually its members, with some of them wrong."""
    way = draw(st.integers(0, 9))
    if way == 0:
        return draw(st.one_of(st.sampled_from(hostile.RAW_BODIES), st.binary(max_size=100)))
    if way == 1:
        value = draw(_hostile_json)
    else:
        kind = _KNOWN.get(operation.name, {}).get("body", "any")
        changes = draw(_members(SHAPES[kind[1:]])) if kind.startswith("#") else {}
        value = {**_BODIES.get(operation.name, {}), **({} if way > 5 else changes)}
        if "func_name" in value and "func_name" not in changes:
            value["func_name"] = draw(st.sampled_from(NAMES))
    text = _json_text(value, ascii_only=draw(st.booleans()))
    return text if way != 2 else text[: draw(st.integers(0, len(text)))]


def _per_hostile(values):
    """Return how often to repeat `values` so that about one choice of 15 is hostile."""
    return max(1, 14 // len(values))


@st.composite
def _paths(draw, operation):
    """Draw a raw path; return it and whether it is sure to name `operation`."""
    is_plain, segments = True, []
    for segment in operation.path.split("/")[1:]:
        if not segment.startswith("{"):
            segments.append(segment)
            continue
        values = _PATH_VALUES.get(segment[1:-1], ["x", "1"])
        value = draw(st.sampled_from(values * _per_hostile(values) + ["\x00"]))
        if value == "\x00":
            value, is_plain = draw(_hostile_text), False
        segments.append(value if value.isascii() and draw(st.booleans()) and is_plain else quote(value, safe=""))
    path = "/" + "/".join(segments)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(1, len(path)))
        path, is_plain = path[:at] + draw(st.sampled_from(_PATH_ODDITIES)) + path[at:], False
    return path, is_plain


@st.composite
def _queries(draw, operation):
    names = [*_KNOWN.get(operation.name, {}).get("query", {}), "marker", "maxitems", "limit"]
    if draw(st.booleans()):
        return ""
    values = st.one_of(
        st.sampled_from(["0", "1", "400", "-1", "x", "1e3", "", "9" * 30, "2026-01-01T00:00:00"]), _hostile_text
    )
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), values), max_size=4))
    query = "&".join(f"{name}={quote(value, safe=draw(st.sampled_from(['', '/:+'])))}" for name, value in pairs)
    return query + draw(st.sampled_from(["", "", "", "&", "&&a", "&=", "&%", "&a=%ff", "?", "&a=\xe9", "&x=1" * 150]))


@st.composite
def requests(draw):
    """Draw one request."""
    operation = draw(st.sampled_from(_PRESENT * 3 + _MISSING))
    path, is_plain = draw(_paths(operation))
    query = draw(_queries(operation))
    odd = draw(st.lists(st.sampled_from(_HEADERS), max_size=2, unique_by=lambda header: header[0].lower()))
    takes_body = operation.method in ("POST", "PUT") or draw(st.integers(0, 4)) == 0
    return Generated(
        operation=operation.name if is_plain else "",
        method=operation.method,
        target=f"{path}?{query}" if query else path,
        headers=tuple(odd) if any(name == "Content-Type" for name, _ in odd) else (_JSON_HEADER, *odd),
        body=draw(_bodies(operation)) if takes_body else b"",
        signing=draw(st.sampled_from(["valid"] * 26 + ["none", "wrong", "garbled", "stale"])),
        framing=draw(st.sampled_from(["length"] * 6 + ["chunked", "HTTP/1.0"])),
    )


class KnownTriggers:
    """The triggers that were created, whose ids no strategy can know."""

    def __init__(self):
        self._paths = []

    def learn(self, request, answer):
        """Remember the trigger that an answer tells of."""
        if answer.status == 201:
            trigger = json.loads(answer.body)
            path = request.target.partition("?")[0].rstrip("/")
            self._paths.append(f"{path}/{trigger['trigger_type_code']}/{trigger['trigger_id']}")

    def put_into(self, target):
        """Return `target` with the path of the n-th newest trigger, if it asks for one."""
        found = _TRIGGER_PATH.search(target)
        if found is None or int(found[1]) >= len(self._paths):
            return target
        return self._paths[-1 - int(found[1])] + target[found.end() :]


def render(generated, host):
    """Return the bytes of a request."""
    headers = {"host": host, **{name.lower(): value.strip(" \t") for name, value in generated.headers}}
    path, _, query = generated.target.partition("?")
    request = Request(
        method=generated.method,
        raw_path=path.partition("#")[0],
        raw_query=query.partition("#")[0],
        headers=headers,
        body=generated.body,
    )
    lines = [("Host", host), *generated.headers, *_authorization(request, generated.signing)]
    body, version = generated.body, "HTTP/1.1"
    if generated.framing == "chunked":
        lines.append(("Transfer-Encoding", "chunked"))
        half = len(body) // 2
        parts = [part for part in (body[:half], body[half:]) if part]
        body = b"".join(b"%x;note=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nX-Trailer: 1\r\n\r\n"
    else:
        version = "HTTP/1.0" if generated.framing == "HTTP/1.0" else version
        lines.append(("Content-Length", str(len(body))))
    head = f"{generated.method} {generated.target} {version}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    return head.encode("latin-1") + body


def _authorization(request, signing):
    if signing == "none":
        return []
    offset_s = -3600 if signing == "stale" else 0
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset_s))
    request.headers["x-sdk-date"] = date
    secret = "wrong" if signing == "wrong" else SK
    digest = hashlib.sha256(request.body).hexdigest()
    signed = signature(request, "host;x-sdk-date", digest, signing_key(secret))
    text = f"SDK-HMAC-SHA256 Access={AK}, SignedHeaders=host;x-sdk-date, Signature={signed}"
    return [("X-Sdk-Date", date), ("Authorization", text[:-5] if signing == "garbled" else text)]


def wrong_types(value, kind, at="$"):
    """Return where `value` is of another type than the facts say. Null and members not in the facts are allowed."""
    if value is None or kind == "any":
        return []
    if kind.startswith("#"):
        if not isinstance(value, dict):
            return [f"{at}: {kind}"]
        shape = SHAPES[kind[1:]]
        known = [name for name in value if name in shape]
        return [problem for name in known for problem in wrong_types(value[name], shape[name], f"{at}.{name}")]
    if kind.startswith(("[", "{")):
        wanted, inner = (list if kind.startswith("[") else dict), kind[1:-1]
        if not isinstance(value, wanted):
            return [f"{at}: {kind}"]
        return [
            problem for one in (value.values() if wanted is dict else value) for problem in wrong_types(one, inner, at)
        ]
    types = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict}
    is_right = isinstance(value, types[kind.partition(":")[0]]) and (kind == "boolean" or not isinstance(value, bool))
    return [] if is_right else [f"{at}: {kind}, got {type(value).__name__}"]


def answer_kind(operation):
    """Return the kind of the body of a good answer."""
    return _KNOWN.get(operation, {}).get("answer", "any")
