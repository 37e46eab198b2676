"""Checks of single operations of the Python SDK, as sdk_checks.py: reserved instances, statistics and metrics."""

import time

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2

from tests.support.sdk import refused
from tests.support.waiting import eventually

CHECKS = {}
FAILING = "def handler(event, context):\n    raise ValueError('x')\n"


def check(function):
    """Register the check of the operation that the function is named after."""
    CHECKS[function.__name__] = function
    return function


def reserve(sdk, urn, count, **fields):
    """Set how many instances of a version stand ready."""
    body = v2.UpdateFunctionReservedInstancesCountRequestBody(count=count, **({"idle_mode": False} | fields))
    return sdk.call("update_function_reserved_instances_count", function_urn=urn, body=body)


@check
@pytest.mark.proves("operation:UpdateFunctionReservedInstancesCount")
def update_function_reserved_instances_count(sdk):
    """Number and schedules are answered as they were set; an alias and its version cannot both have some."""
    urn = sdk.create().func_urn
    version = sdk.publish(urn, "v1").func_urn
    alias = sdk.add_alias(urn, "dev", "v1").alias_urn
    cron = v2.CronConfig(
        name="c1", cron="0 0 8 * * ?", count=2, start_time=int(time.time()), expired_time=4_000_000_000
    )
    load = v2.MetricConfig(name="m1", type="Concurrency", threshold=60, min=1)
    tactics = v2.TacticsConfig(cron_configs=[cron], metric_configs=[load])

    answer = reserve(sdk, version, 1, tactics_config=tactics)

    assert (answer.count, answer.idle_mode) == (1, False)
    assert str(answer.tactics_config) == str(tactics)
    assert refused(ClientRequestException, reserve, sdk, alias, 1) == (400, "FSS.1076")
    reserve(sdk, version, 0)


@check
@pytest.mark.proves("operation:ListReservedInstanceConfigs")
def list_reserved_instance_configs(sdk):
    """Policies of all versions and aliases of a function are listed until they are removed."""
    urn = sdk.create().func_urn
    version = sdk.publish(urn, "v1").func_urn
    reserve(sdk, version, 1)

    listed = sdk.call("list_reserved_instance_configs", function_urn=urn, limit="100", marker="0")

    (policy,) = listed.reserved_instances
    assert policy.function_urn.startswith(urn.removesuffix(":latest"))
    assert (policy.qualifier_type, policy.qualifier_name) == ("version", "v1")
    assert (policy.min_count, policy.idle_mode, listed.count) == (1, False, 1)
    beyond = sdk.call("list_reserved_instance_configs", function_urn=urn, limit="100", marker="1")
    assert beyond.reserved_instances == []
    reserve(sdk, version, 0)
    assert sdk.call("list_reserved_instance_configs", function_urn=urn).reserved_instances == []


@check
@pytest.mark.proves("operation:ListFunctionReservedInstances")
def list_function_reserved_instances(sdk):
    """They are really there, before anybody has asked for the function."""
    version = sdk.publish(sdk.create().func_urn, "v1").func_urn
    reserve(sdk, version, 1)

    def counts():
        listed = sdk.call("list_function_reserved_instances", urn=version)
        return {one.func_urn: one.count for one in listed.reservedinstances}

    eventually(lambda: counts() == {version: 1}, because="the instance was started")
    reserve(sdk, version, 0)


def run_and_fail(sdk):
    """Let a function fail twice; return its urn."""
    urn = sdk.create(FAILING).func_urn
    for _ in range(2):
        sdk.invoke(urn)
    return urn


def total(values):
    """Add up the slots that have data."""
    return sum(one.value for one in values if one.value != -1)


@check
@pytest.mark.proves("operation:ListFunctionStatistics")
def list_function_statistics(sdk):
    """What ran and failed within the last minutes is counted."""
    urn = run_and_fail(sdk)

    def counted():
        found = sdk.call("list_function_statistics", func_urn=urn, period="30")
        return (total(found.count), total(found.fail_count), total(found.function_error_count)) == (2, 2, 2)

    eventually(counted, within_s=20, because="both runs were counted")


@check
@pytest.mark.proves("operation:ShowFunctionMetrics")
def show_function_metrics(sdk):
    """The same is told with the instances, by time."""
    urn = run_and_fail(sdk)

    eventually(lambda: total(sdk.call("show_function_metrics", func_urn=urn, period="30").count) == 2, within_s=20)

    found = sdk.call("show_function_metrics", func_urn=urn, period="30")
    assert total(found.max_duration) >= total(found.min_duration) > 0
    moments = [one.timestamp for one in found.instance_num]
    assert moments == sorted(moments)
    assert abs(moments[-1] / 1000 - time.time()) < 3600


@check
@pytest.mark.proves("operation:ShowFuncReservedInstanceMetrics")
def show_func_reserved_instance_metrics(sdk):
    """Both series have a value for each moment, under names in camel case."""
    urn = run_and_fail(sdk)

    found = sdk.call("show_func_reserved_instance_metrics", func_urn=urn, limit="10")

    assert len(found.instance_num) == len(found.reserved_instance_num) > 0


@check
@pytest.mark.proves("operation:ListStatistics")
def list_statistics(sdk):
    """The project's last minutes, and its months."""
    run_and_fail(sdk)

    def counted():
        found = sdk.call("list_statistics", filter="monitor_data", period="30")
        return total(found.statistics.fail_count) >= 2

    eventually(counted, within_s=20, because="the runs were counted")
    month = sdk.call("list_statistics", filter="monthly_report", option="0")
    assert [one.date for one in month.count] == [one.date for one in month.gbs]
    assert month.count[0].value >= 2
    assert refused(ClientRequestException, sdk.call, "list_statistics", filter="nothing")[0] == 400


@check
@pytest.mark.proves("operation:ListFunctionAsMetric")
def list_function_as_metric(sdk):
    """The function that failed is among those that fail most."""
    urn = run_and_fail(sdk).removesuffix(":latest")

    def ranked():
        found = sdk.call("list_function_as_metric", type="failcount", limit="500")
        return any(one.key.startswith(urn) and one.value == 2 for one in found.values)

    eventually(ranked, within_s=20, because="the failures were counted")
