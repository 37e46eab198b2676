"""Which addresses the server may send to."""

import asyncio

import pytest

from funclet.outside.guard import AddressRefused, AddressUnknown, Guard, parse_networks

NOWHERE = Guard((), setting="target_networks")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address):
    assert NOWHERE.allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::",
    ],
)
def test_private_and_reserved_addresses_are_not_in_whatever_form(address):
    assert not NOWHERE.allows(address)


def test_the_operator_allows_networks_and_no_more():
    guard = Guard(parse_networks(["10.1.0.0/16", "fd00::/8"]), setting="target_networks")

    assert [guard.allows(text) for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7", "8.8.8.8")] == [True] * 4
    assert [guard.allows(text) for text in ("10.2.0.1", "127.0.0.1", "fe80::1")] == [False] * 3


def test_a_star_allows_everything():
    guard = Guard(parse_networks(["*"]), setting="target_networks")

    assert guard.allows("127.0.0.1")
    assert guard.allows("::1")


def test_names_are_resolved_and_refusals_say_which_setting_helps():
    with pytest.raises(AddressRefused, match="target_networks"):
        asyncio.run(NOWHERE.resolve("localhost", 80))
    with pytest.raises(AddressUnknown):
        asyncio.run(NOWHERE.resolve("nowhere.invalid", 80))
    with pytest.raises(AddressUnknown):
        asyncio.run(NOWHERE.resolve("a" * 64 + ".example", 80))
    assert asyncio.run(Guard(parse_networks(["127.0.0.0/8"]), setting="s").resolve("localhost", 80)) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "example.com", "10.0.0.0/8;::/0"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_networks([text])
