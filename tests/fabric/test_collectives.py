"""Every collective keeps its promise when its sends are performed, whatever the number of ranks."""

from __future__ import annotations

import pytest

from forebay.errors import BadInput
from forebay.fabric.collectives import Collective, Send, collective, parent

SIZES = [*range(1, 18), 32, 33]


def perform(made: Collective, held: list[dict[int, int]]) -> list[dict[int, int]]:
    """Do the rounds on real buffers: a dictionary of chunks a rank. What is sent in a round is what was held before it."""
    for sends in made.rounds():
        parcels = [(s, c, held[s.src][c]) for s in sends for c in range(s.chunk, s.chunk + s.count)]
        for s, c, value in parcels:
            held[s.dst][c] = held[s.dst].get(c, 0) + value if s.add else value
    return held


def summands(made: Collective) -> list[dict[int, int]]:
    """Each rank's contribution is a digit of its own, so a sum tells how often each came in."""
    return [dict.fromkeys(range(made.chunks), (made.n + 1) ** rank) for rank in range(made.n)]


def all_of(n: int) -> int:
    return sum((n + 1) ** rank for rank in range(n))


REDUCING = [
    ("ring_all_reduce", {}),
    ("halving_all_reduce", {}),
    ("doubling_all_reduce", {}),
    ("direct_all_reduce", {}),
    ("tree_all_reduce", {"pieces": 3}),
    ("double_tree_all_reduce", {"pieces": 5}),
    ("bucket_all_reduce", {}),
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name, options", REDUCING, ids=[name for name, _ in REDUCING])
def test_an_all_reduce_leaves_the_whole_sum_everywhere(name, options, n):
    made = collective(name, n, **options)
    for buffer in perform(made, summands(made)):
        assert set(buffer.values()) == {all_of(n)}


@pytest.mark.parametrize("inner, outer", [(1, 5), (4, 1), (2, 3), (4, 4), (8, 3)])
def test_a_hierarchical_all_reduce_does_too(inner, outer):
    made = collective("hierarchical_all_reduce", inner * outer, inner=inner)
    for buffer in perform(made, summands(made)):
        assert set(buffer.values()) == {all_of(inner * outer)}


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("inner, outer", [(1, 5), (4, 1), (2, 3), (4, 4), (8, 3)])
def test_a_pipelined_all_reduce_does_in_any_number_of_slices(inner, outer, slices):
    made = collective("pipelined_all_reduce", inner * outer, inner=inner, pieces=slices)
    for buffer in perform(made, summands(made)):
        assert set(buffer.values()) == {all_of(inner * outer)} and len(buffer) == slices * inner * outer


@pytest.mark.parametrize("inner, outer", [(1, 5), (4, 1), (2, 3), (4, 4), (8, 3)])
def test_rings_over_all_rails_do_too(inner, outer):
    made = collective("rails_all_reduce", inner * outer, inner=inner)
    for buffer in perform(made, summands(made)):
        assert set(buffer.values()) == {all_of(inner * outer)} and len(buffer) == made.chunks


@pytest.mark.parametrize("outer", [2, 4, 5])
def test_each_ring_leaves_a_host_by_another_card_and_keeps_to_its_rail(outer):
    """With an odd number of hosts a ring must change its rail once."""
    pairs = list(collective("rails_all_gather", 4 * outer, inner=4).stages[0].pairs())
    across = [(a, b) for a, b in pairs if a // 4 != b // 4]
    assert sorted(a for a, _ in across) == sorted(b for _, b in across) == list(range(4 * outer))
    assert sum(a % 4 != b % 4 for a, b in across) == (4 if outer % 2 else 0)


def test_the_stages_of_a_pipeline_work_at_the_same_time():
    """Two hosts of two: while slice 1 is summed inside the hosts, slice 0 goes round between them."""
    one, four = (len(list(collective("pipelined_all_reduce", 4, inner=2, pieces=k).rounds())) for k in (1, 4))
    assert one == 4 and four == 7


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 4), (3, 3, 3), (2, 3), (2, 3, 4), (5,)])
def test_a_bucket_all_reduce_does_on_every_torus(shape):
    n = 1
    for side in shape:
        n *= side
    made = collective("bucket_all_reduce", n, shape=shape)
    for buffer in perform(made, summands(made)):
        assert set(buffer.values()) == {all_of(n)}


@pytest.mark.parametrize(
    "name, n, options",
    [(name, n, {}) for name in ("ring_reduce_scatter", "direct_reduce_scatter") for n in SIZES[1:]]
    + [("halving_reduce_scatter", n, {}) for n in (2, 4, 16, 32)]
    + [("hierarchical_reduce_scatter", 12, {"inner": 4}), ("hierarchical_reduce_scatter", 16, {"inner": 8})]
    + [("pipelined_reduce_scatter", 12, {"inner": 4, "pieces": 3}), ("rails_reduce_scatter", 12, {"inner": 4})],
)
def test_after_a_reduce_scatter_each_chunk_is_whole_at_one_rank_and_each_rank_has_one(name, n, options):
    made = collective(name, n, **options)
    whole = [[c for c, value in buffer.items() if value == all_of(n)] for buffer in perform(made, summands(made))]
    assert sorted(c for mine in whole for c in mine) == list(range(made.chunks))
    assert {len(mine) for mine in whole} == {made.chunks // n}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["ring_all_gather", "direct_all_gather"])
def test_after_an_all_gather_everybody_has_everything(name, n):
    made = collective(name, n)
    held = perform(made, [{rank: rank} for rank in range(n)])
    assert all(buffer == {c: c for c in range(n)} for buffer in held)


def test_halves_that_were_scattered_can_be_gathered():
    for scatter, gather, options in [
        ("halving_reduce_scatter", "doubling_all_gather", {}),
        ("hierarchical_reduce_scatter", "hierarchical_all_gather", {"inner": 4}),
        ("pipelined_reduce_scatter", "pipelined_all_gather", {"inner": 4, "pieces": 3}),
        ("rails_reduce_scatter", "rails_all_gather", {"inner": 4}),
    ]:
        made = collective(scatter, 16, **options)
        held = perform(made, summands(made))
        own = [{c: value for c, value in buffer.items() if value == all_of(16)} for buffer in held]
        held = perform(collective(gather, 16, **options), own)
        assert all(set(buffer.values()) == {all_of(16)} and len(buffer) == made.chunks for buffer in held)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["direct_all_to_all", "pairwise_all_to_all"])
def test_an_all_to_all_brings_each_its_own(name, n):
    made = collective(name, n)
    held = perform(made, [{i * n + j: i * n + j for j in range(n)} for i in range(n)])
    for j, buffer in enumerate(held):
        assert all(buffer[i * n + j] == i * n + j for i in range(n))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", ["binomial_broadcast", "chain_broadcast"])
def test_a_broadcast_reaches_everybody(name, n):
    made = collective(name, n)
    held = perform(made, [{c: c for c in range(made.chunks)} if rank == 0 else {} for rank in range(n)])
    assert all(buffer == {c: c for c in range(made.chunks)} for buffer in held)


@pytest.mark.parametrize("n", [2, 5, 8, 9])
def test_a_stage_has_the_pairs_and_the_piece_that_it_says(n):
    options = {"hierarchical_all_reduce": {"inner": n}, "bucket_all_reduce": {"shape": (n,)}}
    for name in (
        "ring_all_reduce",
        "halving_all_reduce",
        "chain_broadcast",
        "double_tree_all_reduce",
        "pairwise_all_to_all",
        *options,
    ):
        for stage in collective(name, n, **options.get(name, {})).stages:
            pairs = set(stage.pairs())
            used = {(s.src, s.dst) for r in range(stage.times) for s in stage.sends(r)}
            assert used == pairs
            assert {s.count for r in range(stage.times) for s in stage.sends(r)} == {stage.count}


def test_a_ring_moves_the_least_that_an_all_reduce_can():
    made = collective("ring_all_reduce", 8)
    sent = sum(stage.times * stage.count for stage in made.stages) / made.chunks
    assert sent == 2 * 7 / 8


@pytest.mark.parametrize("n", range(2, 40))
def test_each_rank_is_a_leaf_in_one_of_the_two_trees(n):
    inner = {parent(place, n) for place in range(1, n)}
    second = {(n - 1 - place) if n % 2 == 0 else (place + 1) % n for place in inner}
    assert len(inner & second) <= 1  # but for the top of an odd number


def test_ranks_stand_at_the_places():
    first = next(collective("ring_all_gather", 3).rounds([7, 5, 9]))
    assert first == [Send(7, 5, 0), Send(5, 9, 1), Send(9, 7, 2)]


@pytest.mark.parametrize(
    "name, n, options, says",
    [
        ("ring", 4, {}, "no such collective"),
        ("halving_reduce_scatter", 12, {}, "power of two"),
        ("hierarchical_all_reduce", 10, {"inner": 4}, "divide the group"),
        ("pipelined_all_reduce", 10, {"inner": 4}, "divide the group"),
        ("pipelined_all_reduce", 8, {"inner": 4, "pieces": 0}, "at least one"),
        ("bucket_all_reduce", 10, {"shape": (3, 3)}, "as many places"),
        ("ring_all_reduce", 0, {}, "at least one"),
    ],
)
def test_what_cannot_be_is_refused_and_says_what_can(name, n, options, says):
    with pytest.raises(BadInput, match=says):
        collective(name, n, **options)
