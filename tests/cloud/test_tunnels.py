"""The streams of tunnels: by offset, bounded, and gone with what they lead to. No HTTP, and a clock that the test holds."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.cloud.tunnels import A_RUN, LARGEST, REMEMBERED_S, SILENCE_S, Stream, Tunnel, Tunnels
from forebay.errors import Conflict, Unknown


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """Tunnels, a clock, and how often the list was said to have changed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told = 0
        self.tunnels = Tunnels(self.clock, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def open(self, name: str = "t", run: str = "j-1", key: str = "k") -> Tunnel:
        return self.tunnels.open(name, run=run, centre="c", key=key)


def live(run: str) -> bool:
    return True


# A stream.


def test_what_was_read_is_dropped_and_what_was_not_is_read_again():
    stream = Stream()
    assert stream.add(0, b"hello") == 5
    assert (stream.get(0, 2), stream.get(0), stream.get(2)) == (b"he", b"hello", b"llo")
    with pytest.raises(Conflict, match="isn't here"):
        stream.get(1)
    with pytest.raises(Conflict, match="isn't here"):
        stream.get(6)


def test_what_is_said_twice_is_taken_once():
    stream = Stream()
    assert [stream.add(0, b"abc"), stream.add(0, b"abc"), stream.add(1, b"bcd"), stream.add(2, b"")] == [3, 3, 4, 4]
    assert stream.get(0) == b"abcd"
    with pytest.raises(Conflict, match="missing"):
        stream.add(5, b"x")


def test_no_more_is_kept_than_there_is_room_for():
    stream = Stream()
    assert stream.add(0, bytes(LARGEST + 10)) == LARGEST
    assert stream.add(LARGEST, b"x") == LARGEST
    assert len(stream.get(7)) == LARGEST - 7
    assert stream.add(LARGEST, bytes(10)) == LARGEST + 7


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_whatever_is_asked_again_nothing_is_lost_or_doubled(seed):
    dice = random.Random(seed)
    whole, got = dice.randbytes(3 * LARGEST), bytearray()
    stream, sent = Stream(), 0
    while len(got) < len(whole):
        if dice.random() < 0.5:
            end = stream.add(sent, whole[sent : sent + dice.randrange(LARGEST)])
            sent = end if dice.random() < 0.7 else sent  # else the answer was lost, and it is sent again
        else:
            part = stream.get(len(got), dice.randrange(1, LARGEST))
            got += part if dice.random() < 0.7 else b""  # else it was lost under way, and asked for again
    assert got == whole


# Waiting.


def test_a_reader_waits_for_the_first_byte_and_a_writer_for_room():
    async def both() -> tuple[bytes, int, int]:
        world = World()
        tunnel = world.open()
        reading = asyncio.ensure_future(world.tunnels.read(tunnel, tunnel.up, 0, 10, live))
        await asyncio.sleep(0)
        await world.tunnels.write(tunnel, tunnel.up, 0, b"x", 10)
        read = await asyncio.wait_for(reading, 5)
        full = await world.tunnels.write(tunnel, tunnel.up, 1, bytes(2 * LARGEST), 10)  # as much as fits is taken at once
        writing = asyncio.ensure_future(world.tunnels.write(tunnel, tunnel.up, full, bytes(10), 10))
        await asyncio.sleep(0)
        assert not writing.done()
        await world.tunnels.read(tunnel, tunnel.up, 100, 0, live)
        return read, full, await asyncio.wait_for(writing, 5)

    assert asyncio.run(both()) == (b"x", LARGEST, LARGEST + 10)


def test_closing_wakes_all_who_wait():
    async def closed() -> tuple[bytes, str]:
        world = World()
        tunnel = world.open()
        reading = asyncio.ensure_future(world.tunnels.read(tunnel, tunnel.down, 0, 10, live))
        await asyncio.sleep(0)
        world.tunnels.close(tunnel, "because")
        world.tunnels.close(tunnel, "for another reason")
        return await asyncio.wait_for(reading, 5), tunnel.closed

    assert asyncio.run(closed()) == (b"", "because")


# Who may, and for how long.


def test_a_tunnel_is_its_openers_and_its_centres():
    world = World()
    world.open(key="mine")
    with pytest.raises(Unknown):
        world.tunnels.of_visitor("t", "yours")
    with pytest.raises(Unknown):
        world.tunnels.of_centre("t", "another centre", "life 1")
    with pytest.raises(Conflict):
        world.open(key="yours")
    assert world.tunnels.of_visitor("t", "mine") is world.tunnels.of_centre("t", "c", "life 1") is world.open(key="mine")


def test_an_agent_that_was_started_again_finds_the_tunnel_broken():
    world = World()
    world.open()
    assert world.tunnels.of_centre("t", "c", "life 1").closed == ""
    assert "started again" in world.tunnels.of_centre("t", "c", "life 2").closed


def test_the_list_changes_when_a_tunnel_is_opened_or_closed_and_holds_the_open_ones():
    world = World()
    one, _two = world.open("one"), world.open("two", run="i-1")
    assert world.told == 2
    world.tunnels.close(one, "")
    world.tunnels.close(one, "left")
    assert world.tunnels.listing("c", live) == {"two": "i-1"}
    assert world.tunnels.listing("elsewhere", live) == {}


def test_a_tunnel_dies_with_its_run_and_with_either_side():
    world = World()
    ended, silent, lost = world.open("1", run="over-1"), world.open("2"), world.open("3")
    world.tunnels.of_centre("3", "c", "life")
    world.clock.now_s = SILENCE_S - 1
    world.tunnels.of_visitor("3", "k")
    world.clock.now_s = SILENCE_S + 1
    assert world.tunnels.listing("c", lambda run: run != "over-1") == {}
    assert (ended.closed, silent.closed, lost.closed) == (
        "its run has ended",
        "its visitor has gone",
        "the agent of its centre has gone",
    )
    assert world.tunnels.of_visitor("3", "k") is lost  # it can still say why
    world.clock.now_s += REMEMBERED_S + 1
    world.tunnels.sweep()
    with pytest.raises(Unknown):
        world.tunnels.of_visitor("3", "k")


def test_a_run_has_so_many_tunnels_and_no_more():
    world = World()
    for i in range(A_RUN):
        world.open(f"t{i}")
    with pytest.raises(Conflict, match="Too many"):
        world.open("one more")
    world.open("elsewhere", run="i-1")
