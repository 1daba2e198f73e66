"""Say whether an agent of another Forebay can be worked with: its minor version may differ by one."""

from __future__ import annotations

import re

from forebay import __version__
from forebay.errors import Refused

UNTOLD = "0.1.0"  # what agents are that don't say it


def must_fit(theirs: str, ours: str = __version__) -> None:
    """Raise Refused when an agent is too old or too new for this cloud."""
    them, us = _numbers(theirs), _numbers(ours)
    if them and us and them[0] == us[0] and abs(them[1] - us[1]) <= 1:
        return
    older = "the centre's" if not them or (us and them < us) else "the cloud's"
    raise Refused(
        "The agent and the cloud are too far apart.",
        asked=f"an agent of Forebay {theirs:.40}",
        found=f"the cloud is Forebay {ours}; one minor version apart works",
        hint=f"install a newer Forebay on {older} side",
    )


def _numbers(version: str) -> tuple[int, int] | None:
    found = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    return (int(found[1]), int(found[2])) if found else None
