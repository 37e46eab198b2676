"""Everything that processes send each other comes out as it went in."""

import msgspec
import pytest

from funclet.cluster.codec import (
    MAX_VERSIONS,
    KnownVersions,
    SentVersions,
    decode_logs,
    decode_outcome,
    encode,
    encode_invocation,
    encode_logs,
)
from funclet.model.function import Code, FunctionVersion, Settings
from funclet.model.invocation import (
    Completed,
    FailureKind,
    FunctionFailed,
    InnerCode,
    Invocation,
    PlatformFailed,
    Refused,
    Report,
)

REPORT = Report(duration_ms=1.5, memory_peak_bytes=7, is_cold=True, printed=b"\xff line", memory_mib=128)
OUTCOMES = [
    Completed(body=b"\x00\xff", is_json=False, report=REPORT),
    FunctionFailed(kind=FailureKind.TIMEOUT, code=InnerCode.TIMEOUT, body=b"{}", is_json=True, report=REPORT),
    Refused(reason="später", retry_after_s=None, is_overload=True),
    PlatformFailed(reason="no"),
]


def version(name="echo", revision=1):
    """Return a version with every kind of setting."""
    return FunctionVersion(
        project_id="p",
        region="r",
        package="default",
        name=name,
        function_id=f"id-{name}",
        version="latest",
        settings=Settings(
            runtime="Python3.10",
            handler="index.handler",
            timeout_s=3,
            memory_mib=128,
            user_data='{"a": "b"}',
            dependency_ids=("x", "y"),
            echoed={"list": [1, {"deep": None}], "text": "ü"},
        ),
        code=Code(digest="d", size=1, code_type="zip"),
        revision=revision,
        modified_at=1.5,
    )


def carry(sent, known, invocation):
    """Send one invocation and return what arrives, and whether its version was told."""
    number, telling = sent.number(invocation.version)
    if telling is not None:
        known.learn(telling)
    return known.invocation(encode_invocation(invocation, number)), telling is not None


def test_an_invocation_arrives_whole():
    invocation = Invocation(request_id="r", version=version(), payload=b"\xff{}", alias="a", memory_mib=256)

    assert carry(SentVersions(), KnownVersions(), invocation) == (invocation, True)


def test_a_version_is_told_once():
    sent, known, one = SentVersions(), KnownVersions(), version()
    invocation = Invocation(request_id="r", version=one, payload=b"1")

    assert [carry(sent, known, invocation)[1] for _ in range(3)] == [True, False, False]
    # The catalog has read it anew: another object may be another state.
    assert carry(sent, known, msgspec.structs.replace(invocation, version=version()))[1]


def test_more_versions_than_are_remembered_are_told_again():
    sent, known = SentVersions(), KnownVersions()
    versions = [version(f"f{number}") for number in range(MAX_VERSIONS + 10)]
    invocations = [Invocation(request_id="r", version=one, payload=b"1") for one in versions]

    assert [carry(sent, known, one)[0] for one in invocations] == invocations
    assert carry(sent, known, invocations[0]) == (invocations[0], True)
    assert carry(sent, known, invocations[-1]) == (invocations[-1], False)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_an_outcome_arrives_whole(outcome):
    assert decode_outcome(encode(outcome)) == outcome


def test_log_records_arrive_in_order():
    records = [
        Report(function_id="f", request_id=str(number), before=b"\xff", printed=b"line\n") for number in range(3)
    ]

    assert decode_logs(encode_logs(records)) == records


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x92\xa4Evil\x80"])
def test_nonsense_is_no_outcome(body):
    with pytest.raises((ValueError, KeyError)):
        decode_outcome(body)
