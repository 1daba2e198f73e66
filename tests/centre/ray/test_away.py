"""The agent's side while nobody of Ray answers. No Ray is needed."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.centre import layout
from forebay.centre.ray.engine import Ray, hand_environment
from forebay.centre.settings import RaySettings, Settings
from forebay.centre.spec import Outcome, Phase, Share, Spec
from forebay.errors import Conflict, Unavailable

from ..conftest import until

SPEC = Spec(
    name="j-1",
    job="j",
    organisation="acme",
    chip="ascend-910b",
    shares=(Share(node="a1", cards=(0,)),),
    bundle="0" * 64,
    entry="main.py",
)


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="forebay-ray-") as folder:
        yield Path(folder)


@pytest.fixture
def engine(home) -> Iterator[Ray]:
    with socket.socket() as taken:  # a port at which nobody listens
        taken.bind(("127.0.0.1", 0))
        ray = RaySettings(address=f"127.0.0.1:{taken.getsockname()[1]}")
        told = Settings(engine="ray", name="t", base={"*": sys.executable}, ray=ray)
        made = Ray(home, told)
        yield made
        made.close()


def test_an_engine_that_knows_no_nodes_says_none(engine):
    assert (engine.nodes(), engine.states()) == ((), ())


def test_a_run_waits_for_ray_and_is_stopped_without_it(engine):
    run = engine.launch(SPEC)
    assert engine.launch(SPEC) == run
    assert engine.look(run).phase is Phase.QUEUED
    with pytest.raises(Conflict):
        engine.forget(run)
    with pytest.raises(Unavailable):
        engine.dial(run)
    engine.stop(run, 30)
    seen = until(lambda: now if (now := engine.look(run)).phase is Phase.ENDED else None)
    assert (seen.outcome, seen.held_ns, seen.reason) == (
        Outcome.STOPPED,
        0,
        "It was asked to stop before its ranks were started.",
    )
    engine.forget(run)
    assert (dict(engine.handles()), layout.run(engine._home.path, "j-1").exists()) == ({}, False)


def test_lines_of_all_shares_have_their_turn(engine, home):
    shares = (Share(node="a1", cards=(0,)), Share(node="a2", cards=(0,)))
    run = engine.launch(replace(SPEC, shares=shares))
    for share in (0, 1):
        folder = layout.log(layout.share(layout.run(home, "j-1"), share))
        folder.mkdir(parents=True)
        (folder / "0000000000000000.jsonl").write_text("".join(f'{{"line": {n}}}\n' for n in range(100)))
    marks: dict[str, int] = {}
    told = []
    while (piece := engine.read_log(run, marks, 200)) is not None:
        assert marks.get(piece.share, 0) == piece.start
        marks[piece.share] = piece.end
        told.append(piece.share)
    assert set(told[:4]) == {"0", "1"}
    assert {share: marks[share] for share in "01"} == {"0": 1290, "1": 1290}


def test_the_hand_hears_of_our_environment_only_what_is_rays():
    ours = {"PATH": "/bin", "HOME": "/root", "RAY_TLS_CA_CERT": "ca", "FOREBAY_KEY": "secret", "RAY_USAGE_STATS_ENABLED": "1"}
    told = hand_environment(ours)
    assert "FOREBAY_KEY" not in told
    assert (told["RAY_TLS_CA_CERT"], told["RAY_USAGE_STATS_ENABLED"]) == ("ca", "0")
