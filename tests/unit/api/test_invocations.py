"""The invocation operations through the pipeline, with a pretended data plane and a real database."""

import asyncio
import json
from dataclasses import replace

import pytest

from funclet.api.app import Api
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.base.http import Request
from funclet.catalog import Catalog
from funclet.model.function import Alias, Code, FunctionVersion, Settings
from funclet.model.identity import Principal, Project, User
from funclet.model.invocation import Refused, Report
from funclet.model.policy import EVERYTHING
from funclet.services.invocations import InvocationService
from funclet.services.observability import ObservabilityService
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeClock, FakeInvoker, FakeSubmitter
from tests.support.store import due, settled

P = "0" * 32
REGION = "test-1"
SYNC, ASYNC = "invocations", "invocations-async"
SETTINGS = Settings(runtime="Python3.10", handler="index.handler", timeout_s=3, memory_mib=256)
LATEST = FunctionVersion(
    project_id=P,
    region=REGION,
    package="default",
    name="hello",
    function_id="fid",
    version="latest",
    settings=SETTINGS,
    code=Code(digest="d" * 128, size=3 * 1024 * 1024, code_type="zip"),
    modified_at=0.0,
)
DYNAMIC = replace(LATEST, name="dynamic", function_id="dyn", settings=replace(SETTINGS, dynamic_memory=True))
DISABLED = replace(LATEST, name="disabled", function_id="dis", settings=replace(SETTINGS, max_instances=0))


class SameCaller:
    """Takes everybody for the same user."""

    async def authenticate(self, request, *, project_id=""):
        """Return that user."""
        return Principal(
            project=Project(project_id=P, name=REGION, domain_id="d", domain_name="home"),
            user=User(user_id="u", name="admin", domain_id="d", password_hash=""),
            grants=EVERYTHING,
        )


class KeptLogs:
    """A log store that keeps what it was asked."""

    def __init__(self):
        self.asked = None

    async def find(self, function_id, **wanted):
        """Return one record."""
        self.asked = (function_id, wanted)
        record = Report(
            function_id=function_id,
            version="latest",
            request_id="r",
            at=1_700_000_000.25,
            before=b"a\n",
            has_run=False,
            duration_ms=1.5,
            is_cold=True,
        )
        return [(7, record)]


class Lab:
    """The operations, and what stands behind them."""

    def __init__(self, path):
        self.runner = asyncio.Runner()
        self.clock, self.invoker, self.submitter = FakeClock(), FakeInvoker(), FakeSubmitter()
        self.store, self.logs = SqliteStore.open(path), KeptLogs()
        services = Services(
            functions=None,
            versions=None,
            triggers=None,
            identity=None,
            invocations=InvocationService(
                store=self.store,
                catalog=Catalog(self.store, self.clock),
                invoker=self.invoker,
                submitter=self.submitter,
                clock=self.clock,
                region=REGION,
            ),
            observability=ObservabilityService(store=self.store, logs=self.logs, region=REGION),
            topics=None,
            streams=None,
            connections=None,
            gateway=None,
            dependencies=None,
        )
        self.api = Api(operations=OPERATIONS, services=services, authenticator=SameCaller())
        self.write(self._fill)

    def _fill(self, tx):
        for version in (LATEST, DYNAMIC, DISABLED):
            tx.functions.add(version)
        tx.functions.add_version(replace(LATEST, version="v1"))
        tx.aliases.put("fid", Alias(name="dev", version="v1", modified_at=0.0))

    def write(self, work):
        """Run a piece of work in a transaction."""
        return self.runner.run(self.store.write(work))

    def close(self):
        """Close the database."""
        self.runner.run(self.store.close())
        self.runner.close()

    def send(self, method, path, body=b"", *, query="", **headers):
        """Send a request and return the response."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method=method, raw_path=f"/v2/{P}/{path}", raw_query=query, headers=names, body=body)
        return self.runner.run(self.api.handle(request))

    def invoke(self, urn="hello", body=b"{}", *, how=SYNC, **headers):
        """Invoke a function."""
        return self.send("POST", f"fgs/functions/{urn}/{how}", body, **headers)

    def records(self, query=""):
        """List asynchronous requests."""
        response = self.send("GET", "fgs/functions/hello/async-invocations", query=query)
        return response.status, json.loads(response.body)


@pytest.fixture
def lab(tmp_path):
    opened = Lab(tmp_path / "state.db")
    yield opened
    opened.close()


def error(response):
    return response.status, json.loads(response.body)["error_code"]


def test_the_event_reaches_the_function_byte_for_byte(lab):
    event = b' {"b": 1,\t"a":"\\u00e9"}\n'

    response = lab.invoke(body=event)

    assert (response.status, response.body) == (200, event)
    assert lab.invoker.invocations[0].payload == event


def test_one_request_id_is_everywhere(lab):
    response = lab.invoke(x_cff_request_id="mine")

    request_id = lab.invoker.invocations[0].request_id
    assert request_id == response.headers["X-Request-Id"] == response.headers["X-Cff-Request-Id"] != "mine"


def test_an_empty_body_is_an_empty_event(lab):
    assert lab.invoke(body=b"").body == b"{}"


@pytest.mark.parametrize("value", ["V1", "v1", " v1 "])
def test_header_values_may_be_in_any_case(lab, value):
    response = lab.invoke(x_cff_request_version=value, x_cff_log_type="Tail")

    assert json.loads(response.body)["status"] == 200
    assert "X-Cff-Function-Log" in response.headers


@pytest.mark.parametrize("how", [SYNC, ASYNC])
@pytest.mark.parametrize("body", [b"{", b"hello", b"\xff", b"NaN", b"[" * 100_000])
def test_what_is_not_json_is_refused(lab, how, body):
    assert error(lab.invoke(body=body, how=how)) == (406, "FSS.0406")
    assert not lab.invoker.invocations


@pytest.mark.proves("quota:async-request", "quota:sync-request")
@pytest.mark.parametrize(("how", "limit", "status"), [(SYNC, 6_291_456, 200), (ASYNC, 262_144, 202)])
def test_the_size_limit_is_exact(lab, how, limit, status):
    event = b'"' + b"x" * (limit - 2) + b'"'

    assert lab.invoke(body=event, how=how).status == status
    assert error(lab.invoke(body=event + b" ", how=how)) == (413, "FSS.1201")


@pytest.mark.parametrize("how", [SYNC, ASYNC])
@pytest.mark.parametrize(
    ("urn", "status", "code"),
    [
        ("nothing", 404, "FSS.0404"),
        ("default:nothing", 404, "FSS.0404"),
        (f"urn:fss:{REGION}:{P}:function:default:hello:v2", 404, "FSS.1052"),
        (f"urn:fss:{REGION}:{P}:function:default:hello:!prod", 404, "FSS.1053"),
        (f"urn:fss:elsewhere:{P}:function:default:hello", 400, "FSS.1309"),
        (f"{'f' * 32}:default:hello", 403, "FSS.0403"),
    ],
)
def test_what_cannot_run_is_refused(lab, how, urn, status, code):
    assert error(lab.invoke(urn, how=how)) == (status, code)


def test_a_disabled_function_is_named_so(lab):
    """When it is to be queued; one that is to run at once is refused, and counted, by the data plane."""
    answer = lab.invoke("disabled", how=ASYNC)

    assert error(answer) == (429, "FSS.0429")
    assert json.loads(answer.body)["error_msg"] == "Function Disabled"


def test_a_bad_event_is_reported_before_a_missing_function(lab):
    assert error(lab.invoke("nothing", b"{")) == (406, "FSS.0406")


@pytest.mark.parametrize(
    ("urn", "version", "alias"),
    [
        ("hello", "latest", ""),
        (f"urn:fss:{REGION}:{P}:function:default:hello:v1", "v1", ""),
        (f"urn%3Afss%3A{REGION}%3A{P}%3Afunction%3Adefault%3Ahello%3A%21dev", "v1", "dev"),
    ],
)
def test_the_version_is_resolved_before_the_data_plane(lab, urn, version, alias):
    lab.invoke(urn)

    invocation = lab.invoker.invocations[0]
    assert (invocation.version.version, invocation.alias) == (version, alias)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("dynamic", "512", 512), ("dynamic", "", 0), ("hello", "512", 0), ("hello", "7", 0)],
)
def test_dynamic_memory_acts_only_where_it_is_on(lab, name, size, expected):
    assert lab.invoke(name, x_cff_instance_memory=size).status == 200
    assert lab.invoker.invocations[0].memory_mib == expected


@pytest.mark.parametrize("size", ["7", "512MB", "-512", "1e3", "٥١٢"])
def test_a_memory_size_that_does_not_exist_is_refused(lab, size):
    assert error(lab.invoke("dynamic", x_cff_instance_memory=size)) == (406, "FSS.0406")


def test_a_refusal_of_the_data_plane_is_429(lab):
    lab.invoker.answer = Refused(reason="full", retry_after_s=3)

    response = lab.invoke()

    assert (response.status, response.headers["Retry-After"]) == (429, "3")


def test_an_asynchronous_request_is_submitted_as_it_was_addressed(lab):
    response = lab.invoke(f"urn:fss:{REGION}:{P}:function:default:hello:!dev", b'{"a":1}', how=ASYNC)

    [submission] = lab.submitter.submissions
    assert response.status == 202
    assert json.loads(response.body) == {"request_id": submission.request_id}
    assert response.headers["X-Cff-Request-Id"] == submission.request_id
    assert submission.urn == f"urn:fss:{REGION}:{P}:function:default:hello:!dev"
    assert (submission.function_id, submission.payload) == ("fid", b'{"a":1}')
    assert submission.accepted_at == lab.clock.now()


@pytest.mark.proves("operation:AsyncInvokeReservedFunction")
def test_a_request_for_a_reserved_instance_is_submitted_as_any_other(lab):
    response = lab.invoke(body=b'{"a":1}', how="reserved-invocations")

    [submission] = lab.submitter.submissions
    answer = json.loads(response.body)
    assert (response.status, answer["request_id"]) == (202, submission.request_id)
    assert answer["instance_id"]
    assert submission.payload == b'{"a":1}'


def test_a_short_urn_is_completed_for_the_queue(lab):
    lab.invoke("hello", how=ASYNC)

    assert lab.submitter.submissions[0].urn == f"urn:fss:{REGION}:{P}:function:default:hello:latest"


def test_a_full_queue_is_503_and_nothing_is_accepted(lab):
    lab.submitter.is_full = True

    response = lab.invoke(how=ASYNC)

    assert error(response) == (503, "FSS.0503")
    assert response.headers["Retry-After"] == "1"


def submit(lab, count):
    for _ in range(count):
        lab.invoke(how=ASYNC)
        lab.clock.advance(1)
    for submission in lab.submitter.submissions:
        lab.write(lambda tx, submission=submission: tx.queue.add(submission))


def test_asynchronous_requests_are_listed_newest_first_in_pages(lab):
    submit(lab, 3)
    newest = [submission.request_id for submission in lab.submitter.submissions][::-1]

    _, first = lab.records("limit=2")
    _, second = lab.records("limit=2&marker=2")
    _, beyond = lab.records("limit=2&marker=4")

    assert [item["request_id"] for item in first["invocations"]] == newest[:2]
    assert (first["count"], first["next_marker"]) == (3, "2")
    assert [item["request_id"] for item in second["invocations"]] == newest[2:]
    assert "next_marker" not in second
    assert beyond["invocations"] == []


def test_a_record_tells_what_is_known(lab):
    submit(lab, 2)
    first, second = lab.submitter.submissions
    request = lab.write(lambda tx: due(tx, function_id=first.function_id)[0])
    failure = settled(request, "FAIL", at=lab.clock.now(), error_code=4010, error_message="too long")
    lab.write(lambda tx: tx.queue.settle_all([failure]))

    _, body = lab.records()

    assert body["invocations"] == [
        {
            "request_id": second.request_id,
            "status": "WAIT",
            "error_message": "",
            "start_time": "2023-11-14T22:13:21",
        },
        {
            "request_id": first.request_id,
            "status": "FAIL",
            "error_message": "too long",
            "error_code": "4010",
            "start_time": "2023-11-14T22:13:20",
            "end_time": "2023-11-14T22:13:22",
        },
    ]


def test_records_can_be_asked_for_by_id_status_and_time(lab):
    submit(lab, 3)
    wanted = lab.submitter.submissions[1].request_id

    assert lab.records(f"request_id={wanted}")[1]["count"] == 1
    assert lab.records("status=WAIT")[1]["count"] == 3
    assert lab.records("status=SUCCESS")[1]["count"] == 0
    assert lab.records("query_begin_time=2023-11-14T22:13:21")[1]["count"] == 2
    assert lab.records("query_end_time=2023-11-14T22:13:20Z")[1]["count"] == 1


def test_only_the_last_hour_is_listed_unless_asked(lab):
    submit(lab, 1)
    lab.clock.advance(3600)

    assert lab.records()[1]["count"] == 0
    assert lab.records("query_begin_time=2023-11-14T00:00:00")[1]["count"] == 1


@pytest.mark.parametrize("query", ["status=DONE", "marker=x", "limit=-1", "query_begin_time=yesterday"])
def test_wrong_filters_are_refused(lab, query):
    status, body = lab.records(query)

    assert (status, body["error_code"]) == (400, "FSS.1001")


@pytest.mark.proves("operation:ListLogs")
def test_logs_are_found_by_function_and_filter(lab):
    query = "since=1700000000&until=2023-11-14T23:00:00Z&request_id=r&after=5&limit=10&tag=team=a,stage=b=c"

    response = lab.send("GET", "funclet/functions/hello/logs", query=query)

    assert json.loads(response.body) == {
        "records": [
            {
                "id": 7,
                "time": "2023-11-14T22:13:20.250Z",
                "version": "latest",
                "request_id": "r",
                "outcome": "success",
                "duration_ms": 1.5,
                "cold": True,
                "tags": {},
                "text": "a\n",
            }
        ],
        "enabled": True,
    }
    assert lab.logs.asked == (
        "fid",
        {
            "since": 1_700_000_000.0,
            "until": 1_700_002_800.0,
            "request_id": "r",
            "tags": {"team": "a", "stage": "b=c"},
            "after_id": 5,
            "limit": 10,
        },
    )


def test_more_tags_than_a_record_can_have_are_refused(lab):
    tags = ",".join(f"t{number}=x" for number in range(11))

    response = lab.send("GET", "funclet/functions/hello/logs", query=f"tag={tags}")

    assert (response.status, json.loads(response.body)["error_code"]) == (400, "FSS.0400")


def test_logs_of_a_missing_function_are_404(lab):
    assert error(lab.send("GET", "funclet/functions/nothing/logs")) == (404, "FSS.1051")


def test_quotas_show_what_is_used(lab):
    resources = json.loads(lab.send("GET", "fgs/quotas").body)["quotas"]["resources"]
    by_type = {resource.pop("type"): resource for resource in resources}

    assert by_type["fgs_func_num"] == {"quota": 400, "used": 3}
    assert by_type["fgs_func_code_size"]["unit"] == "MB"
    assert by_type["fgs_func_code_size"]["used"] >= 3
    assert "unit" not in by_type["fgs_func_num"]


def test_features_are_an_object(lab):
    assert json.loads(lab.send("GET", "fgs/feature").body) == {}
