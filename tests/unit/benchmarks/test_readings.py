"""What the benchmarks read from `/proc`, from wrk and off the wire."""

import os

import pytest

from benchmarks.load import Call, LoadFailed, lua_of, parse_head, parse_wrk, request_bytes
from benchmarks.memory import held_by, is_in_sandbox, kib_of, switches_of, used_kib, wake_ups
from benchmarks.processes import CpuMeter, busy_ticks_of_stat, cpu_s, ticks_of_stat

WRK = """Running 1s test @ http://127.0.0.1:1/
Requests/sec:  2000.00
RESULT {"requests": 2000, "duration_us": 1000000, "p50_us": 8.0, "p99_us": 20.5, "broken": 3, "refused": 500}
"""


def test_cpu_time_is_read_behind_a_name_with_spaces_and_brackets():
    text = "42 (a) b) (c) S 1 42 42 0 -1 4194560 100 0 0 0 70 30 5 5 20 0 1 0 1000 0 0"

    assert ticks_of_stat(text) == 100


def test_waiting_for_disks_is_not_work():
    assert busy_ticks_of_stat("cpu  10 1 5 1000 500 2 3 4 0 0\ncpu0 5 0 2 500 250 1 1 2 0 0\n") == 25


def test_a_process_that_has_ended_uses_nothing():
    assert cpu_s(2**22 + 1) == 0.0


def test_the_meter_counts_what_was_used_between_start_and_stop():
    meter = CpuMeter(lambda: {"front": [os.getpid()], "workers": []})
    before = cpu_s(os.getpid())
    while cpu_s(os.getpid()) - before < 0.03:
        pass

    used = meter.stop()

    assert 0.02 <= used.by_group["front"] <= 5
    assert used.by_group["workers"] == 0
    assert (used.active["front"], used.active["workers"]) == (1, 0)


def test_wrk_counts_refusals_among_its_requests():
    result = parse_wrk(WRK)

    assert (result.requests, result.good, result.broken) == (2000, 1500, 3)
    assert result.per_s == 1500.0
    assert (result.p50_us, result.p99_us) == (8.0, 20.5)


def test_wrk_that_did_not_run_is_named_with_what_it_said():
    with pytest.raises(LoadFailed, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_script_of_wrk_holds_the_request():
    script = lua_of(Call(url="http://h/", method="POST", headers={"X-A": 'b"c'}, body='{"a": 1}'))

    assert 'wrk.method = "POST"' in script
    assert r'wrk.body = "{\"a\": 1}"' in script
    assert r'wrk.headers["X-A"] = "b\"c"' in script


def test_text_that_lua_would_read_differently_is_refused():
    with pytest.raises(ValueError, match="ASCII"):
        lua_of(Call(url="http://h/", body="Ä"))


def test_a_request_goes_over_the_wire_with_its_length():
    call = Call(url="http://h:1/a?b=1", headers={"X-A": "1"}, body="xyz")

    assert request_bytes(call, "h:1") == b"POST /a?b=1 HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nxyz"


def test_a_host_that_was_signed_is_sent_once():
    call = Call(url="http://h:1/", headers={"Host": "h:1"})

    assert request_bytes(call, "h:1").count(b"Host") == 1


def test_names_of_headers_are_read_in_lower_case():
    assert parse_head(b"HTTP/1.1 200 OK\r\nX-Funclet-Start: cold\r\nA:b") == (
        200,
        {"x-funclet-start": "cold", "a": "b"},
    )


def test_memory_in_use_is_neither_free_nor_a_page_of_a_file():
    members = kib_of(
        "MemTotal:  1000 kB\nMemFree:  300 kB\nActive(file):  50 kB\nInactive(file):  20 kB\nHugePages: 3\n"
    )

    assert used_kib(members) == 630


def test_shared_pages_are_counted_once_in_pss():
    held = held_by([os.getpid()])

    assert 1 < held.pss_mib <= held.rss_mib


def test_a_process_that_has_ended_holds_nothing_and_was_never_woken():
    gone = 2**22 + 1

    assert (held_by([gone]).rss_mib, wake_ups([gone])) == (0.0, 0)


def test_both_kinds_of_context_switches_are_wake_ups():
    assert switches_of("Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t7\n") == 12


def test_this_process_is_in_no_sandbox():
    assert not is_in_sandbox(os.getpid())
