"""Drawn values: one distribution passes, another doesn't."""

import pytest

torch = pytest.importorskip("torch")

from forebay.porting.certify.randoms import differ  # noqa: E402

SEEDS = 200


def draws(make, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([make(generator) for _ in range(SEEDS)])


def dropped(share, scale):
    kept = torch.linspace(1, 2, 100)
    return lambda generator: torch.where(torch.rand(100, generator=generator) < share, torch.zeros(100), kept * scale)


def channels(generator):
    return (torch.rand(4, 1, generator=generator) < 0.5).float().expand(4, 25)


RIGHT = dropped(0.5, 2.0)


@pytest.mark.parametrize(
    "make", [RIGHT, channels, lambda g: torch.randn(100, generator=g), lambda g: torch.rand(100, generator=g)]
)
@pytest.mark.parametrize("seed", range(5))
def test_two_draws_of_one_distribution_agree(make, seed):
    assert differ(draws(make, seed), draws(make, seed + 100)) == ""


@pytest.mark.parametrize(
    "wrong, why",
    [
        (dropped(0.55, 2.0), "the"),
        (dropped(0.5, 1.9), "a value that the reference never has there"),
        (lambda g: torch.full((100,), float("nan")), "nan"),
        (lambda g: torch.zeros(100), "the mean"),
    ],
)
def test_another_share_another_scale_and_no_number_are_seen(wrong, why):
    assert why in differ(draws(wrong, 1), draws(RIGHT, 2))


def test_a_shifted_and_a_narrower_normal_are_seen():
    right = draws(lambda g: torch.randn(100, generator=g), 1)
    assert "mean" in differ(draws(lambda g: torch.randn(100, generator=g) + 0.1, 2), right)
    assert "variance" in differ(draws(lambda g: torch.randn(100, generator=g) * 0.9, 2), right)
