"""Rounding and sums as the cloud has them."""

import pytest

from funclet.model.billing import Prices, Usage, billed_ms, billed_reserved_s, charge, gb_s

CALLS_A, CALLS_B, CALLS_C = 2_000_000, 100_000, 100_000
DAY_S = 86_400


@pytest.mark.parametrize(("ran", "billed"), [(0.0, 1), (0.5, 1), (1.0, 1), (1.0001, 1), (2.3, 3), (900_000.0, 900_000)])
def test_milliseconds_are_rounded_up(ran, billed):
    """Noise of a microsecond's thousandth is none."""
    assert billed_ms(ran) == billed


@pytest.mark.parametrize(("alive", "billed"), [(0.1, 60), (51, 60), (60, 60), (60.2, 61), (61, 61), (3600, 3600)])
def test_the_life_of_a_reserved_instance_is_a_minute_at_least(alive, billed):
    assert billed_reserved_s(alive) == billed


def test_the_worked_example_of_the_price_pages():
    """platform.md 9.3: A on demand, B reserved, C reserved in idle mode."""
    a = gb_s(512 * 500 * CALLS_A)
    b = gb_s(128 * 12 * DAY_S * 1000)
    active = gb_s(128 * 5000 * CALLS_C)
    idle = gb_s(128 * (10 * DAY_S * 1000 - 5000 * CALLS_C))
    assert (a, b, active, idle) == (500_000, 129_600, 62_500, 45_500)

    total = charge(Usage(requests=CALLS_A + CALLS_B + CALLS_C, active_gb_s=a + b + active, idle_gb_s=idle), Prices())

    assert total == pytest.approx(35.55871, abs=0.00001)


def test_what_is_free_is_never_negative():
    assert charge(Usage(requests=10, active_gb_s=5.0), Prices()) == 0
    assert charge(Usage(idle_gb_s=1_000_000.0), Prices()) == pytest.approx(33.324), "idle time is never free"
