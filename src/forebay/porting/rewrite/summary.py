"""Say in words what a rewrite settled and what it left.

Asked:  of how many findings are how many settled, and why aren't the others?
Answer: the counts, then the reasons, each with its places, the most frequent first.
Limits: it counts findings that tie the text to CUDA. Changes that merely go along with others aren't counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from forebay.porting.rewrite.rewritten import Rewritten

OLDEST = "2.6"  # torch.accelerator came with it
_MOST_PLACES = 4


def counts(files: Sequence[Rewritten]) -> tuple[int, int]:
    """Findings that were settled, and all."""
    settled = sum(edit.finding is not None for one in files for edit in one.edits)
    return settled, settled + sum(len(one.left) for one in files)


def left(files: Sequence[Rewritten]) -> list[tuple[int, str, str]]:
    """How often, why, and where: a line a reason."""
    reasons: dict[str, list[str]] = {}
    for one in files:
        for item in one.left:
            reasons.setdefault(item.reason, []).append(f"{item.finding.file}:{item.finding.line}")
    ordered = sorted(reasons.items(), key=lambda pair: -len(pair[1]))
    return [(len(places), why, _places(places)) for why, places in ordered]


def torch(files: Sequence[Rewritten]) -> str:
    """The oldest torch that the new text runs with; empty where nothing changes."""
    used = [one.torch for one in files if one.after != one.before]
    return max([OLDEST, *used], key=lambda version: [int(part) for part in version.split(".") if part]) if used else ""


def _places(places: list[str]) -> str:
    shown = list(dict.fromkeys(places))
    more = f" and {len(shown) - _MOST_PLACES} more" if len(shown) > _MOST_PLACES else ""
    return ", ".join(shown[:_MOST_PLACES]) + more
