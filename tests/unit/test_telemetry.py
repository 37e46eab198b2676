"""Log lines and categories, letter by letter: tools parse them."""

import pytest

from funclet import telemetry

AT = 1_773_742_402.1
ID = "960d089c-c812-4fe7-9997-a72f773e4bcb"


def test_the_start_line():
    line = telemetry.start_line("invoke", ID, "latest", at=AT)

    assert line == f"2026-03-17T10:13:22.100Z Start invoke request '{ID}', version: latest\n".encode()


def test_the_finish_line_of_load_ends_with_a_full_stop():
    line = telemetry.phase_finish_line(
        "load", ID, at=AT, duration_ms=891.558, memory_bytes=115_456_000, storage_bytes=54_526
    )

    assert (
        line
        == (
            f"2026-03-17T10:13:22.100Z Finish load request '{ID}', duration: 891.558ms, "
            "memory used: 110.107MB, storage used: 0.052MB.\n"
        ).encode()
    )


@pytest.mark.parametrize(("failed", "mark"), [(False, ""), (True, "(invoke Failed)")])
def test_the_finish_line_of_an_invocation(failed, mark):
    line = telemetry.invoke_finish_line(
        ID,
        at=AT,
        duration_ms=2.049,
        memory_bytes=38_309_724,
        memory_mib=128,
        cpu_ms=0.6147,
        storage_bytes=40_894,
        failed=failed,
    )

    assert (
        line
        == (
            f"2026-03-17T10:13:22.100Z Finish invoke request '{ID}'{mark}, duration: 2.049ms, billing duration: 3ms, "
            "memory used: 36.535MB, billing memory: 128MB, cpu used: 0.300U, storage used: 0.039MB\n"
        ).encode()
    )


@pytest.mark.parametrize(
    ("duration_ms", "billed"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.0001, 1), (1.001, 2), (2.049, 3), (65.828, 66)]
)
def test_whole_milliseconds_are_billed_rounded_up(duration_ms, billed):
    assert telemetry.billed_ms(duration_ms) == billed


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0, "success"),
        (4001, "Load failed"),
        (4002, "Code error"),
        (4010, "Invocation timed out"),
        (4205, "Memory threshold exceeded"),
        (4207, "Disk threshold exceeded"),
        (4211, "Initialization failed"),
        (9999, "System error"),
    ],
)
def test_categories(code, expected):
    assert telemetry.category(code) == expected


@pytest.mark.parametrize("limit", range(1, 12))
def test_the_tail_is_cut_on_a_character_boundary(limit):
    text = "a好b函c"

    tail = telemetry.tail(text.encode(), limit)

    assert len(tail) <= limit
    assert text.endswith(tail.decode())
