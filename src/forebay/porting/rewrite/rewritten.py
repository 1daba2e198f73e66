"""The nouns of rewriting: Edit, Left, Rewritten."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.porting.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One finding that the rewrite settled. Lines that it added for all edits of a file (imports, DEVICE) are no edits."""

    finding: Finding | None  # in the text as it was; None: it goes along with others, such as `.to(rank)`
    before: str  # the expression as it was
    after: str  # as it is now


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One finding that the rewrite left to a person, and why."""

    finding: Finding
    reason: str  # in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """One file before and after. Making it wrote nothing to disk."""

    path: str  # relative to the folder that was asked for
    before: bytes
    after: bytes  # equal to `before` where nothing was to be done
    edits: tuple[Edit, ...]
    left: tuple[Left, ...]
    splices: tuple[tuple[int, int, bytes], ...] = ()  # all that was cut from `before`, in order, and what came in its place
    torch: str = ""  # the oldest torch that has all that the new text uses
