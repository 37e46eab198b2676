"""Fixtures of the API tests that need no server process."""

import pytest

from funclet.runtimes.registry import Registry
from tests.support.api import RUNTIMES, InProcessApi


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
