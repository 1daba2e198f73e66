"""Serving plans: a step's time, what fits, how prompts and tokens share an engine, and the menu."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.codec import decode, encode
from forebay.errors import DoesNotFit
from forebay.plan.kernels import known
from forebay.plan.model import Experts, Latent, Model, Window
from forebay.plan.pool import Cards
from forebay.plan.serving import ENGINES, ServingMenu, ServingPlan, ServingTarget, formats
from forebay.plan.serving import apart as engines_apart
from forebay.plan.serving.load import aggregated, decoding, prompt_s
from forebay.plan.serving.memory import SHARE, cache, memory, room, weights
from forebay.plan.serving.search import Question, candidates, search
from forebay.plan.serving.time import Engine, calls, decode_parts, prefill_parts, serving_cuts, total
from forebay.plan.serving.wait import HABITS

LLAMA = Model(name="llama-8b", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
LATENT = Latent(query_rank=1536, kv_rank=512, plain=128, rotary=64, value=128)
MIXTURE = Experts(count=256, chosen=8, width=2048, shared_width=2048, dense_layers=3)
DEEPSEEK = Model(
    name="deepseek", layers=61, width=7168, heads=128, kv_heads=128, mlp_width=18432, vocabulary=129280,
    latent=LATENT, experts=MIXTURE,
)  # fmt: skip
NODE = Cards(chip="h100-sxm", count=16, island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9)
H100, H200 = known.device("h100-sxm"), known.device("h200")
easy = settings(deadline=None, max_examples=30)


def engine(model=LLAMA, form="bf16", device=H100, **more):
    return Engine(device=device, cards=NODE, model=model, formats=formats(form, model), **more)


def plans(*given):
    return serving_cuts([ServingPlan(**one) for one in given])


def asked(model=LLAMA, form="bf16", device=H100, cards=NODE, **more):
    target = ServingTarget(model=model, formats=formats(form, model), input_tokens=2048, output_tokens=256, **more)
    return Question(target=target, device=device, cards=cards)


def test_a_step_of_one_sequence_takes_about_what_reading_the_weights_takes():
    one = plans({"tensor": 1, "batch": 1})
    seconds = float(total(decode_parts(engine(), one, np.ones(1), 1024))[0])
    least = 2.0 * (LLAMA.parameters - LLAMA.embedding_parameters) / H100.memory_bytes_per_s
    assert least < seconds < 1.75 * least  # a pass itself takes a millisecond


def test_published_runs_are_met():
    # Llama 3.1 8B, bf16, one H100, TensorRT-LLM 1.0.0rc3: public measurements of AIConfigurator (docs/plan-serving.md).
    runs = ((4096, 512, 32, 18.15e-3), (2048, 256, 64, 23.57e-3), (1024, 512, 16, 8.35e-3), (4096, 128, 16, 19.60e-3))
    cuts = plans(*({"tensor": 1, "batch": batch} for _, _, batch, _ in runs))
    inputs, outputs = (np.array([float(run[i]) for run in runs]) for i in (0, 1))
    said = aggregated(engine(library="trtllm"), cuts, inputs, outputs, HABITS["trtllm"]).token_s
    assert said == pytest.approx([run[3] for run in runs], rel=0.12)


def test_a_prompt_takes_about_what_its_flop_take():
    one = plans({"tensor": 1, "batch": 1})
    seconds = float(total(prefill_parts(engine(), one, np.ones(1), np.full(1, 4096.0)))[0])
    least = 2.0 * LLAMA.active_parameters * 4096 / H100.peak("bf16")
    assert least < seconds < 1.8 * least


@easy
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 128), st.integers(256, 30000))
def test_a_longer_cache_makes_a_longer_step(tensor, batch, cached):
    cuts = plans(*({"tensor": tensor, "batch": batch},) * 2)
    now, later = total(decode_parts(engine(), cuts, np.full(2, float(batch)), np.array([cached, 3.0 * cached])))
    assert later > now


@easy
@given(st.sampled_from([LLAMA, DEEPSEEK]), st.sampled_from([1, 2, 4, 8]), st.integers(0, 7))
def test_a_bigger_batch_never_carries_less(model, tensor, power):
    form = "bf16" if model is LLAMA else "fp8_block"
    cuts = plans(*({"tensor": tensor, "expert": 1, "expert_tensor": tensor, "batch": 2 ** (power + i)} for i in (0, 1)))
    step = total(decode_parts(engine(model, form), cuts, cuts.batch.astype(float), 2048.0))
    assert cuts.batch[1] / step[1] >= 0.98 * cuts.batch[0] / step[0]


def test_a_faster_link_never_makes_a_step_longer():
    cuts = plans({"tensor": 8, "batch": 64}, {"tensor": 4, "batch": 8})
    faster = replace(engine(), cards=replace(NODE, up_bytes_per_s=900e9))
    slow, fast = (total(decode_parts(one, cuts, cuts.batch.astype(float), 4096.0)) for one in (engine(), faster))
    assert (fast <= slow * 1.0001).all()


def test_parts_add_up_and_arrays_equal_plans_one_by_one():
    given = (
        {"tensor": 2, "batch": 8},
        {"tensor": 1, "data": 4, "expert": 4, "batch": 64},
        {"tensor": 8, "expert": 2, "expert_tensor": 4, "batch": 1},
    )
    cuts, lengths = plans(*given), np.full(3, 3000.0)
    served = aggregated(engine(DEEPSEEK, "fp8_block", H200), cuts, lengths, lengths / 10, HABITS[""])
    assert sum(served.parts.values()) == pytest.approx(served.token_s)
    for i, one in enumerate(given):
        alone = aggregated(engine(DEEPSEEK, "fp8_block", H200), plans(one), lengths[:1], lengths[:1] / 10, HABITS[""])
        assert (alone.token_s[0], alone.first_s[0]) == pytest.approx((served.token_s[i], served.first_s[i]))


def test_tensor_parallelism_shortens_a_step_but_not_eightfold():
    cuts = plans({"tensor": 1, "batch": 8}, {"tensor": 8, "batch": 8})
    one, eight = total(decode_parts(engine(), cuts, np.full(2, 8.0), 2048.0))
    assert one / 8 < eight < one / 2


def test_prompts_of_others_lengthen_a_token_and_waves_move_that_to_the_first():
    cuts, inputs, outputs = plans({"tensor": 1, "batch": 32}), np.full(1, 2048.0), np.full(1, 256.0)
    apart = decoding(engine(), cuts, inputs, outputs)
    mixed = aggregated(engine(), cuts, inputs, outputs, HABITS[""])
    waves = aggregated(engine(), cuts, inputs, outputs, replace(HABITS[""], aside=True, alike=True))
    assert apart.token_s < waves.token_s < mixed.token_s
    assert waves.first_s > mixed.first_s


def test_weights_that_are_read_for_a_prompt_are_read_for_tokens_too():
    cuts, inputs, outputs = plans({"tensor": 1, "batch": 32}), np.full(1, 2048.0), np.full(1, 256.0)
    together, aside = (
        aggregated(engine(), cuts, inputs, outputs, replace(HABITS[""], aside=aside)).token_s for aside in (False, True)
    )
    assert 0.75 * aside < together < aside


def test_a_short_prompt_of_a_layer_by_layer_engine_takes_what_its_host_needs():
    cuts = plans({"tensor": 8, "batch": 4, "expert": 1, "expert_tensor": 8})
    seconds = {
        library: aggregated(
            engine(DEEPSEEK, "fp8_block", H200, library=library), cuts, np.full(1, 128.0), np.full(1, 512.0), HABITS[library]
        ).first_s[0]
        for library in ("vllm", "trtllm")
    }
    host = calls(engine(DEEPSEEK, "fp8_block", H200)) * HABITS["trtllm"].call_s
    assert seconds["vllm"] < host < seconds["trtllm"]
    assert calls(engine()) < calls(engine(DEEPSEEK, "fp8_block")) / 10  # 32 plain layers against 61 latent ones with experts


def test_a_lone_prompt_spares_the_experts_of_ranks_that_read_none():
    cuts = plans({"tensor": 1, "data": 8, "expert": 8, "batch": 8}, {"tensor": 8, "expert": 8, "batch": 8})
    prompt = prompt_s(engine(DEEPSEEK, "fp8_block", H200), cuts, np.full(2, 4096.0), 0.0)
    assert prompt.lone[0] < 0.9 * prompt.alone[0]
    assert prompt.lone[1] == pytest.approx(prompt.alone[1])


def test_requests_that_find_no_place_wait_for_one():
    cuts, inputs, outputs = plans({"tensor": 1, "batch": 64}), np.full(1, 8192.0), np.full(1, 512.0)
    wide, narrow = (aggregated(engine(), cuts, inputs, outputs, HABITS[""], np.full(1, fits)) for fits in (64.0, 16.0))
    assert narrow.first_s > wide.first_s + 2 * narrow.token_s * 512
    assert narrow.token_s < wide.token_s
    assert narrow.requests_per_s < wide.requests_per_s


def test_weights_of_a_whole_model_are_its_parameters():
    one = plans({"tensor": 1, "batch": 1})
    assert weights(engine(), one)[0] == pytest.approx(2.0 * LLAMA.parameters, rel=0.001)
    eight = plans({"tensor": 8, "batch": 1, "expert": 8})
    assert weights(engine(DEEPSEEK, "fp8"), eight)[0] == pytest.approx(DEEPSEEK.parameters / 8, rel=0.01)


def test_the_cache_of_a_sequence_is_what_the_papers_say():
    one = plans({"tensor": 1, "batch": 1})
    assert cache(engine(), one, 1)[0] == 32 * 2 * 8 * 128 * 2  # 128 KiB a token: Llama 3 8B, grouped heads
    assert cache(engine(DEEPSEEK), one, 1)[0] == 61 * (512 + 64) * 2  # 70 kB a token (arXiv 2505.09343, table 1)
    many = plans({"tensor": 32, "batch": 1})
    assert cache(engine(), many, 1)[0] == 32 * 2 * 128 * 2  # heads are copied, not split further
    windowed = replace(LLAMA, window=Window(tokens=128, full_every=2))
    assert cache(engine(windowed), one, 8192)[0] == 16 * 4096 * (8192 + 128)


@easy
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 512), st.integers(16, 100_000))
def test_memory_is_never_optimistic(tensor, batch, tokens):
    cuts = plans({"tensor": tensor, "batch": batch})
    need = float(memory(engine(), cuts, tokens)[0])
    least = 2.0 * LLAMA.parameters / tensor + batch * tokens * 32 * 2 * 2 * 8 * 128 / tensor
    assert need > least
    assert (need <= H100.memory_bytes * SHARE) == (float(room(engine(), cuts, tokens)[0]) >= batch)


def test_four_bit_checkpoints_of_mixtures_keep_their_attention():
    assert (formats("nvfp4", DEEPSEEK).dense, formats("nvfp4", DEEPSEEK).experts) == ("bf16", "nvfp4")
    assert formats("nvfp4", LLAMA).dense == "nvfp4"


@pytest.mark.parametrize("chip, form", [("h20", "fp8_block"), ("mi300x", "fp8"), ("h100-sxm", "int4"), ("a100-sxm-80gb", "int4")])
def test_formats_without_a_table_of_the_chip_are_read_from_their_kin(chip, form):
    menu = search(asked(form=form, device=known.device(chip), token_s=0.1))
    assert menu.met and menu.choices[0].tier == "data sheet"


def test_every_engine_that_can_be_named_has_habits():
    assert set(HABITS) == {"", *ENGINES}


def test_candidates_divide_the_model_and_fit_an_island():
    cuts = candidates(asked(DEEPSEEK, "fp8", H200))
    assert (DEEPSEEK.heads % cuts.tensor == 0).all()
    assert (cuts.expert * cuts.expert_tensor == cuts.tensor * cuts.data).all()
    assert (cuts.tensor * cuts.data <= NODE.island).all() and (cuts.cards <= NODE.count).all()
    assert len({tuple(encode(cuts.plan(i)).values()) for i in range(len(cuts))}) == len(cuts)


def test_the_menu_keeps_the_target_and_is_the_best_that_does():
    question = asked(first_s=1.0, token_s=0.02)
    menu = search(question)
    assert menu.met and 1 <= len(menu.choices) <= 5
    assert all(c.first_s <= 1.0 and c.token_s <= 0.02 and c.cards <= NODE.count for c in menu.choices)
    pace = [c.tokens_per_s_card for c in menu.choices]
    assert pace == pytest.approx(sorted(pace, reverse=True), rel=0.002)
    # By hand: every candidate, one by one.
    cuts = candidates(question)
    cuts = cuts[memory(engine(), cuts, 2048 + 256) <= H100.memory_bytes * SHARE]
    served = aggregated(engine(), cuts, np.full(len(cuts), 2048.0), np.full(len(cuts), 256.0), HABITS[""])
    rate = served.requests_per_s * 256 * (NODE.count // cuts.cards) / (cuts.cards * (NODE.count // cuts.cards))
    assert pace[0] == pytest.approx(float(rate[(served.first_s <= 1.0) & (served.token_s <= 0.02)].max()), rel=0.002)


def test_a_tighter_target_costs_throughput():
    loose, tight = (search(asked(token_s=s)).choices[0] for s in (0.05, 0.008))
    assert tight.tokens_per_s_card < loose.tokens_per_s_card
    assert tight.token_s <= 0.008


def test_a_target_that_none_keeps_gets_the_nearest_and_why():
    menu = search(asked(token_s=0.0005))
    assert not menu.met
    assert "a token each" in menu.why and "asked 0.5 ms" in menu.why
    assert menu.choices[0].token_s == min(c.token_s for c in menu.choices)


def test_a_model_that_fits_nowhere_says_what_it_needs():
    with pytest.raises(DoesNotFit) as error:
        search(asked(DEEPSEEK, "bf16", H100, replace(NODE, count=8)))
    assert "weights" in error.value.found and "cards" in error.value.hint


def test_apart_the_two_kinds_are_matched_in_rate_and_never_more_than_the_pool():
    menu = search(asked(first_s=1.0, token_s=0.03), apart=True)
    assert menu.met
    for choice in menu.choices:
        assert choice.prefill is not None
        assert choice.cards == choice.prefill.cards + choice.decode.cards <= NODE.count
        cuts = serving_cuts([choice.prefill])
        many = prompt_s(engine(), cuts, np.full(1, 2048.0), 0.0).many
        assert choice.requests_per_s <= choice.prefill.workers * choice.prefill.data / many[0]


def test_rate_matching_finds_what_trying_all_finds():
    cards, requests = np.array([1, 2, 4]), np.array([1.0, 3.0, 5.0])
    _, _, rate = engines_apart.matched(cards, requests, 2.5, 2, 16)
    for i in range(3):
        every = [
            min(n * requests[i], engines_apart.BUSY * p * 2.5)
            for n in range(1, 17) for p in range(1, 9) if n * cards[i] + 2 * p <= 16
        ]  # fmt: skip
        assert rate[i] == pytest.approx(max(every))


def test_vllm_hands_over_between_its_steps_and_that_is_in_the_time_to_first_token():
    question = replace(asked(first_s=1.0, token_s=0.03), library="vllm")
    cuts = serving_cuts([ServingPlan(tensor=1, batch=16)])
    pairs = [
        engines_apart.pairs(engine(library="vllm"), cuts, question.target, NODE, habits)
        for habits in (HABITS["vllm"], replace(HABITS["vllm"], hand_s=0.0))
    ]
    assert HABITS["vllm"].hand_s == pytest.approx(0.176)  # vllm-project/vllm RFC 50913: 263 ms, less 29 of bytes and 58 of a step
    assert pairs[0].served.first_s == pytest.approx(pairs[1].served.first_s + 0.176)


def test_a_cache_is_sent_by_the_cards_that_hold_it():
    question = asked(DEEPSEEK, "fp8_block", H200)
    ranks = serving_cuts([ServingPlan(tensor=1, data=8, expert=8, batch=64)])
    one = engines_apart.pairs(engine(DEEPSEEK, "fp8_block", H200), ranks, question.target, NODE, HABITS[""])
    assert float(one.moved_s[0]) == pytest.approx(2048 * 61 * 576 * 2 / 47e9, rel=0.01)  # one rank's card, not all eight


def test_apart_a_token_takes_less_than_where_prompts_are_read_too():
    cuts, inputs, outputs = plans({"tensor": 4, "batch": 64}), np.full(1, 4096.0), np.full(1, 128.0)
    apart = decoding(engine(), cuts, inputs, outputs).token_s
    assert apart < 0.6 * aggregated(engine(), cuts, inputs, outputs, HABITS[""]).token_s


def test_a_menu_survives_a_trip_through_json():
    menu = search(asked(DEEPSEEK, "fp8_block", H200, token_s=0.05), apart=True)
    assert decode(ServingMenu, encode(menu)) == menu
