"""Closed forms of the planner against the fabric room's, and against one that is built and timed flow by flow."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.fabric.build import build, propose
from forebay.fabric.design import ScaleUp
from forebay.fabric.physics import DEFAULTS, Physics, seconds
from forebay.fabric.timing import place, timed
from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.kernels.collectives import collective
from forebay.plan.kernels.known import device
from forebay.plan.knowledge import known
from forebay.plan.model import Workload
from forebay.plan.network import Links, exchange, gather, links, nearer, ring, send, split, total
from forebay.plan.plan import Plan
from forebay.plan.pool import Cards
from forebay.plan.pool_read import pool
from forebay.plan.presets import model
from forebay.plan.time import step

CARDS = Cards(chip="h100-sxm", count=64, island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9)
ON = links(CARDS)
BARE = Links(island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9, up_latency_s=0.0, out_latency_s=0.0)
nbytes = st.floats(1e3, 1e11)
ranks = st.integers(0, 10).map(lambda power: 2**power)
strides = st.integers(0, 6).map(lambda power: 2**power)


def test_links_carry_what_flows_get_of_them():
    assert ON.up_bytes_per_s == 450e9 * DEFAULTS["nvlink"].efficiency
    assert ON.out_bytes_per_s == 50e9 * DEFAULTS["infiniband"].efficiency


@pytest.mark.parametrize("name, form", [("all_gather", gather), ("reduce_scatter", gather), ("all_to_all", exchange)])
@pytest.mark.parametrize("size", [1e6, 64e6, 4e9])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_inside_an_island_it_is_the_fabric_rooms_closed_form(name, form, size, n):
    theirs = seconds(DEFAULTS["nvlink"], name, n, size, 450e9)
    assert float(form(ON, n, 1, size)) == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("name, form", [("all_gather", gather), ("reduce_scatter", gather), ("all_to_all", exchange)])
@pytest.mark.parametrize("n", [2, 8, 32])
def test_between_islands_it_is_the_fabric_rooms_closed_form(name, form, n):
    theirs = seconds(DEFAULTS["infiniband"], name, n, 1e9, 50e9, links=4)
    assert float(form(ON, n, 8, 1e9)) == pytest.approx(theirs, rel=0.03)


@pytest.fixture(scope="module")
def wirings():
    """Hosts of eight cards, rail-optimised, each card with its own NIC."""
    up = ScaleUp(cards=8, bytes_per_s=450e9)
    return {hosts: place(build(propose("rail-optimised", hosts, scale_up=up)), physics=Physics()) for hosts in (2, 4, 8)}


@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_an_all_to_all_of_all_cards_is_what_routed_flows_take(wirings, hosts):
    found = timed(wirings[hosts], "all_to_all", [np.arange(hosts * 8)], 1e9)
    assert float(exchange(BARE, hosts * 8, 1, 1e9)) == pytest.approx(found.seconds, rel=0.15)


@pytest.mark.parametrize("hosts", [2, 4, 8])
@pytest.mark.parametrize("name", ["all_gather", "reduce_scatter"])
def test_a_gather_of_all_cards_takes_what_drawn_rings_over_all_rails_take(wirings, hosts, name):
    """Both keep scale-up and NICs busy at once, as libraries' rings do."""
    found = timed(wirings[hosts], name, [np.arange(hosts * 8)], 1e9)
    took = float(gather(BARE, hosts * 8, 1, 1e9))
    assert found.collective.startswith("rails")
    assert took == pytest.approx(found.seconds, rel=0.01)


@pytest.mark.parametrize("hosts", [2, 4, 8])
@pytest.mark.parametrize("name, form", [("all_gather", gather), ("reduce_scatter", gather), ("all_to_all", exchange)])
def test_on_a_built_fabric_groups_of_one_card_a_host_take_what_is_said(wirings, hosts, name, form):
    groups = np.arange(hosts * 8).reshape(hosts, 8).T
    found = timed(wirings[hosts], name, groups, 1e9)
    assert float(form(BARE, hosts, 8, 1e9)) == pytest.approx(found.seconds, rel=0.15)


@given(ranks, strides)
def test_the_ranks_of_a_group_are_those_on_each_island_times_islands(n, stride):
    inside, islands = split(ON, n, stride)
    assert inside * islands == n
    assert 1 <= inside <= max(1, 8 // stride)


@given(ranks, strides, nbytes)
def test_a_group_of_one_sends_nothing_and_others_take_time(n, stride, size):
    for form in (gather, exchange):
        assert (float(form(ON, n, stride, size)) > 0) == (n > 1)


@given(ranks, strides, nbytes, st.floats(1, 100))
def test_more_bytes_take_longer_and_twice_as_many_at_most_twice(n, stride, size, more):
    for form in (gather, exchange):
        few, many = float(form(ON, n, stride, size)), float(form(ON, n, stride, size * more))
        assert few <= many <= few * more * (1 + 1e-9)


@given(ranks, strides, nbytes, st.floats(1, 10))
def test_faster_links_are_never_slower(n, stride, size, faster):
    for field in ("up_bytes_per_s", "out_bytes_per_s"):
        better = Links(
            **{
                name: getattr(ON, name) * (faster if name == field else 1)
                for name in Links.__dataclass_fields__
                if name not in ("island", "table")
            },
            island=8,
        )
        for form in (gather, exchange):
            assert float(form(better, n, stride, size)) <= float(form(ON, n, stride, size)) * (1 + 1e-9)
        assert float(send(better, stride, size)) <= float(send(ON, stride, size)) * (1 + 1e-9)


@given(strides, nbytes)
def test_a_message_stays_inside_an_island_where_its_ends_do(stride, size):
    rate, latency = (ON.up_bytes_per_s, ON.up_latency_s) if stride < 8 else (ON.out_bytes_per_s, ON.out_latency_s)
    assert float(send(ON, stride, size)) == pytest.approx(size / rate + latency)


@given(ranks, strides, nbytes, st.floats(0, 1))
def test_sending_each_island_a_vector_once_is_never_slower(n, stride, size, share):
    assert float(exchange(ON, n, stride, size, size * share)) <= float(exchange(ON, n, stride, size)) * (1 + 1e-9)


@given(st.lists(st.tuples(ranks, strides, nbytes), min_size=1, max_size=8))
def test_many_groups_at_once_are_each_alone(rows):
    n, stride, size = (np.array(column) for column in zip(*rows, strict=True))
    for form in (gather, exchange):
        assert np.allclose(form(ON, n, stride, size), [float(form(ON, *row)) for row in rows])


@pytest.mark.parametrize(
    "tensor, context, stages, data", [(1, 1, 4, 16), (2, 1, 2, 8), (1, 2, 2, 8), (2, 2, 4, 4), (8, 1, 2, 4), (1, 1, 64, 2)]
)
def test_data_ranks_outside_stages_share_an_island_with_as_many_as_are_counted_one_by_one(tensor, context, stages, data):
    """The context x data ranks of one stage and one place of the tensor degree, on islands of eight."""
    places = np.arange(data * stages * context * tensor).reshape(data, stages, context, tensor)
    most = max(np.bincount(places[:, 0, :, 0].reshape(-1) // 8))
    inside, islands = split(ON, data * context, int(nearer(ON, data, stages, context, tensor)))
    assert (inside, islands) == (most, data * context / most)


@pytest.mark.parametrize("n", [2, 4, 8])
@pytest.mark.parametrize("size", [1e6, 16e6, 256e6])
def test_an_all_reduce_inside_an_island_is_the_measured_one(n, size):
    measured = float(collective(device("h100-sxm"), CARDS, "all_reduce", n, size, library="nccl"))
    assert float(total(ON, n, 1, size)) == pytest.approx(measured)


@given(ranks, strides, nbytes)
def test_an_all_reduce_without_a_table_or_across_islands_is_a_scatter_and_a_gather(n, stride, size):
    assert float(total(BARE, n, stride, size)) == 2 * float(gather(BARE, n, stride, size))
    if float(split(ON, n, stride)[1]) > 1 or n == 1:
        assert float(total(ON, n, stride, size)) == 2 * float(gather(ON, n, stride, size))


def test_the_same_silicon_reads_the_same_table_and_links_of_another_speed_none():
    assert (
        links(Cards(chip="a100-sxm-40gb", count=8, island=8, up_bytes_per_s=300e9, out_bytes_per_s=25e9)).table == "a100-sxm-80gb"
    )
    assert links(Cards(chip="h100-sxm", count=8, island=8, up_bytes_per_s=25e9, out_bytes_per_s=25e9)).table == ""
    assert links(CARDS, measured=False).table == ""


MESH = links(pool("ascend-910b:64").cards[0])
SWITCH = replace(MESH, mesh=0)


@pytest.mark.parametrize("do", [gather, total, exchange])
def test_of_cards_that_are_joined_two_by_two_a_group_has_only_its_own_links(do):
    """Eight in a mesh: two have one of a card's seven links, four have three, all eight all."""
    nbytes = 2.0**30
    for ranks, share in ((2, 1 / 7), (4, 3 / 7), (8, 1.0)):
        slow, fast = (float(do(on, ranks, 1, nbytes)) for on in (MESH, SWITCH))
        assert slow == pytest.approx(fast / share, rel=0.01)
    assert do(MESH, 64, 1, nbytes) == pytest.approx(do(SWITCH, 64, 1, nbytes), rel=0.01)


def test_in_a_mesh_a_ring_has_one_link_to_the_next_however_many_it_holds():
    nbytes = 2.0**30
    for ranks in (2, 4, 8):
        assert float(ring(MESH, ranks, 1, nbytes)) == pytest.approx(7 * float(ring(SWITCH, ranks, 1, nbytes)), rel=0.01)
    assert float(ring(SWITCH, 8, 1, nbytes)) == float(gather(SWITCH, 8, 1, nbytes))
    assert float(send(MESH, 1, nbytes)) == pytest.approx(7 * float(send(SWITCH, 1, nbytes)), rel=0.01)
    assert float(send(MESH, 8, nbytes)) == float(send(SWITCH, 8, nbytes))


def test_over_two_cards_of_a_mesh_tensors_travel_as_long_as_over_eight():
    """Why eight ways are usual on the Ascend 910B, and two are not: a seventh of the bytes over a seventh of the links."""
    work = Workload(model=model("llama-3-70b"), sequences=256, tokens=4096, number_format="bf16")
    cards = pool("ascend-910b:64").cards[0]
    pair, whole = (Plan(replicas=1, shards=64 // t, tensor=t, stages=("ascend-910b",)) for t in (2, 8))

    def seconds(one, plan):
        site = known(one, "bf16", framework("megatron")).site
        return float(np.squeeze(step(work, site, cuts([plan])).tensor))

    assert seconds(cards, pair) == pytest.approx(seconds(cards, whole), rel=0.1)
    assert seconds(replace(cards, mesh=0), pair) < 0.2 * seconds(replace(cards, mesh=0), whole)
