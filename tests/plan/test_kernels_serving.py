"""Tables of decode attention, experts, collectives and dispatch: what they say agrees with physics, and reaches other chips."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.kernels import alike, collectives, decode, dispatch, experts, known
from forebay.plan.kernels.experts import Layer
from forebay.plan.pool import Cards

H100, A100 = known.device("h100-sxm"), known.device("a100-sxm-80gb")
NODE = Cards(chip="h100-sxm", count=64, island=8, up_bytes_per_s=450e9, out_bytes_per_s=50e9)
DEEPSEEK = Layer(width=7168, expert_width=2048, count=256, chosen=8)
easy = settings(deadline=None, max_examples=40)


def test_decode_attention_reads_the_cache_at_most_as_fast_as_memory_can():
    batch, cached = 64, 16384
    seconds = float(decode.decode(H100, "bf16", batch, cached, 32, 8, 128))
    least = batch * cached * decode.cache_bytes("bf16", 8, 128) / H100.memory_bytes_per_s
    assert least < seconds < 2.0 * least


def test_a_measured_point_is_given_back():
    assert float(decode.decode(A100, "bf16", 1, 4096, 4, 1, 128)) == pytest.approx(2.4283e-5, rel=1e-3)


def test_a_narrow_cache_is_read_faster():
    narrow, wide = (float(decode.decode(H100, kv, 64, 16384, 32, 8, 128)) for kv in ("fp8", "bf16"))
    assert narrow < 0.75 * wide


def test_latent_attention_takes_less_than_the_heads_it_stands_for():
    latent = float(decode.decode(H100, "bf16", 32, 16384, 128, 1, 576, "mla"))
    heads = float(decode.decode(H100, "bf16", 32, 16384, 128, 128, 128))
    assert latent < heads / 5


@easy
@given(st.integers(1, 256), st.integers(256, 65536), st.sampled_from([1, 2, 8]))
def test_decode_attention_never_gets_shorter_with_what_is_cached(batch, cached, kv_heads):
    now, longer = decode.decode(H100, "bf16", batch, np.array([cached, 2 * cached]), 8 * kv_heads, kv_heads, 128)
    assert longer >= 0.9 * now


def test_many_at_once_are_each_alone():
    batch, cached = np.array([1.0, 8, 200]), np.array([300.0, 5000, 70000])
    together = decode.decode(H100, "fp8", batch, cached, 16, 2, 128)
    assert together == pytest.approx(
        [float(decode.decode(H100, "fp8", b, c, 16, 2, 128)) for b, c in zip(batch, cached, strict=True)]
    )
    together = experts.experts(H100, "fp8", DEEPSEEK, batch, [1, 2, 8], [8, 4, 1])
    alone = [float(experts.experts(H100, "fp8", DEEPSEEK, b, c, p)) for b, c, p in zip(batch, (1, 2, 8), (8, 4, 1), strict=True)]
    assert together == pytest.approx(alone)


def test_experts_of_few_tokens_take_what_reading_their_weights_takes():
    seconds = float(experts.experts(H100, "fp8", DEEPSEEK, 16, 8, 1))
    met = 256 * (1 - (1 - 8 / 256) ** 16)
    least = met * 3 * 7168 * 2048 / 8 / H100.memory_bytes_per_s
    assert least < seconds < 3 * least


def test_experts_of_many_tokens_take_what_their_flop_take():
    seconds = float(experts.experts(H100, "bf16", DEEPSEEK, 16384, 1, 8))
    least = 2 * 16384 * 8 / 8 * 3 * 7168 * 2048 / H100.peak("bf16")
    assert least < seconds < 2.5 * least


def test_the_busiest_rank_makes_uneven_routing_slower_where_flop_count():
    even, uneven = (float(experts.experts(H100, "fp8", DEEPSEEK, 16384, 1, 32, spread)) for spread in ("balanced", "power_law"))
    assert uneven > 1.2 * even


@easy
@given(st.sampled_from(["bf16", "fp8"]), st.integers(0, 14), st.sampled_from([(1, 1), (1, 8), (8, 1), (2, 4)]))
def test_twice_the_tokens_take_at_most_twice_as_long_and_not_much_less(form, power, cut):
    one, two = experts.experts(H100, form, DEEPSEEK, np.array([2.0**power, 2.0 ** (power + 1)]), *cut)
    assert 0.8 * one < two < 2.2 * one


def test_an_all_reduce_of_much_runs_at_the_links_speed():
    nbytes = 2.0**29
    seconds = float(collectives.collective(H100, NODE, "all_reduce", 8, nbytes))
    busbw = nbytes * 2 * 7 / 8 / seconds
    assert 0.6 * 450e9 < busbw < 1.15 * 450e9  # NVLink SHARP reduces in the switch, so a bus may look faster than its link


def test_an_all_reduce_of_little_takes_microseconds_and_of_one_card_nothing():
    assert 2e-6 < float(collectives.collective(H100, NODE, "all_reduce", 8, 8192)) < 20e-6
    assert float(collectives.collective(H100, NODE, "all_reduce", 1, 8192)) == 0.0


def test_an_engine_that_is_named_is_never_faster_than_the_fastest():
    sizes = 2.0 ** np.arange(10, 26)
    best = collectives.collective(H100, NODE, "all_reduce", 8, sizes)
    for library in ("vllm", "sglang", "trtllm"):
        assert (collectives.collective(H100, NODE, "all_reduce", 8, sizes, library) >= best * 0.999).all()


@easy
@given(st.integers(10, 28), st.sampled_from([2, 4, 8, 16, 32]), st.floats(1.1, 8))
def test_more_bandwidth_is_never_slower(power, among, times):
    wider = replace(NODE, up_bytes_per_s=NODE.up_bytes_per_s * times, out_bytes_per_s=NODE.out_bytes_per_s * times)
    for op in ("all_reduce", "all_gather", "all_to_all"):
        slow, fast = (float(collectives.collective(H100, cards, op, among, 2.0**power)) for cards in (NODE, wider))
        assert fast <= slow * 1.0001
    slow, fast = (float(dispatch.exchange(A100, cards, among, 2.0 ** (power / 2), 7168, 8)) for cards in (NODE, wider))
    assert fast <= slow * 1.0001


@pytest.mark.parametrize("link", [25e9, 60e9, 100e9, 196e9, 392e9, 900e9])
def test_cards_that_nobody_timed_reduce_at_the_speed_of_their_link_whatever_their_roofs(link):
    """An L40S has such roofs, and no link; it may speak for cards on a bus alone."""
    one = known.Device(name="my-npu", flop_per_s={"bf16": 300e12}, memory_bytes_per_s=0.9e12, memory_bytes=64 * 2**30)
    nbytes = 2.0**28
    seconds = float(collectives.collective(one, replace(NODE, up_bytes_per_s=link), "all_reduce", 8, nbytes))
    share = nbytes * 2 * 7 / 8 / seconds / link
    assert (0.2 if link <= 64e9 else 0.6) < share < 1.15


def test_two_cards_of_a_mesh_reduce_over_one_link():
    mesh = replace(NODE, chip="ascend-910b", up_bytes_per_s=196e9, mesh=8)
    one = known.device("ascend-910b")
    pair, whole = (float(collectives.collective(one, mesh, "all_reduce", n, 2.0**28)) for n in (2, 8))
    assert 2.0**28 / pair < 28e9  # bus bandwidth of two: what they hold, once
    assert 2.0**28 * 2 * 7 / 8 / whole > 0.6 * 196e9


def test_a_sister_with_a_slower_link_takes_longer_for_much():
    """An A800 is an A100 with 400 GB/s of NVLink for 600."""
    whole, cut = (replace(NODE, chip=name, up_bytes_per_s=up) for name, up in (("a100-sxm-80gb", 300e9), ("a800", 200e9)))
    fast = float(collectives.collective(A100, whole, "all_reduce", 8, 2.0**28))
    assert float(collectives.collective(known.device("a800"), cut, "all_reduce", 8, 2.0**28)) == pytest.approx(
        1.5 * fast, rel=0.02
    )


def test_beyond_an_island_a_collective_pays_for_the_scale_out():
    inside, beyond = (float(collectives.collective(H100, NODE, "all_reduce", n, 2.0**26)) for n in (8, 16))
    assert beyond > inside + 2**26 / 8 / NODE.out_bytes_per_s


def test_tokens_are_sent_to_experts_no_slower_than_they_could_be_gathered():
    tokens = np.array([1.0, 32, 1024])
    sent = dispatch.exchange(H100, NODE, 8, tokens, 7168, 8)
    gathered = collectives.collective(H100, NODE, "all_gather", 8, tokens * 8 * 7168)
    gathered += collectives.collective(H100, NODE, "reduce_scatter", 8, tokens * 8 * 7168 * 2)
    assert (sent <= gathered * 1.001).all()
    assert float(dispatch.exchange(H100, NODE, 1, 32, 7168, 8)) == 0.0


def test_a_chip_without_a_table_is_told_by_the_most_alike_one():
    blind = replace(H100, ignored=frozenset({"h100-sxm"}))
    assert alike.speaks(H100, "decode", "gqa/bf16")[1] == alike.MEASURED
    other, tier = alike.speaks(blind, "decode", "gqa/bf16")
    assert (other.name, tier) == ("h200", alike.SHEET)
    own, carried = (decode.decode(dev, "bf16", 64, 16384, 32, 8, 128) for dev in (H100, blind))
    assert float(carried) == pytest.approx(float(own), rel=0.25)
    own, carried = (experts.experts(dev, "fp8", DEEPSEEK, 128, 8, 1) for dev in (H100, blind))
    assert float(carried) == pytest.approx(float(own), rel=0.35)
