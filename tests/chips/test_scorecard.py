"""Scorecards: the noun, the index, how they are kept, and what the planner reads of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from forebay.chips import catalogue, certified, use
from forebay.chips.inclusiveness import CREDIT, coverage, credit, effective, index
from forebay.chips.scorecard import ABSENT, LETTERS, SIMULATED, Accuracy, Ceiling, Outlier, Scorecard, worst
from forebay.cli import chips
from forebay.codec import decode, encode
from forebay.errors import BadInput, Unknown
from forebay.plan import efficiency

COLUMNS = ("float32 forward", "float32 backward", "bfloat16 forward")
WORST = (Outlier(operator="add", column=COLUMNS[0], ratio=2.0),)
CARD = Scorecard(
    chip="h100-sxm",
    measured_on="2026-11-22",
    device="NVIDIA H100 80GB HBM3",
    software={"torch": "2.13.0"},
    reference="the host's processor",
    columns=COLUMNS,
    operators={"add": "sss", "nn.functional.linear": "ssb", "fft.fft": "ee-", "div.floor_rounding": "s--", "unused": "---"},
    reasons={"fft.fft": "float32 forward: not implemented"},
    accuracy=Accuracy(
        compared=6,
        median=1.0,
        p90=1.5,
        histogram={"1": 4, "2": 2},
        worst=WORST,
    ),
    ceilings=(
        Ceiling(kind="matmul", name="bf16", unit="flop/s", value=5e14, runs=9),
        Ceiling(kind="copy", name="on the card", unit="bytes/s", value=2.5e12, runs=9),
        Ceiling(kind="copy", name="host to card, pinned", unit="bytes/s", value=5e10, runs=9),
        Ceiling(kind="matmul", name="fp8", unit="flop/s", reason="RuntimeError: no"),
    ),
)
USE = use.Use(
    counted_on="2026-11-22",
    torch="2.13.0",
    operators=("add", "div", "fft.fft", "nn.functional.linear"),
    projects=(
        use.Project(name="a/a", commit="0", files=4, sets={"0": 1, "0 3": 2, "0 2": 1}),
        use.Project(name="b/b", commit="0", files=1, sets={"3": 1}),
    ),
)
cells = st.text(alphabet="".join(LETTERS) + ABSENT, min_size=3, max_size=3)
boards = st.dictionaries(st.sampled_from(USE.operators), cells, min_size=1)


def of(operators):
    return replace(CARD, operators=operators)


def value(operators):
    return index(of(operators), USE)


def test_a_scorecard_survives_a_trip_through_json():
    assert decode(Scorecard, json.loads(json.dumps(encode(CARD)))) == CARD


def test_a_scorecard_says_what_became_of_an_operator_and_counts_what_was_asked():
    assert (CARD.letter("fft.fft", "float32 forward"), CARD.letter("fft.fft", "bfloat16 forward")) == ("e", ABSENT)
    assert CARD.letter("nobody", "float32 forward") == ABSENT
    assert {word: count for word, count in CARD.counts().items() if count} == {"strict": 6, "basic": 1, "error": 2}
    assert worst("sb-n") == "n" and worst("--") == ABSENT


def test_the_index_is_the_formula_of_its_page():
    # By hand: add (2 projects: weight 2: a/a; so 1 + 1), linear 1 + 2, fft 1 + 1, div 1 + 0; credits 1, (1 + 1 + .9) / 3, 0, 1.
    found = value(CARD.operators)
    assert found.value == pytest.approx(100 * (2 * 1 + 3 * 2.9 / 3 + 2 * 0 + 1 * 1) / 8)
    assert found.unweighted == pytest.approx(100 * (1 + 2.9 / 3 + 0 + 1) / 4)
    assert found.operators == 4


@given(boards)
def test_the_index_lies_between_0_and_100_and_below_what_testing_the_rest_could_make_of_it(board):
    found = value(board)
    if found is None:
        assert not "".join(board.values()).strip(ABSENT)
    else:
        assert 0 <= found.value <= found.most <= 100
        assert 0 <= found.unweighted <= 100


@given(boards)
def test_the_index_is_100_when_all_is_strict_and_only_then(board):
    found = value(board)
    if found is not None:
        assert (found.value == 100) == (set("".join(board.values())) <= {"s", ABSENT})


@given(boards, st.randoms())
def test_a_better_verdict_never_lowers_the_index_and_a_better_worth_raises_it(board, dice):
    name = dice.choice(sorted(board))
    place = dice.randrange(3)
    old = board[name][place]
    if old != ABSENT:
        new = dice.choice("".join(LETTERS).partition(old)[0] + old)
        better = {**board, name: board[name][:place] + new + board[name][place + 1 :]}
        assert value(better).value >= value(board).value
        if CREDIT[new] > CREDIT[old]:
            assert value(better).value > value(board).value


@given(boards)
def test_the_order_of_operators_changes_nothing(board):
    assert value(dict(reversed(board.items()))) == value(board)


@given(boards)
def test_what_was_not_tested_is_a_band_and_testing_it_ends_inside(board):
    before = value(board)
    for outcome in "sbnhwetc":
        after = value({name: letters.replace("u", outcome) for name, letters in board.items()})
        if before is not None:
            assert before.value - 1e-9 <= after.value <= before.most + 1e-9


def test_an_operator_counts_once_however_many_formats_it_has():
    assert credit("sssssw"[:3]) == 1 and credit("s--") == 1 and credit("sw-") == 0.5


def test_the_weights_are_of_projects_and_a_variant_has_its_operators():
    assert USE.projects_calling("nn.functional.linear") == 2
    assert USE.name_of("div.floor_rounding") == "div" and USE.name_of("nn.functional.linear") == "nn.functional.linear"


def test_a_program_that_lacks_one_operator_gets_nothing_from_the_others():
    # a/a: three of four files call only what works in fp32; b/b: its one file does.
    assert coverage(CARD, USE, "float32") == pytest.approx((3 / 4 + 1) / 2)
    assert effective(CARD, USE).flop_per_s == pytest.approx(5e14 * effective(CARD, USE).covered)
    assert effective(CARD, USE).format == "bf16"


def test_what_cores_stand_in_for_has_no_effective_compute_and_no_calibration():
    pretended = replace(CARD, stands=SIMULATED)
    assert effective(pretended, USE) is None
    assert efficiency.calibration(pretended, catalogue.find("h100-sxm")) is None


def test_the_planner_reads_achieved_speeds_and_their_shares_of_the_peak(tmp_path):
    chip = catalogue.find("h100-sxm")
    found = efficiency.calibration(CARD, chip)
    assert found.figures["gemm_bf16_flop_per_s"] == 5e14
    assert found.figures["copy_on_the_card_bytes_per_s"] == 2.5e12
    assert found.figures["copy_on_the_card_of_peak"] == pytest.approx(2.5e12 / chip.memory_bytes_per_s)
    assert "copy_host_to_card_pinned_of_peak" not in found.figures
    assert efficiency.efficiency(found, "bf16") == pytest.approx(5e14 / chip.flop_per_s["bf16"])
    assert efficiency.efficiency(found, "fp8") is None
    efficiency.keep(found, tmp_path)
    assert efficiency.kept("h100-sxm", tmp_path) == found
    assert efficiency.kept("mi300x", tmp_path) is None


def test_a_measured_speed_above_the_sheet_is_kept():
    fast = replace(CARD, ceilings=(Ceiling(kind="matmul", name="bf16", unit="flop/s", value=2e15),))
    assert efficiency.efficiency(efficiency.calibration(fast, catalogue.find("h100-sxm")), "bf16") > 2


def test_a_kept_scorecard_is_found_and_the_newer_one_wins(tmp_path):
    certified.keep(CARD, tmp_path)
    assert certified.find("h100-sxm", tmp_path) == CARD
    newer = replace(CARD, measured_on="2027-01-01")
    path = certified.keep(newer, tmp_path)
    assert certified.find("h100-sxm", tmp_path) == newer == certified.find(str(path))


def test_a_chip_without_a_scorecard_and_a_torn_file_are_clear_errors(tmp_path):
    with pytest.raises(Unknown, match="No scorecard of this chip"):
        certified.find("biren-166", tmp_path)
    (tmp_path / "torn.json").write_text('{"chip": "x", "measured_on"')
    with pytest.raises(BadInput, match="can't be read") as told:
        certified.load(tmp_path)
    assert "torn.json" in told.value.asked
    (tmp_path / "torn.json").write_text(json.dumps({**encode(CARD), "operators": {"add": "s"}}))
    with pytest.raises(BadInput, match="can't be read"):
        certified.load(tmp_path)


def test_the_table_of_uses_ships_with_its_projects_and_commits():
    table = use.shipped()
    assert len(table.projects) >= 40 and len({project.name for project in table.projects}) == len(table.projects)
    assert all(len(project.commit) == 12 and project.files == sum(project.sets.values()) for project in table.projects)
    assert table.projects_calling("nn.functional.linear") > table.projects_calling("special.bessel_j0")


def test_a_chip_that_was_measured_says_so_when_it_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    certified.keep(CARD)
    told = CliRunner().invoke(chips.app, ["show", "h100-sxm"]).stdout
    assert "Measured on 2026-11-22" in told and "over 4 operators" in told


def test_the_command_draws_a_table_json_and_a_page_of_one_chip_or_two(tmp_path):
    certified.keep(CARD, tmp_path)
    certified.keep(replace(CARD, chip="a100", stands=SIMULATED, ceilings=()), tmp_path)
    words = ["card", "h100-sxm", "--against", "a100", "--folder", str(tmp_path)]
    told = CliRunner().invoke(chips.app, [*words, "--html", str(tmp_path / "both.html")])
    assert told.exit_code == 0, told.output
    assert "stood in for by processor cores" in told.stdout and "fft.fft" in told.stdout
    assert "Where they differ" in (tmp_path / "both.html").read_text()
    body = json.loads(CliRunner().invoke(chips.app, [*words, "--json"]).stdout)
    assert [one["card"]["chip"] for one in body] == ["h100-sxm", "a100"]
    assert body[0]["index"]["value"] == index(CARD, use.shipped()).value
    assert body[1]["effective_compute"] is None
