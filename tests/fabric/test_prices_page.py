"""The page about price books says what the code does."""

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
PAGE = (ROOT / "docs" / "fabric-prices.md").read_text()
BLOCKS = re.findall(r"^```(python|text|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_blocks_of_the_page_print_what_stands_under_them(monkeypatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    shown = 0
    for (kind, block), (_, after) in pairwise(BLOCKS):
        if kind == "python":
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(block, names)
            assert said.getvalue() == after
            shown += 1
    assert shown == 2


def test_the_book_that_the_page_shows_is_one():
    (toml,) = [block for kind, block in BLOCKS if kind == "toml"]
    assert books.parse(toml, "mine").made_of == {"access_link": "dac", "inter_switch_link": "optics"}


def test_the_error_that_the_page_shows_is_that_of_the_example_without_its_currency():
    text = (ROOT / "examples" / "fabric-quotes" / "north.toml").read_text()
    with pytest.raises(BadInput) as wrong:
        books.parse(text.replace("24000 USD", "24000"), "north")
    assert f"BadInput: {wrong.value}\n" in [block for kind, block in BLOCKS if kind == "text"]
