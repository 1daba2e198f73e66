"""A conversation survives every connection that carries it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.job import talk
from forebay.job.talk import DATA, EXIT, Reader, Talk


class Ends:
    """Two ends of a conversation and a connection that may break anywhere."""

    def __init__(self) -> None:
        self.one, self.other = Talk("c"), Talk("c")
        self.at_one: list[bytes] = []
        self.at_other: list[bytes] = []
        self.connect()

    def connect(self) -> None:
        self.one.connected()
        self.other.connected()
        self.readers = Reader(), Reader()

    def carry(self, most: int = 1 << 30) -> bool:
        """Carry what both have to say, of each no more than `most` bytes. False when there was nothing."""
        there, back = self.one.take(), self.other.take()
        self.at_other += heard(self.other, self.readers[1].feed(there[:most]))
        self.at_one += heard(self.one, self.readers[0].feed(back[:most]))
        return bool(there or back)


def heard(end: Talk, frames: list[tuple[bytes, bytes]]) -> list[bytes]:
    return [body for kind, body in frames if end.hear(kind, body)]


def test_what_is_said_is_heard_in_order_on_both_sides():
    ends = Ends()
    ends.one.say(DATA, b"ls\n")
    ends.other.say(DATA, b"a b c")
    ends.other.tell(EXIT, code=0)
    while ends.carry():
        pass
    assert (ends.at_other, ends.at_one) == ([b"ls\n"], [b"a b c", b'{"code": 0}'])
    assert ends.other.settled  # an end is acknowledged at once


def test_nothing_is_said_before_the_other_end_has_greeted():
    one = Talk("c")
    one.say(DATA, b"x")
    one.connected()
    assert [kind for kind, _ in Reader().feed(one.take())] == [talk.HELLO]
    assert not one.talkative


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_over_any_number_of_breaks_nothing_is_lost_or_doubled(seed):
    dice = random.Random(seed)
    ends = Ends()
    said: tuple[list[bytes], list[bytes]] = ([], [])
    for _ in range(60):
        for end, list_ in zip((ends.one, ends.other), said, strict=True):
            if dice.random() < 0.6 and end.room:
                list_.append(dice.randbytes(dice.randrange(1, 30_000)))
                end.say(DATA, list_[-1])
        if dice.random() < 0.3:
            ends.carry(dice.randrange(0, 50_000))  # cut off within a frame
            ends.connect()
        else:
            ends.carry()
    while ends.carry():
        pass
    assert (ends.at_other, ends.at_one) == said


def test_a_speaker_whose_listener_is_gone_has_room_for_one_window():
    one = Talk("c")
    while one.room:
        one.say(DATA, bytes(1000))
    assert talk.WINDOW <= one._kept_bytes < talk.WINDOW + 2000


def test_an_acknowledgement_makes_room_again():
    ends = Ends()
    while ends.one.room:
        ends.one.say(DATA, bytes(5000))
    while ends.carry():
        pass
    assert ends.one.room and not ends.one.settled  # the last frames are kept until more is heard


def test_long_data_is_cut_into_frames():
    ends = Ends()
    ends.one.say(DATA, bytes(talk.LARGEST + 1))
    while ends.carry():
        pass
    assert [len(body) for body in ends.at_other] == [talk.LARGEST, 1]


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n", b"\0\0\0\0\0", b"D\xff\xff\xff\xff"])
def test_what_is_no_frame_is_refused(noise):
    with pytest.raises(ValueError, match="no frame"):
        Reader().feed(noise)


def test_whoever_has_heard_what_was_never_said_is_refused():
    one = Talk("c")
    with pytest.raises(ValueError, match="never said"):
        one.hear(talk.HELLO, b'{"conversation": "c", "heard": 1}')
