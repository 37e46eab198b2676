"""The vendor's own Python SDK against a real listener: it signs, looks its project up, and reads the answers."""

import asyncio
import threading

import pytest
import uvloop
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ServiceResponseException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkfunctiongraph.v2 import (
    AsyncInvokeFunctionRequest,
    FunctionGraphClient,
    InvokeFunctionRequest,
    ListFunctionsRequest,
    ListQuotasRequest,
)

from funclet.api.app import Api
from funclet.api.auth import Authenticator
from funclet.api.call import Services
from funclet.api.operations import OPERATIONS
from funclet.base.clock import SystemClock
from funclet.catalog import Catalog
from funclet.front import Front
from funclet.model.function import Code, FunctionVersion, Settings
from funclet.services.identity import IdentityService, bootstrap_identity
from funclet.services.invocations import InvocationService
from funclet.services.observability import ObservabilityService
from funclet.services.projects import ProjectService
from funclet.store.sqlite import SqliteStore
from funclet.testing.fakes import FakeInvoker, FakeSubmitter

REGION = "test-1"


class Served:
    """An API on a port, in a thread with a loop of its own."""

    def __init__(self, path):
        self._path = path
        self._ready, self._loop, self._stop = threading.Event(), None, None
        self.invoker, self.given, self.url = FakeInvoker(), None, ""
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        clock, store = SystemClock(), SqliteStore.open(self._path)
        self.given = await bootstrap_identity(store, region=REGION)
        await store.write(lambda tx: tx.functions.add(self._function()))
        services = Services(
            functions=None,
            versions=None,
            triggers=None,
            identity=IdentityService(store, clock, region=REGION),
            projects=ProjectService(store, region=REGION, on_change=lambda: None),
            invocations=InvocationService(
                store=store,
                catalog=Catalog(store, clock),
                invoker=self.invoker,
                submitter=FakeSubmitter(),
                clock=clock,
                region=REGION,
            ),
            observability=ObservabilityService(store=store, logs=None, region=REGION),
            topics=None,
            streams=None,
            connections=None,
            dependencies=None,
            gateway=None,
        )
        api = Api(operations=OPERATIONS, services=services, authenticator=Authenticator(store, clock))
        front = Front(api.handle, body_limit=api.body_limit, clock=clock)
        await front.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{front.port}"
        self._ready.set()
        await self._stop.wait()
        await front.close()
        await store.close()

    def _function(self):
        return FunctionVersion(
            project_id=self.given.project_id,
            region=REGION,
            package="default",
            name="hello",
            function_id="fid",
            version="latest",
            settings=Settings(runtime="Python3.10", handler="index.handler", timeout_s=3, memory_mib=128),
            code=Code(digest="d" * 128, size=1, code_type="zip"),
            modified_at=0.0,
        )

    def start(self):
        """Begin to serve."""
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self):
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def client(self, *, access="", secret="", project_id=""):
        """Return a client with an endpoint."""
        given = self.given
        credentials = BasicCredentials(access or given.access, secret or given.secret, project_id or given.project_id)
        return FunctionGraphClient.new_builder().with_credentials(credentials).with_endpoint(self.url).build()

    def urn(self, name="hello", qualifier="latest"):
        """Return a full urn."""
        return f"urn:fss:{REGION}:{self.given.project_id}:function:default:{name}:{qualifier}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    running = Served(tmp_path_factory.mktemp("sdk") / "state.db").start()
    yield running
    running.stop()


def test_a_synchronous_call_in_v1(served):
    request = InvokeFunctionRequest(
        function_urn=served.urn(), x_cff_log_type="tail", x_cff_request_version="v1", body={"k": "é"}
    )

    response = served.client().invoke_function(request)

    assert (response.result, response.status) == ('{"k": "\\u00e9"}', 200)
    assert response.x_cff_request_id == served.invoker.invocations[-1].request_id


def test_a_call_without_body(served):
    response = served.client().invoke_function(
        InvokeFunctionRequest(function_urn=served.urn(), x_cff_request_version="v1")
    )

    assert response.result == "{}"


def test_an_asynchronous_call(served):
    response = served.client().async_invoke_function(
        AsyncInvokeFunctionRequest(function_urn=served.urn(), body={"k": "v"})
    )

    assert len(response.request_id) == 36


def test_an_error_carries_code_message_and_request_id(served):
    with pytest.raises(ClientRequestException) as caught:
        served.client().invoke_function(InvokeFunctionRequest(function_urn=served.urn("nothing"), body={}))

    assert (caught.value.status_code, caught.value.error_code) == (404, "FSS.0404")
    assert "nothing" in caught.value.error_msg
    assert len(caught.value.request_id) == 36


def test_the_project_is_looked_up_by_region(served):
    credentials = BasicCredentials(served.given.access, served.given.secret).with_iam_endpoint(served.url)
    region = Region(REGION, served.url)
    client = FunctionGraphClient.new_builder().with_credentials(credentials).with_region(region).build()

    assert client.list_quotas(ListQuotasRequest()).quotas.resources


@pytest.mark.parametrize(
    ("credentials", "status"),
    [({"secret": "wrong"}, 401), ({"access": "NOSUCHKEY"}, 401), ({"project_id": "f" * 32}, 403)],
)
def test_wrong_credentials_are_refused(served, credentials, status):
    with pytest.raises(ClientRequestException) as caught:
        served.client(**credentials).list_quotas(ListQuotasRequest())

    assert caught.value.status_code == status


def test_a_client_without_project_id_is_told_so(served):
    credentials = BasicCredentials(served.given.access, served.given.secret)
    client = FunctionGraphClient.new_builder().with_credentials(credentials).with_endpoint(served.url).build()

    with pytest.raises(ServiceResponseException) as caught:
        client.list_functions(ListFunctionsRequest())

    assert caught.value.status_code == 400
