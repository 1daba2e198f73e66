"""Pools: a line or a file, filled up with usual builds that are named."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.chips import catalogue
from forebay.codec import encode
from forebay.errors import BadInput, ForebayError, Unknown
from forebay.plan import pool_read
from forebay.plan.pool import Pool
from forebay.plan.pool_read import describe, pool

EXAMPLES = Path(__file__).parents[2] / "examples" / "pools"
CHIPS = catalogue.load()


def test_a_line_names_cards_and_their_number():
    read = pool("h100-sxm:4096,ascend-910b:2048")
    assert [(c.chip, c.count, c.island) for c in read.cards] == [("h100-sxm", 4096, 8), ("ascend-910b", 2048, 8)]
    assert read.count == 6144


@pytest.mark.parametrize(
    ("chip", "island", "up", "out"),
    [
        ("h100-sxm", 8, 450e9, 50e9),
        ("h200", 8, 450e9, 50e9),
        ("b200", 8, 900e9, 50e9),
        ("b300", 8, 900e9, 100e9),
        ("gb200", 72, 900e9, 50e9),
        ("gb300", 72, 900e9, 100e9),
        ("a100-sxm-80gb", 8, 300e9, 25e9),
        ("ascend-910b2", 8, 196e9, 25e9),
        ("ascend-910c", 768, 196e9, 25e9),
        ("gaudi2", 8, 262.5e9, 37.5e9),
        ("mtt-s5000", 8, 392e9, 25e9),
        ("l40s", 1, 25e9, 25e9),
        ("h100-pcie", 1, 25e9, 25e9),
    ],
)
def test_what_isnt_said_is_as_cards_are_usually_built(chip, island, up, out):
    read = describe(f"{chip}:6912")
    (cards,) = read.pool.cards
    assert (cards.island, cards.up_bytes_per_s, cards.out_bytes_per_s) == (island, up, out)
    assert read.assumed[0].startswith(f"{chip}: islands of {island}")


@pytest.mark.parametrize("chip", CHIPS)
def test_every_chip_of_the_catalogue_makes_a_pool(chip):
    (cards,) = pool(f"{chip}:16").cards
    assert 1 <= cards.island <= 16
    assert cards.up_bytes_per_s >= cards.out_bytes_per_s > 0


def test_usual_builds_are_of_chips_that_there_are_and_name_a_source_or_say_assumed():
    data = tomllib.loads(pool_read.FILE.read_text())
    for build in (*data["builds"], data["default"]):
        assert set(build.get("chips", [])) <= CHIPS.keys()
        assert ("source" in build) != ("assumed" in build)


def test_cards_that_are_usually_joined_two_by_two_are_said_and_a_file_may_say_otherwise(tmp_path):
    given = describe("ascend-910b:4")
    assert given.pool.cards[0].mesh == 8  # also of half a machine: its links lead to the other half
    assert "196 GB/s inside, one way, by 7 links" in given.assumed[0]
    assert pool("h100-sxm:8").cards[0].mesh == 0
    (tmp_path / "pool.toml").write_text('[[cards]]\nchip = "ascend-910b"\ncount = 8\nmesh = 0\n')
    assert pool(str(tmp_path / "pool.toml")).cards[0].mesh == 0


def test_a_pool_smaller_than_an_island_is_one():
    (cards,) = pool("gb200:16").cards
    assert cards.island == 16


def test_kinds_of_one_chip_are_told_apart():
    (h20,), (h100,) = pool("h20:8").cards, pool("h100-sxm:8").cards
    assert Pool(cards=(h20, h100)).kinds == ("h20", "h100-sxm")
    assert Pool(cards=(replace(h20, label="hall 1"), h20)).kinds == ("h20 (hall 1)", "h20")
    assert Pool(cards=(h20, h20)).kinds == ("h20 (1)", "h20 (2)")


def test_a_chip_may_be_written_in_capitals():
    assert pool(" H100-SXM : 64 ") == pool("h100-sxm:64")


def test_a_number_before_the_chip_is_understood_as_tables_print_it():
    assert pool("8xascend-910b, 16 x h100-sxm") == pool("ascend-910b:8,h100-sxm:16")
    assert pool("8xmtt-s5000") == pool("mtt-s5000:8")


def test_cards_that_dont_fill_their_islands_are_said():
    assert "the last holds 4" in describe("h100-sxm:12").assumed[1]


def test_an_answer_names_the_source_of_the_build():
    (note,) = describe("h100-sxm:64").assumed
    assert "450 GB/s inside, one way" in note
    assert "400 Gbit/s a card between islands" in note
    assert "DGX H100" in note


def test_the_example_of_two_kinds():
    read = describe(str(EXAMPLES / "two-kinds.toml"))
    first, second = read.pool.cards
    assert read.pool.currency == "CNY"
    assert read.pool.between_bytes_per_s == 12.5e9
    assert (first.chip, first.count, first.price_per_hour, first.watts, first.oversubscription) == (
        "h100-sxm",
        4096,
        18_500_000,
        1300.0,
        1.5,
    )
    assert (second.island, second.up_bytes_per_s, second.memory_bytes, second.label) == (8, 196e9, 64 * 2**30, "hall 2")
    assert len(read.assumed) == 1  # only of the first kind something was left out


def test_the_example_of_one_machine():
    (cards,) = pool(str(EXAMPLES / "eight.toml")).cards
    assert (cards.island, cards.up_bytes_per_s, cards.price_per_hour) == (8, 25e9, 800_000)


def test_the_example_of_a_chip_that_only_its_owner_knows():
    read = describe(str(EXAMPLES / "own-chip.toml"))
    (cards,) = read.pool.cards
    assert (cards.chip, cards.island, cards.up_bytes_per_s) == ("my-npu", 8, 100e9)
    assert (cards.memory_bytes, cards.memory_bytes_per_s) == (64 * 2**30, 1.2e12)
    assert cards.flop_per_s == {"bf16": 280e12, "int8": 560e12}
    assert "my-npu: not in the catalogue" in read.assumed[-1]


@pytest.mark.parametrize("example", ["two-kinds", "own-chip"])
def test_a_pool_survives_a_trip_through_json(tmp_path, example):
    read = pool(str(EXAMPLES / f"{example}.toml"))
    (tmp_path / "pool.json").write_text(json.dumps(encode(read)))
    assert pool(str(tmp_path / "pool.json")) == read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no pool"),
        ("h100-sxm", "no pool"),
        ("64", "no pool"),
        ("h100-sxm:", "no pool"),
        ("h100-sxm:0", "between 1 and"),
        ("h100-sxm:-8", "no pool"),
        ("h100-sxm:8.5", "no pool"),
        ("h100-sxm:999999999999", "between 1 and"),
        ("h100-sxm:8,", "no pool"),
        ("h100-sxm:8,h100-sxm:8", "named twice"),
    ],
)
def test_a_line_that_is_no_pool(text, told):
    with pytest.raises(BadInput) as caught:
        pool(text)
    assert told in caught.value.text
    assert caught.value.hint or "between" in told


def test_an_unknown_chip_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(Unknown) as caught:
        pool("h100:64")
    assert "h100-sxm" in caught.value.hint
    half_told = tmp_path / "pool.toml"
    half_told.write_text('[[cards]]\nchip = "my-npu"\ncount = 8\nmemory = "64 GiB"')
    with pytest.raises(Unknown) as caught:
        pool(str(half_told))
    assert "memory, bandwidth and peak" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('count = "64"', "line 5: count: a whole number"),
        ("count = 0", "line 5: count: a whole number"),
        ("count = true", "line 5: count: a whole number"),
        ("island = 8.5", "line 5: island: a whole number"),
        ("scale_out = 400", "line 5: scale_out: a speed without its unit"),
        ('scale_out = "400 Gb/s"', "line 5: scale_out: bits or bytes?"),
        ('scale_up = "fast"', "line 5: scale_up: that is no speed"),
        ("memory = 80", "line 5: memory: a quantity with its unit"),
        ('memory = "80 apples"', "line 5: memory: that is no quantity"),
        ('power = "0 W"', "line 5: power: above zero"),
        ('price_per_hour = "2.10 USD"', "line 5: price_per_hour: the pool's currency is CNY"),
        ('price_per_hour = "-2"', "line 5: price_per_hour: an amount is zero or more"),
        ("oversubscription = 0", "line 5: oversubscription: a number above zero"),
        ('colour = "green"', "line 5: colour: no field of that name"),
        ("label = 3", "line 5: label: a text"),
        ("mesh = -1", "line 5: mesh: a whole number"),
        ("bandwidth = 1600", "line 5: bandwidth: a speed without its unit"),
        ('peak = "313 TFLOP/s"', "line 5: peak: a dense peak for each number format"),
        ('peak = { fp9 = "1 TFLOP/s" }', "peak: no number format of that name"),
        ("peak = { bf16 = 313 }", "peak: a quantity with its unit"),
        ('peak = { bf16 = "0 TFLOP/s" }', "peak: above zero"),
    ],
)
def test_a_slip_in_a_file_is_named_with_its_line(tmp_path, line, told):
    path = tmp_path / "pool.toml"
    head = 'currency = "CNY"\n\n[[cards]]\nchip = "h100-sxm"\n'
    path.write_text(head + line + ("\n" if line.startswith("count") else "\ncount = 64\n"))
    with pytest.raises(BadInput) as caught:
        pool(str(path))
    assert f"{path}, {told}" in caught.value.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cards = 3", "no cards"),
        ("", "no cards"),
        ("[[cards]]\ncount = 3", "chip is missing"),
        ('[[cards]]\nchip = "h100-sxm"', "count is missing"),
        ('[[cards]]\nchip = "h100-sxm"\ncount = 8\nprice_per_hour = "2"', "a price without a currency"),
        ('currency = "yuan"\n[[cards]]\nchip = "h100-sxm"\ncount = 8', "three letters"),
        ("[[cards", "no TOML"),
        ('[[cards]]\nchip = "l40s"\ncount = 8\nisland = 8', "no scale-up speed"),
        ('between = "slow"\n[[cards]]\nchip = "l40s"\ncount = 8', "between"),
    ],
)
def test_a_file_that_is_no_pool(tmp_path, text, told):
    path = tmp_path / "pool.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        pool(str(path))
    assert told in str(caught.value)


@given(st.text(max_size=40))
def test_whatever_is_written_the_answer_is_a_pool_or_one_clear_error(text):
    try:
        assert isinstance(pool(text), Pool)
    except ForebayError as bad:
        assert bad.text
