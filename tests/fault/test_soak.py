"""The soak, for as short a time as it can be: `make soak` is the long one."""

import pytest

from tests.soak.__main__ import Soak


@pytest.mark.root
@pytest.mark.timeout(180)
def test_a_short_soak_loses_and_leaks_nothing(scratch):
    folder = scratch / "soak"
    folder.mkdir()
    folder.chmod(0o755)
    soak = Soak(folder, minutes=0.25)

    try:
        soak.run()
    finally:
        soak.load.stop()
        soak.server.stop()

    assert soak.ledger.failures == []
    assert soak.ledger.counts["accepted for later"] > 0
    assert soak.ledger.counts["killed instance"] > 0
    assert soak.ledger.counts["killed server"] >= 2
