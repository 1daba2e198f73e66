"""Why a job waits and when it is likely to start, in words. Pure.

words(job["why"])   # "waits: it wants 8 x h100-sxm; 3 of 64 are free · likely to start in 21 min (5 min to 1 h 30 min)"
short(job["why"])   # "busy, in 21 min"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOON_S = 10.0

Told = Mapping[str, Any]


def words(why: Told) -> str:
    start = why["start"]
    if start is None:
        return f"waits: {why['text']} · nobody can say when it starts"
    likely = f"likely to start {_in(start['likely_s'])}"
    if rough(start["soonest_s"]) == rough(start["latest_s"]):
        return f"waits: {why['text']} · {likely}"
    return f"waits: {why['text']} · {likely} ({rough(start['soonest_s'])} to {rough(start['latest_s'])})"


def short(why: Told) -> str:
    start = why["start"]
    return str(why["constraint"]) + (f", {_in(start['likely_s'])}" if start else "")


def rough(seconds: float) -> str:
    """As a forecast deserves: "now", "40 s", "21 min", "1 h 30 min", "3 d 4 h"."""
    if seconds < SOON_S:
        return "now"
    if seconds < 60:
        return f"{round(seconds, -1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes and hours < 10 else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours and days < 10 else "")


def _in(seconds: float) -> str:
    return "any moment" if seconds < SOON_S else f"in {rough(seconds)}"
