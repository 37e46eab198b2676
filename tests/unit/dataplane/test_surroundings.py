"""From the settings of a function to what it sees of the host."""

from dataclasses import replace

import pytest

from funclet.dataplane.surroundings import hosts_of, network_of, shares_of
from funclet.model.function import Settings
from funclet.model.inventory import Inventory, Share, Vpc
from funclet.sandbox.protocol import Network, SharedFolder
from tests.support.store import a_version

SETTINGS = Settings(runtime="Python3.10", handler="a.b", timeout_s=3, memory_mib=128)
INVENTORY = Inventory(
    shares={"s": Share(id="s", folder="/srv/s", projects=frozenset({"p1"}), read_only=True)},
    vpcs={
        "in": Vpc(id="in", subnets={}, zones={"x.y": {"@": "10.0.0.1", "db": "10.0.0.2"}, "z": {"a": "10.0.0.3"}}),
        "out": Vpc(id="out", subnets={}, internet=True),
    },
)


def with_echoed(**echoed):
    return replace(SETTINGS, echoed=echoed)


@pytest.mark.parametrize(
    ("settings", "offered", "network"),
    [
        (SETTINGS, Network.NAT, Network.NAT),
        (SETTINGS, Network.OFF, Network.OFF),
        (replace(SETTINGS, public_network=False), Network.NAT, Network.OFF),
        (with_echoed(func_vpc={"vpc_id": "in"}), Network.NAT, Network.PRIVATE),
        (with_echoed(func_vpc={"vpc_id": "unknown"}), Network.NAT, Network.PRIVATE),
        (with_echoed(func_vpc={"vpc_id": "out"}), Network.NAT, Network.NAT),
        (with_echoed(func_vpc={"vpc_id": "out"}), Network.OFF, Network.OFF),
        (replace(with_echoed(func_vpc={"vpc_id": "in"}), public_network=False), Network.NAT, Network.PRIVATE),
    ],
)
def test_a_network_is_never_more_than_what_is_offered(settings, offered, network):
    assert network_of(settings, INVENTORY, offered) is network


def test_a_mount_has_its_owner_and_the_rule_of_its_share():
    mount = {"mount_type": "sfs", "mount_resource": "s", "local_mount_path": "/mnt/a/", "mount_share_path": "h:/b//c"}
    user = {"user_id": 500, "user_group_id": -1}
    config = {"mount_user": user, "func_mounts": [mount, mount | {"mount_resource": "gone"}]}
    version = a_version(settings=with_echoed(mount_config=config))

    found, gone = shares_of(version, INVENTORY)

    assert found == SharedFolder(source="/srv/s/b/c", target="/mnt/a", read_only=True, user_id=500, group_id=1003)
    assert gone.source == ""
    assert shares_of(replace(version, project_id="p2"), INVENTORY)[0].source == ""
    assert shares_of(a_version(), INVENTORY) == ()


@pytest.mark.parametrize(
    ("echoed", "hosts"),
    [
        ({}, {}),
        ({"func_vpc": {"vpc_id": "in"}}, {}),
        ({"domain_names": '[{"domain_name":"x.y"}]'}, {}),
        ({"func_vpc": {"vpc_id": "unknown"}, "domain_names": '[{"domain_name":"x.y"}]'}, {}),
        (
            {"func_vpc": {"vpc_id": "in"}, "domain_names": '[{"id":"1","domain_name":"x.y."},{"id":"2"}]'},
            {"x.y": "10.0.0.1", "db.x.y": "10.0.0.2"},
        ),
        ({"func_vpc": {"vpc_id": "in"}, "domain_names": '[{"domain_name":"other"}]'}, {}),
    ],
)
def test_names_are_those_of_the_zones_that_are_asked_for(echoed, hosts):
    assert hosts_of(with_echoed(**echoed), INVENTORY) == hosts
