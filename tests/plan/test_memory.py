"""What a card holds: sums that one can do by hand, published measurements, and one plan against many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forebay.plan.cuts import cuts
from forebay.plan.habits import HABITS
from forebay.plan.memory import even, fullest, memory
from forebay.plan.model import Experts, Latent, Model, Workload
from forebay.plan.orders import BLOCKS
from forebay.plan.plan import OFFLOAD, RECOMPUTE, SCHEDULES, Plan
from forebay.units import GB, GIB

GPT_22B = Model(name="22B", layers=48, width=6144, heads=64, kv_heads=64, mlp_width=24576, vocabulary=51200, gated_mlp=False)
GPT_175B = replace(GPT_22B, name="175B", layers=96, width=12288, heads=96, kv_heads=96, mlp_width=49152)
GPT_1T = replace(GPT_22B, name="1T", layers=128, width=25600, heads=160, kv_heads=160, mlp_width=102400)
LLAMA_8B = Model(name="8B", layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14336, vocabulary=128256)
LLAMA_405B = Model(name="405B", layers=4, width=16384, heads=128, kv_heads=16, mlp_width=53248, vocabulary=128256)
DEEPSEEK_V2 = Model(
    name="V2, 4 layers", layers=4, width=5120, heads=128, kv_heads=128, mlp_width=12288, vocabulary=102400,
    latent=Latent(query_rank=1536, kv_rank=512, plain=128, rotary=64, value=128),
    experts=Experts(count=160, chosen=6, width=1536, shared_width=3072, dense_layers=1),
)  # fmt: skip
OLD = HABITS["megatron-2021"]
FUSED = replace(HABITS["megatron-lm"], logit_bytes=2)


def plan(stages=1, **said):
    return Plan(**{"replicas": 1, "shards": 1, "tensor": 1, "stages": ("h100-sxm",) * stages, **said})


def allocated(one):
    return one.total - one.reserve


@pytest.mark.parametrize(
    "model, micro_batch, stages, chunks, plain, lean",
    [(GPT_22B, 4, 1, 1, 59.25, 9.5625), (GPT_175B, 1, 8, 3, 66.84, 12.35), (GPT_1T, 1, 64, 1, 131.25, 26.56)],
)
def test_activations_are_those_of_korthikanti_table_5(model, micro_batch, stages, chunks, plain, lean):
    """Without recomputing and without sequence parallelism, and with both attention recomputed and sequence parallelism."""
    work = Workload(model=model, sequences=512, tokens=2048, number_format="fp16")
    cut = plan(stages, tensor=8, micro_batch=micro_batch, chunks=chunks, schedule="interleaved" if chunks > 1 else "1f1b", zero=0)
    for recompute, sequence, expected in (("none", False, plain), ("selective", True, lean)):
        found = memory(work, replace(cut, recompute=(recompute,), sequence_parallel=sequence), OLD)
        assert found[0].activations / GIB == pytest.approx(expected, rel=0.01)


def test_weights_gradients_and_optimizer_take_18_bytes_and_with_a_distributed_optimizer_less():
    work = Workload(model=LLAMA_8B, sequences=8, tokens=2048)
    weights = LLAMA_8B.parameters
    for zero, bytes_a_weight in ((0, 18), (1, 2 + 4 + 12 / 8), (2, 2 + 16 / 8), (3, 16 / 8)):
        one = memory(work, plan(shards=8, zero=zero))[0]
        assert one.weights + one.gradients + one.optimizer == pytest.approx(weights * bytes_a_weight, rel=1e-4)


def test_hybrid_sharding_cuts_by_shards_not_by_replicas():
    work = Workload(model=LLAMA_8B, sequences=8, tokens=2048)
    whole, half = memory(work, plan(shards=8, zero=3))[0], memory(work, plan(shards=4, replicas=2, zero=3))[0]
    assert half.weights == pytest.approx(2 * whole.weights, rel=1e-6)


def test_an_optimizer_on_the_host_takes_nothing_here():
    work = Workload(model=LLAMA_8B, sequences=8, tokens=2048)
    assert memory(work, plan(shards=8, offload="optimizer"))[0].optimizer == 0


def test_tied_embeddings_stand_on_the_first_and_on_the_last_stage():
    work = Workload(model=replace(LLAMA_8B, tied_embeddings=True), sequences=8, tokens=2048)
    first, middle, _, last = memory(work, plan(4))
    assert first.weights - middle.weights == last.weights - middle.weights == 2 * 128256 * 4096
    alone = memory(work, plan(1))[0].weights
    assert alone == 2 * LLAMA_8B.parameters - 2 * 128256 * 4096


def test_experts_are_cut_by_their_own_degrees():
    work = Workload(model=DEEPSEEK_V2, sequences=8, tokens=4096)
    few, many = memory(work, plan(shards=8, expert=4))[0], memory(work, plan(shards=8, expert=8))[0]
    routed = 3 * DEEPSEEK_V2.routed_parameters
    assert few.weights - many.weights == pytest.approx(2 * (routed / 4 - routed / 8))
    assert few.optimizer == pytest.approx(many.optimizer)  # half the experts, each cut half as often


# SimuMax v1.2, docs/b200/b200_release_v1.2_summary.md (Apache-2.0): Megatron-LM on eight B200, the most that was allocated, GiB.
SIMUMAX = [
    (LLAMA_405B, {"stages": 2, "shards": 4}, 4096, 87.08),
    (LLAMA_405B, {"tensor": 2, "shards": 4}, 4096, 81.59),
    (LLAMA_405B, {"tensor": 4, "shards": 2}, 4096, 52.89),
    (LLAMA_405B, {"tensor": 8, "shards": 1}, 4096, 38.57),
    (LLAMA_405B, {"context": 8, "context_kind": "ulysses"}, 32768, 139.22),
    (LLAMA_405B, {"tensor": 2, "context": 4, "context_kind": "ulysses"}, 131072, 118.13),
    (DEEPSEEK_V2, {"shards": 8, "expert": 8}, 4096, 45.63),
    (DEEPSEEK_V2, {"stages": 2, "shards": 4, "expert": 4}, 4096, 44.70),
]


@pytest.mark.parametrize("model, cut, tokens, gib", SIMUMAX)
def test_published_runs_of_dense_and_expert_models_are_met_within_two_percent(model, cut, tokens, gib):
    work = Workload(model=model, sequences=32, tokens=tokens)
    stages = memory(work, plan(**cut), FUSED)
    assert max(allocated(one) for one in stages) / GIB == pytest.approx(gib, rel=0.02)


def test_recomputing_all_keeps_a_layers_input_only():
    work = Workload(model=LLAMA_8B, sequences=8, tokens=8192)
    one = memory(work, plan(shards=8, recompute=("full",)))[0]
    assert one.activations == 8192 * 2 * 4096 * (32 + 2)  # and the last norm's two


def test_stages_may_recompute_differently():
    work = Workload(model=LLAMA_8B, sequences=64, tokens=8192)
    lean = memory(work, plan(4, recompute=("full", "none", "none", "none")))
    plain = memory(work, plan(4))
    assert lean[0].activations < plain[0].activations / 5
    assert lean[1:] == plain[1:]


def test_eight_bit_inputs_take_less_and_eight_bit_weights_more():
    plain = memory(Workload(model=LLAMA_8B, sequences=8, tokens=8192), plan(shards=8))[0]
    small = memory(Workload(model=LLAMA_8B, sequences=8, tokens=8192, number_format="fp8"), plan(shards=8))[0]
    assert small.activations < plain.activations and small.weights > plain.weights


def test_limits_before_an_activation_keep_its_input_twice():
    mixed = replace(DEEPSEEK_V2, experts=replace(DEEPSEEK_V2.experts, dense_layers=0))
    limited = replace(mixed, experts=replace(mixed.experts, clamped=True))
    plain, more = (memory(Workload(model=m, sequences=8, tokens=4096), plan(shards=8))[0] for m in (mixed, limited))
    inputs = 4 * 4096 * 6 * 2 * 1536 * 2  # of four layers: tokens, experts a token, two widths, 2 bytes
    assert inputs <= more.activations - plain.activations < 1.5 * inputs  # tensors are held in whole blocks


def test_without_flash_attention_memory_grows_with_the_square_of_the_sequence():
    def activations(tokens):
        return memory(Workload(model=LLAMA_8B, sequences=8, tokens=tokens), plan(), OLD)[0].activations

    assert activations(16384) / activations(8192) > 3
    assert memory(Workload(model=LLAMA_8B, sequences=8, tokens=16384), plan())[0].activations < activations(16384) / 5


def test_126_layers_and_two_ends_are_sixteen_a_stage():
    assert even(126, 8, True) == (15, *(16,) * 6, 15)
    assert even(61, 4, False) == (15, 16, 15, 15)


models = st.sampled_from(
    [LLAMA_8B, replace(LLAMA_8B, tied_embeddings=True, layers=13), DEEPSEEK_V2, replace(DEEPSEEK_V2, layers=23)]
)


@st.composite
def plans(draw):
    schedule = draw(st.sampled_from(SCHEDULES))
    stages = draw(st.sampled_from([1, 2, 3, 4]))
    return plan(
        stages,
        replicas=draw(st.sampled_from([1, 2])),
        shards=draw(st.sampled_from([1, 2, 8])),
        tensor=draw(st.sampled_from([1, 2, 8])),
        context=draw(st.sampled_from([1, 2])),
        expert=draw(st.sampled_from([1, 4])),
        chunks=2 if schedule in BLOCKS else 2 if schedule == "interleaved" else 1,
        schedule=schedule,
        micro_batch=draw(st.sampled_from([1, 2])),
        zero=draw(st.sampled_from([0, 1, 2, 3])),
        recompute=(draw(st.sampled_from(RECOMPUTE)),),
        offload=draw(st.sampled_from(OFFLOAD)),
        sequence_parallel=draw(st.booleans()),
        context_kind=draw(st.sampled_from(["ring", "ulysses"])),
        ends=draw(st.booleans()),
    )


@given(models, st.lists(plans(), min_size=1, max_size=6), st.sampled_from(["bf16", "fp8", "fp32", "nvfp4"]))
def test_many_plans_at_once_hold_what_each_alone_does(model, several, form):
    work = Workload(model=model, sequences=128, tokens=4096, number_format=form)
    assume(all(model.layers >= len(one.stages) + 2 for one in several) or not any(one.ends for one in several))
    alone = [max(stage.total for stage in memory(work, one)) for one in several]
    assert list(fullest(work, cuts(several))) == pytest.approx(alone, rel=1e-9)


@given(models, plans())
def test_more_cutting_never_takes_more(model, one):
    work = Workload(model=model, sequences=128, tokens=4096)
    assume(not one.ends)
    before = memory(work, one)[0]
    for name in ("tensor", "shards"):
        after = memory(work, replace(one, **{name: 2 * getattr(one, name)}))[0]
        assert after.weights + after.gradients + after.optimizer <= before.weights + before.gradients + before.optimizer + 3


def test_fifty_thousand_plans_are_reckoned_at_once():
    work = Workload(model=DEEPSEEK_V2, sequences=4096, tokens=4096)
    many = cuts([plan(2, shards=4, tensor=t, zero=z) for t in (1, 2, 4, 8) for z in (0, 1, 2, 3)])[np.arange(50_000) % 16]
    assert (fullest(work, many) > GB).all()
