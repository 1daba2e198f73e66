"""Progress out of the lines that training scripts print."""

from __future__ import annotations

import pytest

from forebay.centre.progress import read
from forebay.centre.spec import Progress


@pytest.mark.parametrize(
    "line, step, of, loss, speed",
    [
        ("step 120/500 | loss 2.3141 | 12,345 tok/s", 120, 500, 2.3141, 12345.0),
        ("iter 10: loss 3.2, time 12ms", 10, None, 3.2, None),
        ("epoch 1 step 10 loss=0.5", 10, None, 0.5, None),
        ("Step: 1,200 of 5,000  train_loss: 1.2e-3  tokens per second: 98.5", 1200, 5000, 1.2e-3, 98.5),
        ("{'loss': 2.1, 'learning_rate': 5e-05, 'epoch': 0.1}", None, None, 2.1, None),
        ("iteration 7 loss 4.0 1.5k tok/s", 7, None, 4.0, 1500.0),
        ("global_step=30 Loss=0.25", 30, None, 0.25, None),
    ],
)
def test_ordinary_lines(line: str, step: int | None, of: int | None, loss: float | None, speed: float | None) -> None:
    assert read(line) == Progress(step=step, of=of, loss=loss, tokens_per_s=speed, line=line)


@pytest.mark.parametrize(
    "line", ["", "loading 12 files", "lossless 5", "a stepladder 3", "listening on 8080", "1 " * 2000 + "loss 1", "step by step"]
)
def test_lines_that_say_nothing_of_the_work(line: str) -> None:
    assert read(line) is None


def test_a_loss_that_is_no_number_is_left_out() -> None:
    found = read("step 3 loss nan")
    assert found is not None
    assert (found.step, found.loss) == (3, None)
