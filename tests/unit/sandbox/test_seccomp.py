"""The filter's verdicts, by running the program as the kernel would."""

import struct

import pytest

from funclet.sandbox.protocol import SandboxError
from funclet.sandbox.seccomp import build_filter

ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061
X86_64, AARCH64 = 0xC000003E, 0xC00000B7


def verdict(program, call, *arguments, architecture=X86_64):
    """Interpret the BPF program for one system call."""
    data = struct.pack("=IIQ6Q", call, architecture, 0, *arguments, *([0] * (6 - len(arguments))))
    rows = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, yes, no, value = rows[at]
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += yes if holds else no


@pytest.fixture(scope="module")
def program():
    return build_filter("x86_64")


def test_ordinary_calls_are_open(program):
    for call in (0, 1, 2, 9, 57, 59, 60, 202, 231, 257, 318, 334, 439, 449):
        assert verdict(program, call) == ALLOW


def test_calls_of_administrators_are_closed(program):
    for call in (
        101,
        155,
        165,
        166,
        167,
        169,
        175,
        246,
        250,
        272,
        298,
        304,
        308,
        310,
        311,
        321,
        323,
        425,
        428,
        432,
        442,
    ):
        assert verdict(program, call) == EPERM


def test_another_architecture_is_killed(program):
    assert verdict(program, 0, architecture=0x40000003) == KILL


def test_the_x32_numbers_are_killed(program):
    assert verdict(program, 0x40000000 | 520) == KILL


@pytest.mark.parametrize("flag", [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_with_any_namespace_is_closed(program, flag):
    assert verdict(program, 56, flag | 17) == EPERM


def test_clone_for_threads_and_forks_is_open(program):
    assert verdict(program, 56, 0x3D0F00) == ALLOW
    assert verdict(program, 56, 0x1200011) == ALLOW


def test_clone3_falls_back_to_clone(program):
    assert verdict(program, 435) == ENOSYS


def test_socket_families(program):
    assert [verdict(program, 41, family) for family in (1, 2, 10, 16)] == [ALLOW] * 4
    assert [verdict(program, 41, family) for family in (0, 3, 15, 17, 31, 38, 40)] == [EAFNOSUPPORT] * 7


def test_personality_can_be_asked_but_not_weakened(program):
    assert verdict(program, 135, 0xFFFFFFFF) == ALLOW
    assert verdict(program, 135, 0x0040000) == EPERM


def test_typing_into_terminals_is_closed(program):
    assert verdict(program, 16, 0, 0x5412) == EPERM
    assert verdict(program, 16, 0, 0x5401) == ALLOW


def test_the_other_machine_has_its_own_numbers():
    program = build_filter("aarch64")

    assert verdict(program, 40, architecture=AARCH64) == EPERM
    assert verdict(program, 63, architecture=AARCH64) == ALLOW
    assert verdict(program, 40, architecture=X86_64) == KILL


def test_an_unknown_machine_is_refused():
    with pytest.raises(SandboxError, match="riscv64"):
        build_filter("riscv64")
