"""Options of NFS mounts."""

import pytest

from funclet.sandbox.sandboxd.mounter import mount_options


@pytest.mark.parametrize(
    ("version", "address", "options"),
    [
        ("4.2", "10.0.0.7", "vers=4.2,addr=10.0.0.7,proto=tcp,sec=sys,softerr,timeo=50,retrans=2"),
        ("4.0", "fd00::7", "vers=4.0,addr=fd00::7,proto=tcp6,sec=sys,softerr,timeo=50,retrans=2"),
        ("3", "10.0.0.7", "vers=3,addr=10.0.0.7,proto=tcp,sec=sys,softerr,timeo=50,retrans=2,nolock,mountproto=tcp"),
    ],
)
def test_options_are_our_own_words(version, address, options):
    assert mount_options(version, address, is_v6=":" in address) == options
