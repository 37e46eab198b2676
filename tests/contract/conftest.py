"""The store that contract tests run on: one that stays open, and one that restarts before every read."""

from collections.abc import Iterator

import pytest

from tests.support.store import FACTORIES, Database


@pytest.fixture(params=[(name, reopens) for name in FACTORIES for reopens in (False, True)], ids=str)
def db(request, tmp_path) -> Iterator[Database]:
    name, reopens = request.param
    database = Database(FACTORIES[name], tmp_path, reopens=reopens)
    yield database
    database.close()
