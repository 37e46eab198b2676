"""A stack of triggers, gateway and timer host."""

import pytest

from tests.support.gateway import Stack


@pytest.fixture
def stack(tmp_path):
    """Return a stack on an empty database."""
    whole = Stack(tmp_path)
    yield whole
    whole.close()
