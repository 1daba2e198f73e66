"""The page of torch.cuda's names is the table that the tests hold the device to."""

from collections import Counter
from pathlib import Path

from forebay.porting.shim.names import NAMES, page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "shim-names.md"


def test_the_page_is_written_from_the_table():
    assert PAGE.read_text() == page()


def test_the_classes_are_four():
    assert set(Counter(name.fidelity for name in NAMES.values())) == {"exact", "emulated", "no-op", "refused"}
