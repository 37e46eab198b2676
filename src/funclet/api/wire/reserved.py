"""Operations on reserved instances, and their bodies. Start with `put`."""

from collections.abc import Sequence
from typing import Any

import msgspec

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.clock import utc_text
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.reserved import BY_CONCURRENCY, CronPolicy, InstanceInfo, MetricPolicy, ReservedPolicy
from funclet.services.reserved import NewPolicy, ReservedService

MAX_COUNTS = 400
MAX_CONFIGS, DEFAULT_CONFIGS = 500, 100


class CronFields(msgspec.Struct):
    """One schedule."""

    name: str
    cron: str
    count: int
    start_time: int | None = None
    expired_time: int | None = None


class MetricFields(msgspec.Struct):
    """One policy by load."""

    name: str
    threshold: int
    min: int
    type: str = BY_CONCURRENCY


class TacticsFields(msgspec.Struct):
    """All policies."""

    cron_configs: list[CronFields] | None = None
    metric_configs: list[MetricFields] | None = None


class ReservedFields(msgspec.Struct):
    """Body of `UpdateFunctionReservedInstancesCount`."""

    count: int
    idle_mode: bool | None = None
    tactics_config: TacticsFields | None = None


def service_of(call: Call) -> ReservedService:
    """Return the use cases; only process 0 is asked for the operations that need them."""
    assert call.services.reserved is not None
    return call.services.reserved


async def put(call: Call) -> Response:
    """Serve UpdateFunctionReservedInstancesCount."""
    fields = codec.decode(ReservedFields, call)
    tactics = fields.tactics_config or TacticsFields()
    new = NewPolicy(
        count=fields.count,
        is_idle_mode=bool(fields.idle_mode),
        crons=tuple(_cron(call, one) for one in tactics.cron_configs or ()),
        metrics=tuple(_metric(one) for one in tactics.metric_configs or ()),
    )
    policy = await service_of(call).configure(call.principal, call.parameters["function_urn"], new)
    answer = {"count": policy.count, "idle_mode": policy.is_idle_mode, "tactics_config": _tactics(policy)}
    return codec.json_response(200, answer)


async def list_counts(call: Call) -> Response:
    """Serve ListFunctionReservedInstances."""
    marker, limit = codec.page(call, "limit", default=MAX_COUNTS, maximum=MAX_COUNTS)
    service = service_of(call)
    found = await service.find(call.principal, call.query.get("urn", ""))
    counts = [{"func_urn": str(service.urn_of(one)), "count": service.count_now(one)} for one in found]
    return codec.json_response(200, _page("reservedinstances", counts, marker, limit))


async def list_configs(call: Call) -> Response:
    """Serve ListReservedInstanceConfigs."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_CONFIGS, maximum=MAX_CONFIGS)
    service = service_of(call)
    found = await service.find(call.principal, call.query.get("function_urn", ""))
    configs = [_config(one, str(service.urn_of(one).qualified(""))) for one in found]
    return codec.json_response(200, _page("reserved_instances", configs, marker, limit))


async def delete(call: Call) -> Response:
    """Serve DeleteReservedInstanceById."""
    parameters = call.parameters
    await service_of(call).end_instance(call.principal, parameters["function_urn"], parameters["instance_id"])
    return codec.no_content()


async def list_instances(call: Call) -> Response:
    """Serve ListInstances, an addition of ours."""
    found = await service_of(call).instances(call.principal, call.parameters["function_urn"])
    return codec.json_response(200, {"instances": [_instance(one) for one in found], "count": len(found)})


def _instance(one: InstanceInfo) -> dict[str, Any]:
    return {
        "instance_id": one.instance_id,
        "version": one.version,
        "state": one.state,
        "reserved": one.is_reserved,
        "memory_size": one.memory_mib,
        "started_at": utc_text(one.started_at),
        "served": one.served,
    }


def _page(name: str, found: Sequence[dict[str, Any]], marker: int, limit: int) -> dict[str, Any]:
    shown = found[marker : marker + limit]
    return {
        name: shown,
        "count": len(found),
        "page_info": {
            "next_marker": marker + len(shown),
            "previous_marker": max(0, marker - limit),
            "current_count": len(shown),
        },
    }


def _config(policy: ReservedPolicy, urn: str) -> dict[str, Any]:
    return {
        "function_urn": urn,
        "qualifier_type": "alias" if policy.alias else "version",
        "qualifier_name": policy.alias or policy.qualifier,
        "min_count": policy.count,
        "idle_mode": policy.is_idle_mode,
        "tactics_config": _tactics(policy),
    }


def _tactics(policy: ReservedPolicy) -> dict[str, Any]:
    """Return the policies. Clients of typed languages take an object without members, but no null for a list."""
    tactics: dict[str, Any] = {}
    if policy.crons:
        tactics["cron_configs"] = [
            {
                "name": cron.name,
                "cron": cron.cron,
                "count": cron.count,
                "start_time": int(cron.starts_at),
                **({} if cron.expires_at is None else {"expired_time": int(cron.expires_at)}),
            }
            for cron in policy.crons
        ]
    if policy.metrics:
        tactics["metric_configs"] = [
            {"name": one.name, "type": BY_CONCURRENCY, "threshold": one.threshold, "min": one.minimum}
            for one in policy.metrics
        ]
    return tactics


def _cron(call: Call, fields: CronFields) -> CronPolicy:
    starts_at = service_of(call).now() if fields.start_time is None else fields.start_time
    return CronPolicy(
        name=fields.name,
        cron=fields.cron,
        count=fields.count,
        starts_at=starts_at,
        expires_at=fields.expired_time,
    )


def _metric(fields: MetricFields) -> MetricPolicy:
    if fields.type != BY_CONCURRENCY:
        raise ModelError("FSS.0400", f"metric_configs.type '{fields.type[:40]}' is not '{BY_CONCURRENCY}'.")
    return MetricPolicy(name=fields.name, threshold=fields.threshold, minimum=fields.min)
