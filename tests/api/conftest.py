"""Fixtures of the API tests: an API without a server process, and the vendor's SDK against a real one."""

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph import v2

from funclet.runtimes.registry import Registry
from tests.support.api import RUNTIMES, InProcessApi
from tests.support.people import Town
from tests.support.sdk import Sdk
from tests.support.server import AK, PROJECT_ID, SK


@pytest.fixture(scope="session")
def registry():
    """Return the runtimes of this checkout."""
    return Registry.load(RUNTIMES)


@pytest.fixture
def new_api(tmp_path, registry):
    """Open APIs of one's own: `new_api(limits=...)`; they are closed at the end."""
    opened = []

    def open_api(**options):
        folder = tmp_path / str(len(opened))
        folder.mkdir()
        opened.append(InProcessApi(folder, registry, **options))
        return opened[-1]

    yield open_api
    for api in opened:
        api.close()


@pytest.fixture
def api(new_api):
    """Return an API on an empty database."""
    return new_api()


@pytest.fixture
def town(tmp_path, registry):
    """Return an API with users, permissions and audit log, without a server process."""
    opened = Town(tmp_path, registry)
    yield opened
    opened.close()


@pytest.fixture
def new_client(server):
    """Build clients of the SDK; their sessions are closed at the end."""
    clients = []

    def build(credentials=None, region=None, **preset_headers):
        builder = v2.FunctionGraphClient.new_builder().with_credentials(
            credentials or BasicCredentials(AK, SK, PROJECT_ID)
        )
        builder = builder.with_region(region) if region else builder.with_endpoint(server.api_url)
        client = builder.build()
        client.preset_headers.update(preset_headers)
        clients.append(client)
        return client

    yield build
    for client in clients:
        client.get_http_client().close()


@pytest.fixture
def sdk(server, new_client):
    return Sdk(server, new_client())
