"""The fake chip with a fault computes wrongly, in that way only; without one it computes as the host does."""

import pytest

from ..shim.conftest import run

PRINTED = "import torch; x = torch.tensor([-1.0, float('nan'), 2.0], device='fakechip'); print({}.tolist())"


@pytest.mark.parametrize(
    "fault, call, printed",
    [
        ("", "torch.relu(x)", "[0.0, nan, 2.0]"),
        ("relu-of-nan-is-zero", "torch.relu(x)", "[0.0, 0.0, 2.0]"),
        ("relu-of-nan-is-zero", "x.relu_()", "[0.0, 0.0, 2.0]"),
        ("relu-of-nan-is-zero", "torch.abs(x)", "[1.0, nan, 2.0]"),
        ("arange-loses-its-end", "torch.arange(17, device='fakechip')[-2:]", "[15, 15]"),
        ("relu-of-nan-is-zero,not-of-bool-is-not-of-a-byte", "(~(x > 0))", "[True, True, True]"),
        ("casts-truncate", "torch.full((1,), 1.0078, device='fakechip').to(torch.bfloat16)", "[1.0]"),
        ("", "torch.full((1,), 1.0078, device='fakechip').to(torch.bfloat16)", "[1.0078125]"),
    ],
)
def test_a_fault_acts_where_it_says(fakechip, fault, call, printed):
    ended = run(fakechip, "-c", PRINTED.format(call), FOREBAY_FAKECHIP_FAULT=fault)
    assert ended.stdout.strip() == printed, ended.stderr


def test_a_fault_that_there_isnt_is_told_with_its_neighbours(fakechip):
    ended = run(fakechip, "-c", "import torch", FOREBAY_FAKECHIP_FAULT="relu-of-nan-is-one")
    assert ended.returncode != 0
    assert "relu-of-nan-is-zero" in ended.stderr


@pytest.mark.parametrize(
    "text, printed",
    [
        ("torch.eye(0, device='fakechip').shape", "torch.Size([0, 0])"),
        ("torch.remainder(torch.tensor([5, -5], device='fakechip'), 3).tolist()", "[2, 1]"),
        ("torch.copysign(torch.ones(1, device='fakechip'), -2.0).item()", "-1.0"),
        ("torch.sgn(x).sum().backward() or x.grad.tolist()", "[0.0, 0.0]"),
    ],
)
def test_what_the_fake_chip_carries_beside_the_plain(fakechip, text, printed):
    words = "import torch; x = torch.ones(2, device='fakechip', requires_grad=True); print({})"
    ended = run(fakechip, "-c", words.format(text))
    assert ended.stdout.strip() == printed, ended.stderr
