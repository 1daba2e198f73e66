"""Logs arrive once and in order, wherever agent or cloud is killed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.centre import log
from forebay.centre.local import read_share
from forebay.centre.ship import Shipper
from forebay.centre.spec import Piece
from forebay.cloud.store import Store
from forebay.errors import Unavailable, Unknown


class Killed(BaseException):
    """Stands for `kill -9` at this point."""


def write(run: Path, share: str, lines: list[str]) -> None:
    (run / share).mkdir(exist_ok=True, parents=True)
    with closing(log.Writer(run / share / "log")) as writer:
        writer.write([(1, 0, "stdout", line) for line in lines])


def reader(run: Path):
    def read(marks: Mapping[str, int], most: int) -> Piece | None:
        pieces = (read_share(run / share.name, share.name, marks, most) for share in sorted(run.iterdir()))
        return next((piece for piece in pieces if piece is not None), None)

    return read


def check_in(store: Store, offset: int, body: bytes) -> None:
    store.add_log("j-1", offset, body)


def texts(store: Store) -> list[str]:
    lines, offset = [], 0
    while block := store.read_log("j-1", offset):
        lines += [line["text"] for line, _ in block]
        offset = block[-1][1]
    return lines


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_every_line_arrives_once_and_in_order_of_its_share_whoever_is_killed(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dice, home = random.Random(seed), tmp_path_factory.mktemp("centre")
    store, run = Store(home / "cloud"), home / "run"
    written: dict[str, list[str]] = {"0": [], "1": []}

    def post(offset: int, body: bytes) -> None:
        fate = dice.random()
        if fate < 0.1:
            raise Unavailable("The cloud doesn't answer.")
        if fate < 0.2 and body:  # the cloud is killed in the middle of the piece
            store.add_log("j-1", offset, body[: dice.randrange(len(body))])
            raise Unavailable("The cloud doesn't answer.")
        store.add_log("j-1", offset, body)
        if fate < 0.3:  # the answer is lost
            raise Unavailable("The cloud doesn't answer.")
        if fate < 0.4:
            raise Killed

    shipper = Shipper(home)
    for _ in range(30):
        share = dice.choice("01")
        lines = [f"{share} line {len(written[share]) + i}" for i in range(dice.randrange(4))]
        write(run, share, lines)
        written[share] += lines
        try:
            shipper.ship("j-1", reader(run), post)
        except Unavailable:
            pass
        except Killed:
            shipper = Shipper(home)
    shipper.ship("j-1", reader(run), lambda offset, body: check_in(store, offset, body))
    for share, lines in written.items():
        assert [text for text in texts(store) if text.startswith(share)] == lines


def test_a_log_that_the_cloud_does_not_want_is_not_sent_again_and_again(tmp_path: Path) -> None:
    asked = []

    def post(offset: int, body: bytes) -> None:
        asked.append(offset)
        raise Unknown("There is no such run at this centre.")

    write(tmp_path / "run", "0", ["one"])
    shipper = Shipper(tmp_path)
    for _ in range(3):
        shipper.ship("j-1", reader(tmp_path / "run"), post)
    assert asked == [0]
