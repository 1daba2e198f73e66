"""Distances: what is right, what is usable, what is wrong, in units of the format's rounding."""

import math

import pytest

torch = pytest.importorskip("torch")

from forebay.porting.certify.compare import Tolerance, compare, default  # noqa: E402
from forebay.porting.certify.verdict import Word  # noqa: E402

TRUTH = torch.tensor([1.0, 2.0, 3.0, -4.0, 1e-3], dtype=torch.float64) / 3
EPS = 2**-23


def judged(found, reference=None, truth=TRUTH, tolerance=None):
    reference = truth.to(found.dtype) if reference is None else reference
    return compare([found], [reference], [truth], tolerance)


def test_a_correct_rounding_is_strict_with_half_a_unit_at_most():
    distance = judged(TRUTH.float())
    assert distance.word is Word.STRICT
    assert 0 < distance.error <= 0.5
    assert distance.error == distance.reference_error


@pytest.mark.parametrize("units, word", [(1, Word.STRICT), (8, Word.BASIC), (64, Word.WRONG)])
def test_the_word_follows_the_distance(units, word):
    found = (TRUTH * (1 + units * EPS)).float()
    distance = judged(found, tolerance=Tolerance(0.0, 1.3e-6))
    assert distance.word is word
    assert distance.error == pytest.approx(units, abs=1)


def test_an_error_that_the_reference_makes_too_is_not_held_against_a_chip():
    reference = (TRUTH * (1 + 40 * EPS)).float()
    assert judged((TRUTH * (1 - 100 * EPS)).float(), reference).word is Word.STRICT
    assert judged((TRUTH * (1 - 100 * EPS)).float()).word is not Word.STRICT


def test_one_small_element_that_is_wrong_is_seen_beside_large_ones():
    found = TRUTH.float()
    found[4] *= 1.001
    distance = judged(found)
    assert distance.word is Word.BASIC  # torch's absolute tolerance, 1e-5, forgives it
    assert distance.error == pytest.approx(0.001 / EPS, rel=0.1)


def test_sums_that_cancel_are_measured_at_the_size_of_the_result():
    exact = torch.zeros(3, dtype=torch.float64)
    exact[0] = 1000.0
    found = exact.float()
    found[1] = 1e-5  # far below a unit of the largest
    assert judged(found, reference=torch.tensor([1000.0, -1e-5, 1e-5]), truth=exact).word is Word.STRICT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stands_where_the_truth_or_the_reference_has_it(value):
    found = TRUTH.float()
    found[1] = value
    distance = judged(found)
    assert distance.word is Word.WRONG
    assert "1 of 5 elements; at (1,)" in distance.detail
    truth = TRUTH.clone()
    truth[1] = value
    assert judged(found, truth=truth).word is Word.STRICT
    truth[1] = -value
    assert (judged(found, truth=truth).word is Word.STRICT) == math.isnan(value)


def test_an_overflow_of_the_format_is_infinite_and_the_largest_number_in_its_place_is_wrong():
    truth = torch.tensor([70000.0, 1.0], dtype=torch.float64)
    assert judged(torch.tensor([math.inf, 1.0]).half(), truth=truth).word is Word.STRICT
    held = compare([torch.tensor([65504.0, 1.0]).half()], [torch.tensor([math.inf, 1.0]).half()], [truth], None)
    assert held.word is Word.WRONG


def test_a_step_that_falls_on_the_other_side_is_right_where_the_reference_falls_there_too():
    truth = torch.tensor([1.0, 5.0], dtype=torch.float64)
    reference = torch.tensor([2.0, 5.0])  # a floor of a quotient that rounds up to a whole number
    assert judged(torch.tensor([2.0, 5.0]), reference, truth).word is Word.STRICT
    assert judged(torch.tensor([1.0, 5.0]), reference, truth).word is Word.STRICT
    assert judged(torch.tensor([3.0, 5.0]), reference, truth).word is Word.WRONG


@pytest.mark.parametrize(
    "found, why",
    [
        (torch.zeros(4), "not (5,)"),
        (torch.zeros(5, dtype=torch.float64), "not (5,) float32"),
        (torch.zeros(5, dtype=torch.int64), "int64"),
        (1.0, "a float, not a Tensor"),
    ],
)
def test_another_shape_format_or_kind_is_wrong(found, why):
    distance = compare([found], [TRUTH.float()], [TRUTH], None)
    assert distance.word is Word.WRONG
    assert why in distance.detail


def test_whole_numbers_are_exact():
    right = torch.arange(6).reshape(2, 3)
    assert compare([right.clone()], [right], [right], None).word is Word.STRICT
    off = right.clone()
    off[1, 2] += 1
    distance = compare([off], [right], [right], None)
    assert distance.word is Word.WRONG
    assert distance.detail == "1 of 6 elements differ; at (1, 2) 6, not 5"


def test_a_missing_result_is_wrong():
    assert compare([TRUTH.float()], [TRUTH.float()] * 2, [TRUTH] * 2, None).word is Word.WRONG


def test_a_low_precision_accumulator_is_not_strict():
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(64, 1024, generator=generator).bfloat16()
    b = torch.randn(1024, 32, generator=generator).bfloat16()
    truth = a.double() @ b.double()
    narrow = torch.zeros(64, 32, dtype=torch.bfloat16)
    for k in range(0, 1024, 16):
        narrow = narrow + (a[:, k : k + 16].float() @ b[k : k + 16].float()).bfloat16()
    assert compare([(a.float() @ b.float()).bfloat16()], [a @ b], [truth], None).word is Word.STRICT
    assert compare([narrow], [a @ b], [truth], None).word is Word.WRONG


def test_torch_s_own_tolerances_are_the_defaults():
    assert default(torch.float32) == Tolerance(1e-5, 1.3e-6)
    assert default(torch.bfloat16) == Tolerance(1e-5, 1.6e-2)
