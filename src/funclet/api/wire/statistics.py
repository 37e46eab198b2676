"""Operations on statistics: series, ranks, months. Start with `of_function`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from funclet.api.call import Call
from funclet.api.wire import codec
from funclet.base.http import Response
from funclet.model.errors import ModelError
from funclet.model.usage import NO_DATA, Tally
from funclet.services.statistics import Slot

if TYPE_CHECKING:
    from funclet.services.statistics import StatisticsService

DEFAULT_PERIOD_MIN = 5
DEFAULT_INSTANCES_MIN = 24 * 60
MAX_POINTS, DEFAULT_POINTS = 500, 100
DEFAULT_RANKED = 10
_MONTHS = {"0": 1, "1": 2, "2": 3, "3": 6}
"""How many months back an option goes, the present one included."""
_LAST_MONTH = "1"
_MAX_DIGITS = 9
_MS = 1000
_SECONDS_LENGTH = 12
"""A time with more digits is in milliseconds."""

Value = Callable[[Tally], float]


def _mean_ms(tally: Tally) -> float:
    return round(tally.duration_ms / tally.runs, 3) if tally.runs else NO_DATA


def _failed(tally: Tally) -> int:
    return tally.function_errors + tally.system_errors


_SERIES: Mapping[str, Value] = {
    "count": lambda tally: tally.count,
    "duration": _mean_ms,
    "fail_count": _failed,
    "max_duration": lambda tally: round(tally.most_ms, 3) if tally.runs else NO_DATA,
    "min_duration": lambda tally: round(tally.least_ms, 3) if tally.runs else NO_DATA,
    "reject_count": lambda tally: tally.rejects,
    "function_error_count": lambda tally: tally.function_errors,
    "system_error_count": lambda tally: tally.system_errors,
    "reserved_instance_num": lambda tally: tally.reserved,
    "concurrency_num": lambda tally: tally.in_flight,
}
_WITH_INSTANCES: Mapping[str, Value] = {**_SERIES, "instance_num": lambda tally: tally.instances}
_INSTANCES: Mapping[str, Value] = {
    "instanceNum": lambda tally: tally.instances,
    "reservedInstanceNum": lambda tally: tally.reserved,
}
_RANKED: Mapping[str, Value] = {
    "count": lambda tally: tally.count,
    "failcount": _failed,
    "failRate": lambda tally: 100 * _failed(tally) / tally.count if tally.count else 0,
    "rejectcount": lambda tally: tally.rejects,
    "concurrency": lambda tally: tally.in_flight,
    "reservedinstancenum": lambda tally: tally.reserved,
    "payPerUseInstance": lambda tally: tally.instances,
    "duration": _mean_ms,
    "maxDuration": lambda tally: tally.most_ms,
    "minDuration": lambda tally: tally.least_ms,
    "systemErrorCount": lambda tally: tally.system_errors,
    "functionErrorCount": lambda tally: tally.function_errors,
}
"""What functions can be ranked by, as the cloud's metrics are called."""


async def of_function(call: Call) -> Response:
    """Serve ListFunctionStatistics."""
    return codec.json_response(200, _series(await _function_slots(call), _SERIES))


async def metrics(call: Call) -> Response:
    """Serve ShowFunctionMetrics."""
    return codec.json_response(200, _series(await _function_slots(call), _WITH_INSTANCES))


async def instances(call: Call) -> Response:
    """Serve ShowFuncReservedInstanceMetrics: the last day, unless `period` says otherwise."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_POINTS, maximum=MAX_POINTS)
    period = codec.query_number(call, "period", default=DEFAULT_INSTANCES_MIN)
    slots = await _service(call).of_function(call.principal, call.parameters["func_urn"], period)
    return codec.json_response(200, _series(slots[marker : marker + limit], _INSTANCES))


async def list_statistics(call: Call) -> Response:
    """Serve ListStatistics."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_POINTS, maximum=MAX_POINTS)
    chosen = call.query.get("filter", "")
    if chosen == "monthly_report":
        return codec.json_response(200, await _months(call))
    if chosen != "monitor_data":
        raise ModelError("FSS.0400", f"filter '{chosen[:40]}' is none of monitor_data, monthly_report.")
    period = codec.query_number(call, "period", default=DEFAULT_PERIOD_MIN)
    slots = await _service(call).of_project(call.principal, period)
    return codec.json_response(200, {"statistics": _series(slots[marker : marker + limit], _SERIES)})


async def rank_functions(call: Call) -> Response:
    """Serve ListFunctionAsMetric."""
    marker, limit = codec.page(call, "limit", default=DEFAULT_RANKED, maximum=MAX_POINTS)
    kind = call.query.get("type") or "failcount"
    value = _RANKED.get(kind)
    if value is None:
        raise ModelError("FSS.0400", f"type '{kind[:40]}' is none of {', '.join(_RANKED)}.")
    service = _service(call)
    found = await service.by_function(call.principal, since=_time(call, "start_time"), until=_time(call, "end_time"))
    ranked = sorted((-value(one.tally), one.name, one.package) for one in found if value(one.tally) > 0)
    shown = ranked[marker : marker + limit]
    values = [
        {"key": str(service.urn_of(call.principal, package, name)), "value": round(-negative)}
        for negative, name, package in shown
    ]
    return codec.json_response(200, {"values": values, "next_marker": marker + len(shown), "count": len(ranked)})


async def _months(call: Call) -> dict[str, Any]:
    option = call.query.get("option", "")
    found = await _service(call).months(call.principal, _MONTHS.get(option, 1))
    months = found[:1] if option == _LAST_MONTH else found
    return {
        "count": [{"date": month.name, "value": month.count} for month in months],
        "gbs": [{"date": month.name, "value": round(month.gb_s, 3)} for month in months],
        "gpu_gbs": [{"date": month.name, "value": 0} for month in months],
        # An addition of ours: the part of `gbs` that is paid for at the lower price.
        "idle_gbs": [{"date": month.name, "value": round(month.idle_gb_s, 3)} for month in months],
    }


async def _function_slots(call: Call) -> Sequence[Slot]:
    text = call.parameters["period"]
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise ModelError("FSS.0400", f"period '{text[:40]}' is no number of minutes.")
    return await _service(call).of_function(call.principal, call.parameters["func_urn"], int(text))


def _series(slots: Sequence[Slot], wanted: Mapping[str, Value]) -> dict[str, Any]:
    return {
        name: [
            {
                "timestamp": slot.begins_at * _MS,
                "value": NO_DATA if slot.tally is None else value(slot.tally),
            }
            for slot in slots
        ]
        for name, value in wanted.items()
    }


def _time(call: Call, name: str) -> float | None:
    """Return a time of the query in seconds; clients send seconds, milliseconds, or a text with its zone."""
    text = call.query.get(name, "").strip()
    if text.isascii() and text.isdigit() and _SECONDS_LENGTH < len(text) <= _SECONDS_LENGTH + 3:
        return int(text) / _MS
    return codec.query_time(call, name)


def _service(call: Call) -> "StatisticsService":
    service = call.services.statistics
    # Only process 0 is asked for these operations.
    assert service is not None
    return service
