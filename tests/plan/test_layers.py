"""What a layer lists, against what the model's flop say: on an ideal card that does a flop a second and moves bytes for nothing."""

from dataclasses import replace

import numpy as np
import pytest

from forebay.plan import layers as rooms
from forebay.plan.cuts import cuts
from forebay.plan.framework import framework
from forebay.plan.kernels.known import device
from forebay.plan.layers import Site, ends, layer
from forebay.plan.model import Workload
from forebay.plan.network import links
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
