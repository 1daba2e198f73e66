"""The pages about price books and calibration say what the code does."""

from __future__ import annotations

import contextlib
import io
import re
from itertools import pairwise
from pathlib import Path

import pytest

from forebay.errors import BadInput
from forebay.fabric import books

ROOT = Path(__file__).parents[2]


def blocks(page):
    text = (ROOT / "docs" / page).read_text()
    return re.findall(r"^```(python|text|toml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["fabric-prices.md", "fabric-calibration.md"])
def test_the_blocks_of_the_page_print_what_stands_under_them(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    shown = 0
    for (kind, block), (_, after) in pairwise(blocks(page)):
        if kind == "python":
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(block, names)
            assert said.getvalue() == after
            shown += 1
    assert shown == 2


def test_the_book_that_the_page_shows_is_one():
    (toml,) = [block for kind, block in blocks("fabric-prices.md") if kind == "toml"]
    assert books.parse(toml, "mine").made_of == {"access_link": "dac", "inter_switch_link": "optics"}


def test_the_error_that_the_page_shows_is_that_of_the_example_without_its_currency():
    text = (ROOT / "examples" / "fabric-quotes" / "north.toml").read_text()
    with pytest.raises(BadInput) as wrong:
        books.parse(text.replace("24000 USD", "24000"), "north")
    assert f"BadInput: {wrong.value}\n" in [block for kind, block in blocks("fabric-prices.md") if kind == "text"]
