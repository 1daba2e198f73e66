"""A full mesh timed by rule takes what the laid one takes, and at any size what its closed forms say."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.fabric.build import build
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.ideal import crossbar
from forebay.fabric.mesh import mesh, place_mesh
from forebay.fabric.physics import DEFAULT, Physics
from forebay.fabric.presets import preset
from forebay.fabric.routes import Routing
from forebay.fabric.step import hosts_shuffled, step
from forebay.fabric.timing import place, timed
from forebay.fabric.traffic import Exchange, Traffic

UP = ScaleUp(cards=8, bytes_per_s=450e9)
CHIP = catalogue.find("h100-sxm")


def full(hosts, scale_up=UP, **more):
    return Design(kind="full-mesh", hosts=hosts, scale_up=scale_up, **more)


def both(design, kind="spray"):
    routing = Routing(kind=kind)
    return place(build(design), routing, DEFAULT), place_mesh(mesh(design), routing, DEFAULT)


GROUPS = {
    "all": np.arange(64)[None],
    "rails": np.arange(64).reshape(8, 8).T.copy(),
    "four hosts": np.arange(64).reshape(2, 32),
    "some, mixed": np.random.default_rng(3).permutation(64)[:48].reshape(4, 12),
}


@pytest.mark.parametrize("routing", ["spray", "valiant", "ugal", "ecmp"])
@pytest.mark.parametrize("scale_up", [None, UP], ids=["bare", "nvlink"])
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("name", ["ring_all_gather", "all_reduce", "all_to_all", "send_recv", "halving_all_reduce"])
def test_a_collective_takes_what_it_takes_on_the_laid_mesh(name, groups, scale_up, routing):
    laid, ruled = both(full(8, scale_up), routing)
    one, two = (timed(at, name, groups, 1e9) for at in (laid, ruled))
    assert two.collective == one.collective
    assert two.seconds == pytest.approx(one.seconds, rel=1e-9)
    assert two.latency_s == pytest.approx(one.latency_s, rel=1e-9)
    assert two.busy_s.max() == pytest.approx(one.busy_s.max(), rel=1e-9)


@pytest.mark.parametrize("routing", ["spray", "ugal"])
@pytest.mark.parametrize("model", ["dense-70b", "dense-8b"])
def test_a_step_takes_what_it_takes_on_the_laid_mesh(model, routing):
    laid, ruled = both(full(32), routing)
    traffic = preset(model, 256, CHIP)
    for seat in (None, hosts_shuffled(laid.wiring, traffic.ranks)):
        one, two = step(laid, traffic, seat), step(ruled, traffic, seat)
        assert two.seconds == pytest.approx(one.seconds, rel=1e-9)
        assert two.exposed == pytest.approx(one.exposed, rel=1e-9)
        assert two.busiest[0].seconds == pytest.approx(one.busiest[0].seconds, rel=1e-9)


def test_exchanges_of_one_window_share_a_cable_as_on_the_laid_mesh():
    """Pairs, groups that cross them, and everybody: what each cable carries adds up, on detours too."""
    ring = {"nbytes": 1e9, "window": "backward"}
    some = (
        Exchange(name="a", collective="ring_all_reduce", along=("place",), **ring),
        Exchange(name="b", collective="all_to_all", along=("host",), **ring),
        Exchange(name="c", collective="send_recv", along=("host", "place"), **ring),
    )
    t = Traffic(name="t", grid={"host": 8, "place": 8}, compute_s=0.0, exchanges=some, windows={"backward": 0.0})
    for kind in ("spray", "valiant", "ugal"):
        laid, ruled = both(full(8, None), kind)
        assert step(ruled, t).seconds == pytest.approx(step(laid, t).seconds, rel=1e-9)


@pytest.mark.parametrize("kind", ["spray", "valiant", "ugal"])
@pytest.mark.parametrize("groups", [GROUPS["all"], GROUPS["four hosts"]], ids=["all", "four hosts"])
def test_groups_that_are_too_many_to_be_listed_are_counted(groups, kind, monkeypatch):
    from forebay.fabric import mesh as ruled

    design = full(8)
    listed = timed(place_mesh(mesh(design), Routing(kind=kind), DEFAULT), "all_to_all", groups, 1e9)
    monkeypatch.setattr(ruled, "LISTED", 0)
    counted = timed(place_mesh(mesh(design), Routing(kind=kind), DEFAULT), "all_to_all", groups, 1e9)
    assert counted.busy_s.blocks or kind == "valiant"
    assert counted.seconds == pytest.approx(listed.seconds, rel=1e-9)


def test_ten_thousand_cards_cut_their_bandwidth_over_ten_thousand_cables():
    """An all-to-all uses every cable alike; a ring one of 10,239, or by detours half of what the card has."""
    n, nic, size = 10_240, 50e9, 1e9
    design = full(n // 8, None)
    assert mesh(design).cable_bytes_per_s == nic / (n - 1)
    everybody = np.arange(n)[None]

    def took(name, kind):
        return timed(place_mesh(mesh(design), Routing(kind=kind), Physics()), name, everybody, size).seconds

    assert took("all_to_all", "spray") == pytest.approx(size * (n - 1) / n / nic, rel=1e-9)
    alone = 2 * (n - 1) / n * size
    assert took("ring_all_reduce", "spray") == pytest.approx(alone / (nic / (n - 1)), rel=1e-9)
    assert took("ring_all_reduce", "ugal") == pytest.approx(alone / (nic / 2), rel=1e-3)


def test_a_full_port_to_each_other_card_is_about_the_crossbar():
    traffic = preset("dense-405b", 10_240, CHIP)
    design = full(1280, nics_per_host=10_239 * 8)
    ideal = step(place(crossbar(Design(kind="crossbar", hosts=1280, scale_up=UP)), physics=DEFAULT), traffic).seconds
    took = step(place_mesh(mesh(design), physics=DEFAULT), traffic)
    assert took.cut == 0 and 0.98 < took.seconds / ideal <= 1.0


def test_only_a_full_mesh_goes_by_rule():
    with pytest.raises(BadInput, match="Only a full mesh"):
        mesh(Design(kind="torus", hosts=8))
