"""Serving plans over several kinds of cards: as good as trying everything, laws, words and errors."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.errors import BadInput, DoesNotFit
from forebay.plan.model import Latent, Model, Window
from forebay.plan.pool import Cards, Pool
from forebay.plan.serving import MixMenu, ServingPlan, ServingTarget, formats
from forebay.plan.serving import pool as serving_pool
from forebay.plan.serving import search as serving_search
from forebay.plan.serving.apart import BUSY
from forebay.plan.serving.handover import moved, wire
from forebay.plan.serving.load import aggregated, decoding, prompt_s
from forebay.plan.serving.memory import cache
from forebay.plan.serving.offer import question
from forebay.plan.serving.pool import PoolQuestion, search
from forebay.plan.serving.search import candidates, fitting
from forebay.plan.serving.time import Engine, serving_cuts
from forebay.plan.serving.wait import HABITS

LLAMA = Model(name="llama-8b", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
LARGE = replace(LLAMA, name="llama-70b", layers=80, width=8192, heads=64, mlp_width=28672)
PRICES = {"h100-sxm": 2_000_000, "h20": 900_000, "a100-sxm-80gb": 1_000_000, "h200": 2_600_000}
easy = settings(deadline=None, max_examples=5)


def cards(chip, count, **more):
    up = 300e9 if chip.startswith("a") else 450e9
    usual = {"island": 8, "up_bytes_per_s": up, "out_bytes_per_s": 50e9, "price_per_hour": PRICES.get(chip)}
    return Cards(chip=chip, count=count, **{**usual, **more})


def pool(*rows, **more):
    return Pool(cards=tuple(one if isinstance(one, Cards) else cards(*one) for one in rows), currency="USD", **more)


def target(model=LLAMA, form="fp8", inputs=2048, outputs=256, **more):
    return ServingTarget(model=model, formats=formats(form, model), input_tokens=inputs, output_tokens=outputs, **more)


def asked(on, goal=None, **more):
    return PoolQuestion(target=goal or target(first_s=0.5, token_s=0.02), pool=on, **more)


def by_hand(on, goal, habits=HABITS[""]):
    """The most requests a second, by trying every engine of each kind and every number of each: no front, no pruning."""
    counts = [one.count for one in on.cards]
    whole, reads, makes, engines = [], [], [], []
    for one in on.cards:
        ask = question(one, goal, "")
        engine = Engine(device=ask.device, cards=one, model=goal.model, formats=goal.formats)
        cuts = fitting(engine, ask, candidates(ask))
        inputs, outputs = np.full(len(cuts), float(goal.input_tokens)), np.full(len(cuts), float(goal.output_tokens))
        served, made = aggregated(engine, cuts, inputs, outputs, habits), decoding(engine, cuts, inputs, outputs)
        prompt = prompt_s(engine, cuts, inputs, habits.call_s)
        keeps = (served.first_s <= goal.first_s) & (served.token_s <= goal.token_s)
        whole.append([(int(cuts.cards[i]), served.requests_per_s[i]) for i in np.flatnonzero(keeps)])
        least = [i for i in range(len(cuts)) if cuts.batch[i] == cuts.batch[cuts.cards == cuts.cards[i]].min()]
        host = prompt.host * goal.input_tokens / habits.pass_tokens
        reads.append([(cuts[i : i + 1], max(prompt.alone[i], prompt.host[i]), 1 / max(prompt.many[i], host[i])) for i in least])
        makes.append(
            [(cuts[i : i + 1], made.token_s[i], made.requests_per_s[i]) for i in np.flatnonzero(made.token_s <= goal.token_s)]
        )
        engines.append(engine)
    apart = {}
    for a, b in product(range(len(counts)), repeat=2):
        on_wire = wire(on.cards[a], on.cards[b], None if a == b else on.between_bytes_per_s)
        best = {}
        for (reader, own, read), (maker, token, make) in product(reads[a], makes[b]):
            way_s, send, take = (float(x.ravel()[0]) for x in moved(on_wire, engines[b], reader, maker, float(goal.input_tokens)))
            s, d = int(reader.cards[0]), int(maker.cards[0])
            for x, y in product(range(1, counts[a] // s + 1), range(1, counts[b] // d + 1)):
                if a == b and x * s + y * d > counts[a]:
                    continue
                room = goal.first_s - habits.door_s - own - way_s - token
                busy = min(BUSY, 2 * room * read / (1 + 2 * room * read)) if room > 0 else 0.0
                rate = min(x * min(busy * read, BUSY * send), y * min(make, BUSY * take))
                used = tuple(x * s * (k == a) + y * d * (k == b) for k in range(len(counts)))
                best[used] = max(best.get(used, 0.0), rate)
        apart[a, b] = best
    top = 0.0
    for chosen in [(), *((one,) for one in apart), *combinations(apart, 2)]:
        for parts in product(*(list(apart[one].items()) for one in chosen)):
            left = [n - sum(used[k] for used, _ in parts) for k, n in enumerate(counts)]
            if min(left) < 0:
                continue
            rest = sum(max((n // c * r for c, r in whole[k]), default=0.0) for k, n in enumerate(left))
            top = max(top, rest + sum(rate for _, rate in parts))
    return top


@pytest.mark.parametrize(
    "rows, more, goal",
    [
        ((("h100-sxm", 3), ("h20", 3)), {}, {"first_s": 0.5, "token_s": 0.02}),
        ((("h20", 4), ("h100-sxm", 2)), {"between_bytes_per_s": 0.4e9}, {"first_s": 0.4, "token_s": 0.012}),
    ],
)
def test_the_best_is_what_trying_everything_finds(rows, more, goal):
    on, goal = pool(*rows, **more), target(**goal)
    assert search(asked(on, goal)).choices[0].requests_per_s == pytest.approx(by_hand(on, goal), rel=0.005)


def test_compute_reads_and_bandwidth_makes():
    menu = search(asked(pool(("h100-sxm", 16), ("h20", 16)), target(LARGE, first_s=2.0, token_s=0.03)))
    best = menu.choices[0]
    assert ("h100-sxm", "h20") in {(group.prefill_chip, group.chip) for group in best.groups}
    assert not any((group.prefill_chip, group.chip) == ("h20", "h100-sxm") for group in best.groups)
    assert best.requests_per_s > 1.15 * sum(menu.alone.values())
    assert "reads prompts for h20" in best.says[0] and "times the prompts" in best.says[0]
    assert menu.why.startswith("Prompts read on one kind for another carry most")


def test_every_group_keeps_the_target_and_rates_and_cards_add_up():
    on, goal = pool(("h100-sxm", 16), ("h20", 12)), target(first_s=0.5, token_s=0.02)
    menu = search(asked(on, goal))
    assert menu.met and 1 <= len(menu.choices) <= 5
    for choice in menu.choices:
        assert all(group.first_s <= 0.5 * (1 + 1e-9) and group.token_s <= 0.02 for group in choice.groups)
        assert choice.requests_per_s == pytest.approx(sum(group.requests_per_s for group in choice.groups))
        assert sum(choice.cards.values()) == sum(group.cards for group in choice.groups)
        for one in on.cards:
            assert choice.cards.get(one.chip, 0) + choice.idle.get(one.chip, 0) == one.count
    rates = [choice.requests_per_s for choice in menu.choices]
    assert rates == pytest.approx(sorted(rates, reverse=True), rel=0.005)


@easy
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1), st.integers(1, 9))
def test_more_cards_of_any_kind_never_carry_less(h100, h20, kind, more):
    counts = [h100, h20]
    then = [n + more * (k == kind) for k, n in enumerate(counts)]
    rates = [search(asked(pool(("h100-sxm", a), ("h20", b)))).choices[0].requests_per_s for a, b in (counts, then)]
    assert rates[1] >= rates[0] * (1 - 0.005)


@easy
@given(st.integers(1, 10), st.integers(1, 10), st.booleans())
def test_another_kind_beside_it_never_carries_less_than_one_alone(count, others, apart):
    goal = target(first_s=0.5, token_s=0.02)
    mixed = search(asked(pool(("h100-sxm", count), ("h20", others)), goal, apart=apart))
    alone = serving_search.search(question(cards("h100-sxm", count), goal, ""), apart) if not apart or count > 1 else None
    if alone is not None and alone.met:
        assert mixed.met
        assert mixed.choices[0].requests_per_s >= alone.choices[0].requests_per_s * (1 - 0.005)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("goal", [{}, {"first_s": 0.5, "token_s": 0.02}, {"token_s": 0.001}, {"requests_per_s": 20.0}])
def test_one_kind_gets_the_answer_of_one_kind(apart, goal):
    goal = target(**goal)
    mixed = search(asked(pool(("h100-sxm", 8)), goal, apart=apart))
    plain = serving_search.search(question(cards("h100-sxm", 8), goal, ""), apart)
    assert [choice.groups for choice in mixed.choices] == [(one,) for one in plain.choices]
    assert (mixed.met, mixed.why, mixed.searched) == (plain.met, plain.why, plain.searched)


def test_exchanging_the_names_of_two_equal_kinds_changes_only_the_names():
    def told(first, second):
        return search(asked(pool(cards("h20", 8, label=first), cards("h20", 12, label=second))))

    here, there = told("north", "south"), told("south", "north")
    swapped = str(encode(here)).replace("(north)", "(x)").replace("(south)", "(north)").replace("(x)", "(south)")
    assert swapped == str(encode(there))


def test_the_order_of_the_kinds_changes_nothing():
    here, there = (search(asked(pool(*rows))) for rows in ((("h100-sxm", 8), ("h20", 12)), (("h20", 12), ("h100-sxm", 8))))
    assert here.choices[0].requests_per_s == pytest.approx(there.choices[0].requests_per_s)
    assert here.choices[0].cards == there.choices[0].cards and here.alone == pytest.approx(there.alone)


def test_a_slow_link_between_kinds_keeps_prompts_at_home():
    goal = target(LARGE, first_s=2.0, token_s=0.03)
    fast, slow = (
        search(asked(pool(("h100-sxm", 16), ("h20", 16), between_bytes_per_s=rate), goal)).choices[0] for rate in (50e9, 0.05e9)
    )
    assert any(group.prefill_chip for group in fast.groups) and not any(group.prefill_chip for group in slow.groups)
    assert slow.requests_per_s < fast.requests_per_s


def test_the_way_of_a_cache_is_part_of_the_time_to_first_token():
    goal = target(LARGE, first_s=3.0, token_s=0.03)
    rows = cards("h100-sxm", 16), cards("h20", 16)
    near, far = (
        search(asked(pool(*rows, between_bytes_per_s=rate), goal, only={"h100-sxm": "prompts", "h20": "tokens"}))
        .choices[0]
        .groups[0]
        for rate in (50e9, 1e9)
    )
    whole = 2048 * 80 * 2 * 8 * 128  # fp8: 160 KiB a token
    assert far.moved_s == pytest.approx(whole / min(far.prefill.tensor, far.decode.tensor) / 0.94e9, rel=0.01)
    ask = question(rows[0], goal, "")
    engine = Engine(device=ask.device, cards=ask.cards, model=LARGE, formats=goal.formats)
    for one in (near, far):
        prompt = prompt_s(engine, serving_cuts([one.prefill]), np.full(1, 2048.0), HABITS[""].call_s)
        read = 1 / max(prompt.many[0], prompt.host[0] * 2048 / HABITS[""].pass_tokens)
        busy = one.requests_per_s / one.prefill.workers / read
        own = max(prompt.alone[0], prompt.host[0]) + busy / (2 * (1 - busy)) / read
        assert one.first_s == pytest.approx(HABITS[""].door_s + own + one.moved_s + one.token_s)


def test_bytes_that_move_are_those_of_the_heads_the_latent_vector_or_the_window():
    latent = replace(LLAMA, heads=128, kv_heads=128, latent=Latent(query_rank=1536, kv_rank=512, plain=128, rotary=64, value=128))
    windowed = replace(LLAMA, window=Window(tokens=128, full_every=2))
    on = wire(cards("h100-sxm", 8), cards("h20", 8))
    one, eight = serving_cuts([ServingPlan(tensor=1, batch=1)]), serving_cuts([ServingPlan(tensor=8, batch=1)])
    for model, whole in ((LLAMA, 32 * 2 * 8 * 128), (latent, 32 * 576), (windowed, 16 * 2 * 8 * 128 * (1 + 128 / 4096))):
        ask = question(cards("h20", 8), target(model, "bf16"), "")
        engine = Engine(device=ask.device, cards=ask.cards, model=model, formats=ask.target.formats)
        seconds = float(moved(on, engine, one, one, 4096.0)[0][0, 0]) - on.latency_s
        assert seconds * on.bytes_per_s == pytest.approx(4096 * whole * 2)
        wide = float(moved(on, engine, one, eight, 4096.0)[0][0, 0]) - on.latency_s
        copies = 8 if model is latent else 1  # each card of the maker wants the latent vector
        assert wide == pytest.approx(seconds * copies)
        assert float(cache(engine, eight, 4096)[0]) * 8 == pytest.approx(4096 * whole * 2 * copies)


def test_the_fewest_cards_or_the_least_money_that_carry_the_requests():
    goal = target(first_s=0.5, token_s=0.02, requests_per_s=30.0)
    bare = [replace(cards(chip, 16), price_per_hour=None) for chip in ("h100-sxm", "a100-sxm-80gb")]
    fewest = search(asked(pool(*bare), replace(goal, formats=formats("bf16", LLAMA)))).choices[0]
    least = search(asked(pool(("h100-sxm", 16), ("a100-sxm-80gb", 16)), replace(goal, formats=formats("bf16", LLAMA)))).choices[0]
    for one in (fewest, least):
        assert one.requests_per_s >= 30.0 and one.first_s <= 0.5 * (1 + 1e-9)
    assert sum(fewest.cards.values()) <= sum(least.cards.values())
    assert fewest.cost_per_million is None and least.cost_per_million is not None
    hourly = sum(PRICES[chip] * n for chip, n in least.cards.items())
    assert least.cost_per_million == pytest.approx(hourly / 3600 / (least.requests_per_s * 256) * 1e6, abs=2)
    assert sum(least.cost_by_kind.values()) == least.cost_per_million
    assert hourly <= sum(PRICES[chip] * n for chip, n in fewest.cards.items())


def test_requests_that_no_plan_carries_get_the_most_and_why():
    menu = search(asked(pool(("h100-sxm", 2), ("h20", 2)), target(first_s=0.5, token_s=0.02, requests_per_s=1e4)))
    assert not menu.met and "asked 10000.00" in menu.why
    assert menu.choices[0].requests_per_s == pytest.approx(
        search(asked(pool(("h100-sxm", 2), ("h20", 2)))).choices[0].requests_per_s
    )


def test_times_that_no_plan_keeps_get_the_nearest_and_why():
    menu = search(asked(pool(("h100-sxm", 8), ("h20", 8)), target(token_s=0.0005)))
    assert not menu.met and "a token each" in menu.why and "asked 0.5 ms" in menu.why
    singles = [
        serving_search.search(question(one, target(token_s=0.0005), ""), True).choices[0] for one in pool(("h20", 8)).cards
    ]
    assert menu.choices[0].token_s <= 1.06 * min(one.token_s for one in singles)


def test_a_kind_does_what_it_is_let_do():
    on, goal = pool(("h100-sxm", 16), ("h20", 16)), target(LARGE, first_s=2.0, token_s=0.03)
    menu = search(asked(on, goal, only={"h20": "prompts"}))
    for group in (group for choice in menu.choices for group in choice.groups):
        assert group.chip == "h100-sxm"
    free = search(asked(on, goal)).choices[0]
    assert menu.choices[0].requests_per_s < free.requests_per_s
    apart = search(asked(on, goal, apart=True))
    assert all(group.prefill is not None for choice in apart.choices for group in choice.groups)


def test_a_kind_without_the_format_is_left_out_and_said():
    menu = search(asked(pool(("h100-sxm", 8), ("a100-sxm-80gb", 8))))
    assert list(menu.left_out) == ["a100-sxm-80gb"] and "number format" in menu.left_out["a100-sxm-80gb"]
    assert menu.choices[0].says[-1].startswith("a100-sxm-80gb is left out")
    assert menu.alone == {"h100-sxm": menu.choices[0].requests_per_s, "a100-sxm-80gb": 0.0}


def test_a_kind_that_holds_no_weights_is_left_out_with_what_it_would_take():
    on = pool(("h200", 8), cards("rtx-4090", 2, island=1, up_bytes_per_s=25e9))
    menu = search(asked(on, target(LARGE, first_s=2.0)))
    assert "weights" in menu.left_out["rtx-4090"] and menu.choices[0].cards == {"h200": 8}


def test_no_kind_that_can_serve_is_one_error_with_all_reasons():
    with pytest.raises(DoesNotFit, match="No kind") as error:
        search(asked(pool(("h20", 1), ("h100-sxm", 1)), target(LARGE, "bf16")))
    assert "h20:" in error.value.found and "h100-sxm:" in error.value.found


def test_cards_that_hold_one_engine_dont_read_apart():
    with pytest.raises(DoesNotFit, match="takes two engines") as error:
        search(asked(pool(("h200", 1), ("a100-sxm-80gb", 8)), apart=True))
    assert "1 x h200" in error.value.asked


@pytest.mark.parametrize(
    "only, apart, said",
    [
        ({"h200": "tokens"}, False, "no such kind"),
        ({"h20": "dishes"}, False, "one of three things"),
        ({"h20": "tokens", "h100-sxm": "tokens"}, False, "nobody is left for prompts"),
        ({"h20": "prompts", "h100-sxm": "both"}, False, "nobody is left for tokens"),
        ({"h20": "both"}, True, "One wish has prompts read apart"),
    ],
)
def test_wishes_that_contradict_each_other_are_named(only, apart, said):
    with pytest.raises(BadInput, match=said):
        search(asked(pool(("h100-sxm", 8), ("h20", 8)), only=only, apart=apart))


def test_a_wish_of_a_kind_that_is_left_out_is_refused():
    with pytest.raises(BadInput, match="a100-sxm-80gb can't do that"):
        search(asked(pool(("h100-sxm", 8), ("a100-sxm-80gb", 8)), only={"a100-sxm-80gb": "tokens"}))


def test_a_cache_between_two_vendors_is_pointed_out():
    goal = target(LARGE, first_s=2.0, token_s=0.03)
    two = search(asked(pool(("mi300x", 16), ("h20", 16)), goal, only={"h20": "tokens"}))
    assert two.choices[0].says[-1] == "mi300x and h20 are of two vendors: see that their engines lay out a cache alike."
    one = search(asked(pool(("h100-sxm", 16), ("h20", 16)), goal, only={"h20": "tokens"}))
    assert not any("vendors" in words for words in one.choices[0].says)


def test_three_kinds_are_shared_too():
    on = pool(("h100-sxm", 8), ("h20", 8), ("h200", 8))
    three = search(asked(on))
    two = search(asked(pool(("h100-sxm", 8), ("h20", 8))))
    assert three.choices[0].requests_per_s > two.choices[0].requests_per_s
    assert len(three.choices[0].says) == 3


def test_a_menu_survives_a_trip_through_json():
    menu = search(asked(pool(("h100-sxm", 8), ("h20", 8))))
    assert decode(MixMenu, encode(menu)) == menu


def test_the_search_is_where_the_command_finds_it():
    assert serving_pool.search is search
