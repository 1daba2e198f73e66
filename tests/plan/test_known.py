"""Seconds of products and attention: own tables, what is carried over, what is refused, and laws."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.plan.kernels.grid import grid
from forebay.plan.kernels.known import NARROW, attention, device, device_of, matmul, tier
from forebay.plan.pool import Cards

H100 = device("h100-sxm")
ROOFED = sorted(
    name
    for name, chip in catalogue.load().items()
    if chip.memory_bytes_per_s and chip.memory_bytes and {"bf16", "fp16"} & set(chip.flop_per_s)
)
FORMATS = ("bf16", "fp8", "nvfp4", "int8")
side = st.integers(7, 15).map(lambda power: 2**power)


def roof(dev, form, m, n, k):
    moved = NARROW[form] * (m * k + n * k) + 2.0 * m * n
    return max(2.0 * m * n * k / dev.peak(form), moved / dev.memory_bytes_per_s)


def test_a_chip_with_a_table_of_its_own_is_read_from_it():
    own = grid("matmul", "h100-sxm/bf16/burst", 3)
    assert matmul(H100, "bf16", 4096, 4096, 8192) == own.seconds(4096, 4096, 8192)
    assert tier(H100, "bf16") == "kernel tables"


def test_without_its_own_table_it_is_carried_over_and_near():
    """Other chips' utilisation, on the H100's roofs: large products come out within a quarter of the measured ones."""
    blind = replace(H100, ignored=frozenset({"h100-sxm", "h200"}))
    assert tier(blind, "bf16") == "data sheet"
    for shape in ((8192, 8192, 8192), (4096, 12288, 4096), (16384, 4096, 8192)):
        ratio = float(matmul(blind, "bf16", *shape) / matmul(H100, "bf16", *shape))
        assert ratio != 1.0
        assert 0.75 < ratio < 1.33, shape


@pytest.mark.parametrize("name", ROOFED)
def test_large_products_reach_a_sane_share_of_every_chips_peak(name):
    dev = device(name)
    for form in ("bf16", *(one for one in FORMATS[1:] if one in dev.flop_per_s)):
        used = 2 * 8192.0**3 / dev.peak(form) / matmul(dev, form, 8192, 8192, 8192)
        assert 0.25 < float(used) <= 1.05, form
    used = 2 * 8192.0**2 * 64 * 128 / dev.peak("bf16") / attention(dev, 8192, 64, 128)
    assert 0.1 < float(used) <= 1.0


@pytest.mark.parametrize("name, form", [("a100-sxm-80gb", "fp8"), ("h100-sxm", "nvfp4"), ("a100-sxm-80gb", "nvfp4")])
def test_a_format_that_the_chip_lacks_is_refused(name, form):
    with pytest.raises(BadInput) as error:
        device(name).peak(form)
    assert error.value.asked == f"{form} on {name}"
    assert "bf16" in error.value.found
    assert "--format" in error.value.hint


def test_fp16_reads_the_table_of_bf16():
    assert matmul(H100, "fp16", 4096, 4096, 4096) == matmul(H100, "bf16", 4096, 4096, 4096)


def test_a_chip_without_roofs_cannot_be_planned_with():
    bare = next(name for name, chip in catalogue.load().items() if not (chip.memory_bytes_per_s and chip.flop_per_s))
    with pytest.raises(BadInput, match="nobody trustworthy says its"):
        device(bare)


def cards(chip: str, **own: Any) -> Cards:
    return Cards(chip=chip, count=8, island=8, up_bytes_per_s=1e11, out_bytes_per_s=25e9, **own)


def test_what_the_owner_says_goes_before_the_catalogue():
    found = device_of(cards("metax-c500", memory_bytes_per_s=1.8e12))
    assert (found.memory_bytes_per_s, found.memory_bytes) == (1.8e12, catalogue.find("metax-c500").memory_bytes)
    assert found.peak("bf16") == catalogue.find("metax-c500").flop_per_s["bf16"]
    both = device_of(cards("mtt-s5000", flop_per_s={"bf16": 460e12}))
    assert both.peak("bf16") == 460e12
    assert both.peak("fp8") == catalogue.find("mtt-s5000").flop_per_s["fp8"]


def test_a_chip_that_only_its_owner_knows_is_priced_by_its_roofs():
    own = {"memory_bytes": 64 * 2**30, "memory_bytes_per_s": 1.2e12, "flop_per_s": {"bf16": 280e12}}
    found = device_of(cards("my-npu", **own))
    assert not found.tables
    large = 2.0 * 8192**3 / 280e12
    assert large < float(matmul(found, "bf16", 8192, 8192, 8192)) < 2.0 * large
    with pytest.raises(BadInput, match="says its bandwidth and peak") as error:
        device_of(cards("my-npu", memory_bytes=64 * 2**30))
    assert 'bandwidth = "' in error.value.hint and "memory" not in error.value.hint


def test_a_chip_of_another_bandwidth_is_not_the_one_that_was_timed():
    """An H100 with HBM2e: its own table is one of those that are carried over, and the nearest."""
    assert device_of(cards("h100-sxm", memory_bytes=96 * 2**30)).tables == "h100-sxm"
    slow = device_of(cards("h100-sxm", memory_bytes_per_s=2.4e12))
    assert not slow.tables
    assert float(matmul(slow, "bf16", 4096, 4096, 4096)) == pytest.approx(float(matmul(H100, "bf16", 4096, 4096, 4096)), rel=0.1)


@settings(max_examples=40)
@given(st.sampled_from(ROOFED), side, side, side)
def test_nothing_is_faster_than_its_roofline(name, m, n, k):
    """The tables hold a few products that ran above the printed peak (boost clocks): a tenth is allowed."""
    dev = device(name)
    assert float(matmul(dev, "bf16", m, n, k)) > 0.9 * 2.0 * m * n * k / dev.peak("bf16")


@settings(max_examples=40)
@given(st.sampled_from(ROOFED), side, side, side, st.sampled_from([2.0, 4.0]))
def test_a_product_of_more_rows_takes_no_less_time(name, m, n, k, more):
    """Of kernels that were measured, a larger one may have a better tile: 12 % is allowed."""
    dev = device(name)
    few, many = matmul(dev, "bf16", np.array([m, m * more]), n, k)
    assert many > 0.88 * few


@pytest.mark.parametrize("name", ["h100-sxm", "mi300x", "tpu-v5p"])
@given(st.integers(10, 16), st.integers(1, 128), st.sampled_from([64, 128, 192]))
def test_attention_of_more_tokens_or_lanes_takes_no_less_time(name, power, lanes, head):
    dev = device(name)
    base = float(attention(dev, 2**power, lanes, head))
    assert float(attention(dev, 2 ** (power + 1), lanes, head)) > base
    assert float(attention(dev, 2**power, 2 * lanes, head)) >= 0.95 * base


def test_a_format_that_nobody_timed_takes_the_share_that_16_bit_products_reach():
    used = 2 * 8192.0**3 / H100.peak("int8") / float(matmul(H100, "int8", 8192, 8192, 8192))
    assert 0.5 < used < 0.9
