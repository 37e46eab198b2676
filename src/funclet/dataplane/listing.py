"""What operators are told of an instance: `info_of`."""

from funclet.dataplane.instance import Instance
from funclet.model.reserved import InstanceInfo


def info_of(instance: Instance) -> InstanceInfo:
    """Return what an instance is and has done so far."""
    return InstanceInfo(
        instance_id=instance.instance_id,
        version=instance.version.version,
        state=instance.state.value,
        is_reserved=instance.is_reserved,
        memory_mib=instance.memory_mib,
        started_at=instance.started_at,
        served=instance.served,
    )
