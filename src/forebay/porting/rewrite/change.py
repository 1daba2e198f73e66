"""Change a text by cutting and inserting, so that every byte outside stays.

Asked:  which bytes go, which come in their place, and which findings does that settle?
Answer: a Change is a few Splices over the text in UTF-8. Splices never overlap: an idiom replaces the smallest piece that
        does (`.cuda` in `.cuda(rank)`), so what stands inside its arguments can change by itself.
Limits: names of what a file defines once, DEVICE and its kin, aren't known yet when a Change is made; the words below stand
        in for them until `head` has chosen names that are free in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEVICE, MODULE, EVENT, TORCH = "\x00device\x00", "\x00module\x00", "\x00event\x00", "\x00torch\x00"
HERE = (
    f"{TORCH}.accelerator.is_available()"  # asked where code needs an accelerator; it holds no quotes, so it fits into f-strings
)


@dataclass(frozen=True, slots=True)
class Splice:
    """Bytes that go, from `start` to `end`, and what comes in their place."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One idiom made device-agnostic. It is no finding: one Change may settle several, or go along with another."""

    span: tuple[int, int]  # the expression that is shown to people
    splices: tuple[Splice, ...]
    covers: tuple[tuple[int, int], ...]  # findings that begin in one of these are settled
    whole: bool = False  # nothing inside is looked at any more
    is_device: str = ""  # the usual idiom that finds a device: "device" or "name" for what it gives
    torch: str = "2.6"  # the oldest torch that has what it uses

    def needs(self, word: str) -> bool:
        return any(word in splice.text for splice in self.splices)


def applied(body: bytes, splices: Iterable[Splice], names: Mapping[str, str]) -> bytes:
    """The bytes with all splices made. An insertion comes before a cut at the same place."""
    made, at = [], 0
    for splice in sorted(splices, key=lambda one: (one.start, one.end)):
        assert splice.start >= at, f"two changes of one place: {splice}"
        made += [body[at : splice.start], named(splice.text, names).encode()]
        at = splice.end
    return b"".join([*made, body[at:]])


def named(text: str, names: Mapping[str, str]) -> str:
    for word, name in names.items():
        text = text.replace(word, name)
    return text
