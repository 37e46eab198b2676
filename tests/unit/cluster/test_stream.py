"""Frames: cut anywhere and put together again; nonsense is refused."""

import random
import struct

import pytest

from funclet.cluster.frames import MAX_FRAME_BYTES, BadFrame, FrameReader, Kind, pack

FRAMES = [(Kind.INVOKE, 2**63, b""), (Kind.REPLY, 1, b"x" * 100_000), (Kind.BYE, 0, b"{}"), (Kind.LOGS, 7, bytes(3))]


@pytest.mark.parametrize("seed", range(20))
def test_frames_survive_being_cut_anywhere(seed):
    chance = random.Random(seed)
    stream = b"".join(pack(*frame) for frame in FRAMES * 3)
    reader, seen = FrameReader(), []
    while stream:
        length = chance.choice([1, 3, 13, 1000, 70_000])
        seen += reader.feed(stream[:length])
        stream = stream[length:]

    assert seen == FRAMES * 3


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<IBQ", 9, 99, 1),
        struct.pack("<IBQ", 8, Kind.REPLY, 1),
        struct.pack("<IBQ", MAX_FRAME_BYTES + 1, Kind.REPLY, 1),
    ],
    ids=["unknown kind", "too short", "too long"],
)
def test_what_no_process_sends_is_refused(head):
    with pytest.raises(BadFrame):
        list(FrameReader().feed(head))
