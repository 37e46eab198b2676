"""Fixtures of the tests that people's own clients are, and what becomes of a test whose operations are not built."""

import pytest

from tests.support.unbuilt import check_unbuilt, unbuilt_of


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test with the mark `needs` only when all it needs is built; before, what is missing must say so."""
    missing = unbuilt_of(pyfuncitem)
    if not missing:
        return None
    server = pyfuncitem._request.getfixturevalue("server")
    for name in missing:
        check_unbuilt(server, name)
    return True
