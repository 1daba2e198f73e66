"""What a person types, and what of it is meant for us."""

from __future__ import annotations

import pytest

from forebay.cli.terminal import Escape


@pytest.mark.parametrize(
    "typed, sent, leaves",
    [
        (b"ls\r", b"ls\r", False),
        (b"~.", b"", True),
        (b"ls\r~.rest", b"ls\r", True),
        (b"cd ~.\r", b"cd ~.\r", False),  # not at the beginning of a line
        (b"~~\r", b"~\r", False),
        (b"~/run\r", b"~/run\r", False),
        (b"\x03~.", b"\x03", True),
        (b"", b"", False),
    ],
)
def test_a_tilde_at_the_beginning_of_a_line_is_looked_at(typed, sent, leaves):
    assert Escape().feed(typed) == (sent, leaves)
    escape, found = Escape(), b""
    for letter in typed:  # key by key it is the same
        part, left = escape.feed(bytes([letter]))
        found += part
        if left:
            break
    assert (found, left if typed else False) == (sent, leaves)
