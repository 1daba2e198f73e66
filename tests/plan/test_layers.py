"""What a layer lists, against the model's flop: on an ideal card that does a flop a second and moves bytes for nothing."""

from dataclasses import replace

import numpy as np
import pytest

from forebay.plan import layers as rooms
from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.kernels.known import device
from forebay.plan.layers import ends, layer
from forebay.plan.model import Workload
from forebay.plan.network import links
from forebay.plan.passes import Site
from forebay.plan.plan import Plan
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset

H100 = Site(device=device("h100-sxm"), links=links(pool("h100-sxm:1024").cards[0]), framework=framework("megatron"))
MODELS = ("gpt-3-175b", "llama-3-70b", "deepseek-v3", "mixtral-8x7b", "qwen3-30b-a3b")


@pytest.fixture
def ideal(monkeypatch):
    """Products take a second a flop, whatever their shape; memory is endless."""
    monkeypatch.setattr(rooms, "matmul", lambda dev, form, m, n, k: 2.0 * np.asarray(m, dtype=float) * n * k)
    return replace(H100, device=replace(H100.device, memory_bytes_per_s=1e40))


def plan(**more):
    return Plan(**{"replicas": 1, "shards": 1, "tensor": 1, "stages": ("h100-sxm",), **more})


def both(one):
    return float(np.squeeze((one.forward + one.backward).products))


def listed(work, site, **more):
    """Flop of the products of all layers and the vocabulary, on one card."""
    cut, m = cuts([plan(**more)]), work.model
    plain = (m.layers - m.expert_layers) * (both(layer(work, site, cut, experts=False)) if m.mlp_width else 0)
    mixed = m.expert_layers * (both(layer(work, site, cut, experts=True)) if m.experts else 0)
    return plain + mixed + both(ends(work, site, cut)[1])


@pytest.mark.parametrize("name", MODELS)
def test_the_listed_products_are_six_flop_a_weight_and_token(ideal, name):
    """A thousandth is for experts' rows, which come in whole tiles."""
    work = Workload(model=preset(name), sequences=1, tokens=65536)
    assert listed(work, ideal) == pytest.approx(6.0 * work.model.active_parameters * 65536, rel=1e-3)


@pytest.mark.parametrize("name", ["gpt-3-175b", "llama-3-70b"])
@pytest.mark.parametrize("tensor", [2, 4, 8])
def test_the_tensor_degree_divides_them(ideal, name, tensor):
    work = Workload(model=preset(name), sequences=1, tokens=4096)
    assert listed(work, ideal, tensor=tensor) == pytest.approx(listed(work, ideal) / tensor)


@pytest.mark.parametrize("expert", [1, 8, 64])
def test_the_expert_degree_leaves_a_card_as_much_to_do(ideal, expert):
    """Its experts are fewer, its tokens come from more cards."""
    work = Workload(model=preset("deepseek-v3"), sequences=64, tokens=65536)
    alone = listed(work, ideal)
    assert listed(work, ideal, expert=expert, shards=64) == pytest.approx(alone, rel=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_recomputing_all_adds_exactly_a_forward_pass(name):
    work = Workload(model=preset(name), sequences=1, tokens=4096)
    experts = work.model.experts is not None
    none, full = (layer(work, H100, cuts([plan(recompute=(way,), tensor=2)]), experts) for way in ("none", "full"))
    assert np.allclose(full.backward.total, none.backward.total + none.forward.total)
    assert np.allclose(full.forward.total, none.forward.total)


def test_recomputing_selectively_adds_exactly_attention():
    work = Workload(model=preset("llama-3-70b"), sequences=1, tokens=4096)
    none, some = (layer(work, H100, cuts([plan(recompute=(way,))]), False) for way in ("none", "selective"))
    assert np.allclose(some.backward.total, none.backward.total + none.forward.attention + 0.0)


def test_the_passes_add_up_and_nothing_is_negative():
    work = Workload(model=preset("deepseek-v3"), sequences=8, tokens=8192, number_format="fp8")
    one = layer(work, H100, cuts([plan(tensor=2, context=2, expert=8, shards=8)]), True)
    for part in (one.forward, one.inputs, one.weights):
        values = [float(np.squeeze(getattr(part, name))) for name in part.__dataclass_fields__]
        assert min(values) >= 0
        assert float(np.squeeze(part.total)) == pytest.approx(sum(values))


def test_a_slower_chip_is_never_faster_and_transfers_are_not_stretched():
    work = Workload(model=preset("llama-3-70b"), sequences=1, tokens=8192)
    cut = cuts([plan(tensor=8)])
    alone, slow = (layer(work, replace(H100, slower=slower), cut, False) for slower in (1.0, 1.3))
    assert slow.forward.total > alone.forward.total
    assert slow.forward.products == pytest.approx(1.3 * alone.forward.products)
    assert slow.forward.tensor == alone.forward.tensor


def test_a_window_shortens_attention():
    whole = preset("mistral-7b")
    long = Workload(model=replace(whole, window=None), sequences=1, tokens=32768)
    cut = Workload(model=preset("gemma-3-27b"), sequences=1, tokens=32768)
    unbounded = replace(cut, model=replace(cut.model, window=None))
    one = cuts([plan()])
    assert layer(cut, H100, one, False).forward.attention < layer(unbounded, H100, one, False).forward.attention
    assert layer(long, H100, one, False).forward.attention > 0


def whole(work, site, **more):
    one = layer(work, site, cuts([plan(**more)]), experts=False)
    return one.forward + one.inputs + one.weights


@pytest.mark.parametrize("host_s", [0.0, 1e-5, 1e-3, 1e-1])
def test_a_pass_takes_between_the_longer_of_host_and_card_and_their_sum(host_s):
    work = Workload(model=preset("llama-3-8b"), sequences=1, tokens=4096)
    alone = layer(work, replace(H100, framework=replace(H100.framework, host_s=0.0)), cuts([plan()]), experts=False).forward
    fed = layer(work, replace(H100, framework=replace(H100.framework, host_s=host_s)), cuts([plan()]), experts=False).forward
    busy, took = float(np.squeeze(alone.total)), float(np.squeeze(fed.total))
    assert max(busy, host_s) * (1 - 1e-9) <= took <= busy + host_s
    assert float(np.squeeze(fed.products)) == float(np.squeeze(alone.products))


def test_hosts_of_a_tensor_group_are_waited_for():
    work = Workload(model=preset("llama-3-8b"), sequences=1, tokens=1)
    slow = replace(H100, framework=replace(H100.framework, host_s=1.0))
    took = [float(np.squeeze(whole(work, slow, tensor=t).total)) for t in (1, 2, 4, 8)]
    assert took == pytest.approx([3.0, 3.3, 3.6, 3.9], rel=1e-3)


def test_a_meeting_of_the_tensor_group_costs_the_same_whatever_is_sent():
    eager = replace(H100, framework=replace(H100.framework, meeting_s=1e-3, host_s=0.0))
    bare = replace(H100, framework=replace(H100.framework, host_s=0.0))
    for tokens in (128, 8192):
        work = Workload(model=preset("llama-3-8b"), sequences=1, tokens=tokens)
        more = whole(work, eager, tensor=4).total - whole(work, bare, tensor=4).total
        assert float(np.squeeze(more)) == pytest.approx(4e-3)  # two collectives forward, two backward
        assert whole(work, eager).total == whole(work, bare).total


@pytest.mark.parametrize("words, tensor, slow", [(50257, 1, True), (50257, 2, False), (50257, 8, True), (50304, 1, False)])
def test_a_vocabulary_that_isnt_whole_vectors_is_multiplied_slowly_unless_it_is_padded(words, tensor, slow):
    work = Workload(model=replace(preset("gpt-3-175b"), vocabulary=words), sequences=1, tokens=2048)
    padded, bare = (
        both(ends(work, replace(H100, framework=replace(H100.framework, pads=pads)), cuts([plan(tensor=tensor)]))[1])
        for pads in (True, False)
    )
    assert bare == pytest.approx(padded * (rooms.UNALIGNED if slow else 1.0))


def experts_of(site, expert):
    """Seconds of the products of a layer of DeepSeek-V3's experts: each card has 4,096 tokens."""
    work = Workload(model=preset("deepseek-v3"), sequences=64, tokens=4096)
    return both(layer(work, site, cuts([plan(shards=64, expert=expert)]), experts=True))


def test_many_experts_of_few_rows_take_longer_than_few_of_many_unless_one_kernel_has_them_all():
    loop, grouped = H100, replace(H100, framework=replace(H100.framework, grouped=True))
    few, many = experts_of(loop, 64), experts_of(loop, 1)  # 4 experts of 8,192 rows each, or 256 of 128
    assert many > 1.2 * few
    assert experts_of(grouped, 1) < many
    assert experts_of(grouped, 64) <= few


def test_sums_of_gradients_cost_bytes_for_each_weight_whatever_the_tokens():
    fed = replace(H100, framework=replace(H100.framework, host_s=0.0, summed_bytes=0.0))
    sums = replace(fed, framework=replace(fed.framework, summed_bytes=8.0))
    m = preset("llama-3-8b")
    weights = m.attention_parameters + m.mlp_parameters
    for tokens in (1024, 8192):
        work, cut = Workload(model=m, sequences=1, tokens=tokens), cuts([plan()])
        more = layer(work, sums, cut, False).weights.traffic - layer(work, fed, cut, False).weights.traffic
        assert float(np.squeeze(more)) == pytest.approx(8.0 * weights / (0.8 * H100.device.memory_bytes_per_s), rel=1e-6)


def test_biases_and_limits_of_experts_cost_traffic_unless_one_kernel_has_the_experts():
    """68 bytes for each element that comes out, 18 for each that goes into the activation: 2,880 and twice as many, 4 experts."""
    m = preset("gpt-oss-120b")
    plain = replace(m, experts=replace(m.experts, biased=False, clamped=False))
    fed = replace(H100, framework=replace(H100.framework, expert_host_s=0.0))
    fused = replace(fed, framework=replace(fed.framework, grouped=True))
    cut = cuts([plan(shards=64, expert=64)])

    def moved(model, site):
        one = layer(Workload(model=model, sequences=64, tokens=4096), site, cut, experts=True)
        return float(np.squeeze(one.forward.traffic + one.inputs.traffic)) * 0.8 * H100.device.memory_bytes_per_s

    assert moved(m, fed) - moved(plain, fed) == pytest.approx(4096 * 4 * (68.0 * 2880 + 18.0 * 2 * 2880), rel=1e-6)
    assert moved(m, fused) == moved(plain, fused)


def test_hiding_the_exchange_costs_the_host_and_only_pays_where_the_card_is_behind_it():
    """Qwen3 235B with one sequence a micro-batch waits for its host on eight H100; where the host takes nothing, hiding pays."""
    work = Workload(model=preset("qwen3-235b-a22b"), sequences=64, tokens=4096, number_format="bf16")
    stages = {"stages": ("h100-sxm",) * 8, "shards": 8, "expert": 8}
    plain, hidden = cuts([plan(**stages)]), cuts([plan(**stages, chunks=2, schedule="interleaved")])
    free = replace(H100, framework=replace(H100.framework, expert_host_s=0.0))

    def seconds(site, cut):
        one = layer(work, site, cut, experts=True)
        return float(np.squeeze((one.forward + one.backward).total))

    assert seconds(H100, hidden) > seconds(H100, plain)
    assert seconds(free, hidden) < seconds(free, plain)
