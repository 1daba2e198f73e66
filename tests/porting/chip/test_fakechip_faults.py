"""The fake chip with a fault computes wrongly, in that way only; without one it computes as the host does."""

import pytest

from ..shim.conftest import run

ANSWERS = """
import torch
for text in {texts!r}:
    x = {x}
    try:
        print(eval(text))
    except Exception as error:
        print(repr(error))
"""
PART = "torch.tensor([-1.0, float('nan'), 2.0], device='fakechip')"
ONES = "torch.ones(2, device='fakechip', requires_grad=True)"


@pytest.fixture(scope="module")
def answers(fakechip):
    """What a chip with a fault says to all that is asked of it here, each with an `x` of its own: one process a fault."""
    known = {}

    def of(fault, x, texts):
        if (fault, x) not in known:
            ended = run(fakechip, "-c", ANSWERS.format(texts=texts, x=x), FOREBAY_FAKECHIP_FAULT=fault)
            lines = ended.stdout.splitlines()
            assert len(lines) == len(texts), ended.stderr
            known[fault, x] = dict(zip(texts, lines, strict=True))
        return known[fault, x]

    return of


ACTS = [
    ("", "torch.relu(x)", "[0.0, nan, 2.0]"),
    ("relu-of-nan-is-zero", "torch.relu(x)", "[0.0, 0.0, 2.0]"),
    ("relu-of-nan-is-zero", "x.relu_()", "[0.0, 0.0, 2.0]"),
    ("relu-of-nan-is-zero", "torch.abs(x)", "[1.0, nan, 2.0]"),
    ("arange-loses-its-end", "torch.arange(17, device='fakechip')[-2:]", "[15, 15]"),
    ("relu-of-nan-is-zero,not-of-bool-is-not-of-a-byte", "(~(x > 0))", "[True, True, True]"),
    ("casts-truncate", "torch.full((1,), 1.0078, device='fakechip').to(torch.bfloat16)", "[1.0]"),
    ("", "torch.full((1,), 1.0078, device='fakechip').to(torch.bfloat16)", "[1.0078125]"),
]


@pytest.mark.parametrize("fault, call, printed", ACTS)
def test_a_fault_acts_where_it_says(answers, fault, call, printed):
    asked = [f"{its}.tolist()" for one, its, _ in ACTS if one == fault]
    assert answers(fault, PART, asked)[f"{call}.tolist()"] == printed


def test_a_fault_that_there_isnt_is_told_with_its_neighbours(fakechip):
    ended = run(fakechip, "-c", "import torch", FOREBAY_FAKECHIP_FAULT="relu-of-nan-is-one")
    assert ended.returncode != 0
    assert "relu-of-nan-is-zero" in ended.stderr


CARRIED = [
    ("torch.eye(0, device='fakechip').shape", "torch.Size([0, 0])"),
    ("torch.remainder(torch.tensor([5, -5], device='fakechip'), 3).tolist()", "[2, 1]"),
    ("torch.copysign(torch.ones(1, device='fakechip'), -2.0).item()", "-1.0"),
    ("torch.sgn(x).sum().backward() or x.grad.tolist()", "[0.0, 0.0]"),
]


@pytest.mark.parametrize("text, printed", CARRIED)
def test_what_the_fake_chip_carries_beside_the_plain(answers, text, printed):
    assert answers("", ONES, [its for its, _ in CARRIED])[text] == printed
