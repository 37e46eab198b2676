"""What of the host a function sees: the folders it mounts, the network it has, the names of that network. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from funclet.model.function import FunctionVersion, Settings
from funclet.model.inventory import Inventory, Vpc, shared_path
from funclet.sandbox.protocol import Network, SharedFolder

_DEFAULT_OWNER = 1003
"""Stands for -1, as the user of an image does."""


def network_of(settings: Settings, inventory: Inventory, offered: Network) -> Network:
    """Return what instances may reach; never more than the operator offers.

    As in the cloud, a function in a VPC reaches private addresses only, unless the VPC has a way to the others, and
    its switch for the public network has no effect.
    """
    if offered is Network.OFF:
        return Network.OFF
    vpc = settings.echoed.get("func_vpc")
    if vpc:
        known = inventory.vpcs.get(vpc["vpc_id"])
        return offered if known is not None and known.internet else Network.PRIVATE
    return offered if settings.public_network else Network.OFF


def shares_of(version: FunctionVersion, inventory: Inventory) -> Sequence[SharedFolder]:
    """Return the folders that a function mounts. One that is not there any more has no source: it cannot be shown."""
    config = version.settings.echoed.get("mount_config")
    if not config:
        return ()
    return [_shared(version, config["mount_user"], mount, inventory) for mount in config["func_mounts"]]


def _shared(
    version: FunctionVersion, user: Mapping[str, int], mount: Mapping[str, Any], inventory: Inventory
) -> SharedFolder:
    share = inventory.share_of(version.project_id, mount)
    below = shared_path(mount)
    source = "" if share is None else f"{share.folder}/{below}" if below else share.folder
    return SharedFolder(
        source=source,
        target=mount["local_mount_path"].rstrip("/"),
        read_only=share is not None and share.read_only,
        user_id=_owner(user["user_id"]),
        group_id=_owner(user["user_group_id"]),
    )


def _owner(number: int) -> int:
    return number if number > 0 else _DEFAULT_OWNER


def hosts_of(settings: Settings, inventory: Inventory) -> Mapping[str, str]:
    """Return the names of the private zones that a function asks for, with their addresses."""
    wanted, vpc = settings.echoed.get("domain_names"), settings.echoed.get("func_vpc")
    if not wanted or not vpc or vpc["vpc_id"] not in inventory.vpcs:
        return {}
    return dict(_names(inventory.vpcs[vpc["vpc_id"]], zone_names(wanted)))


def zone_names(domain_names: str) -> Sequence[str]:
    """Return the zones that a checked `domain_names` lists."""
    return [name for row in msgspec.json.decode(domain_names) if (name := row.get("domain_name", "").rstrip("."))]


def _names(vpc: Vpc, zones: Sequence[str]) -> Iterator[tuple[str, str]]:
    for zone in zones:
        for name, address in vpc.zones.get(zone, {}).items():
            yield (zone if name == "@" else f"{name}.{zone}"), address
