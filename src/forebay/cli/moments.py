"""Moments as people say them: "7d" (ago), "2026-11", "2026-11-29", "2026-11-29 08:00"."""

from __future__ import annotations

import re
from datetime import datetime

from forebay.errors import BadInput
from forebay.units import NS_PER_S, parse_seconds


def past_ns(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970 of a moment in the past, by this machine's clock and zone; "7d" is seven days ago."""
    if text == "now":
        return now_ns
    if re.fullmatch(r"\d{4}-\d{2}", text):
        text += "-01"
    if re.match(r"\d{4}-", text):
        return date_ns(text)
    return max(0, now_ns - int(parse_seconds(text.lstrip("-")) * NS_PER_S))


def date_ns(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp()) * NS_PER_S
    except (ValueError, OverflowError, OSError):
        raise BadInput("That is no moment.", asked=text, hint="7d (ago), 2026-11, 2026-11-29 or 2026-11-29 08:00") from None


def shown(ns: int) -> str:
    """The second in which a moment lies, by this machine's zone."""
    return f"{datetime.fromtimestamp(ns / NS_PER_S):%Y-%m-%d %H:%M:%S}"
