"""A run leaves an account of what it called on the card, of which a vendor's work list is made."""

from __future__ import annotations

import pytest

from forebay.centre import layout
from forebay.centre.spec import Outcome
from forebay.chips import use
from forebay.cli.chips_gaps import of_centre
from forebay.porting.gaps import MISSING, work_list

from .conftest import TWO, Centre

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("carried")


def test_a_run_on_two_cards_leaves_what_both_ranks_called_and_what_ended_it(centre: Centre) -> None:
    code = (
        "import torch\nx = torch.ones(4, device='cuda')\nfor _ in range(3): x = torch.cumsum(x, 0)\n"
        "raise NotImplementedError(\"Could not run 'aten::erfinv' with arguments from the 'X' backend\")\n"
    )
    seen = centre.run(code, shares=TWO)
    assert seen.outcome is Outcome.FAILED
    (account,) = of_centre(layout.run(centre.home, "j-1").parent, "cpu")
    assert account.calls["cumsum"] >= 3
    assert account.card_seconds == pytest.approx(2 * seen.held_ns / 1e9)
    (gap,) = work_list([account], None, use.shipped())
    assert (gap.operator, gap.kind, gap.card_seconds) == ("erfinv", MISSING, account.card_seconds)
