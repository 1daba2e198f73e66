"""Read a run's progress out of the lines that it prints anyway.

Asked:  which step, of how many, at which loss and speed?
Answer: the words that training scripts use: "step 120/500 | loss 2.3141 | 12,345 tok/s", "iter 10: loss 3.2, time 12ms",
        "epoch 1 step 10 loss=0.5".
Limits: a line counts only if it names a step or a loss. Nothing is asked of the script, so nothing is known of one that prints
        nothing.
"""

from __future__ import annotations

import math
import re

from forebay.centre.spec import Progress

_NUMBER = r"([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_SEPARATOR = r"[\"']?\s*[:=]?\s*\[?\s*"
_STEP = re.compile(
    r"\b(?:global[_ ])?(?:step|iter|iteration|it)s?\b" + _SEPARATOR + r"(\d[\d,]*)(?:\s*(?:/|of)\s*(\d[\d,]*))?", re.IGNORECASE
)
_LOSS = re.compile(r"(?<![A-Za-z])(?:train(?:ing)?[_ /])?loss\b(?:\s+is)?" + _SEPARATOR + _NUMBER, re.IGNORECASE)
_SPEED = re.compile(_NUMBER + r"\s*([kKM]?)\s*(?:tok|toks|tokens?)\s*(?:/|per\s+|\s+a\s+)\s*(?:s|sec|second)\b", re.IGNORECASE)
_NAMED_SPEED = re.compile(r"\b(?:tok(?:en)?s?[_/ ](?:per[_ ])?s(?:ec(?:ond)?)?|tps)\b[\"']?\s*[:=]\s*" + _NUMBER, re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
LONGEST = 1_000  # characters; a longer line is no progress line, and not worth the search


def read(line: str) -> Progress | None:
    """What the line says of the work, or None when it says nothing of it."""
    if len(line) > LONGEST or not any(character.isdigit() for character in line):
        return None
    step, loss = _STEP.search(line), _LOSS.search(line)
    if step is None and loss is None:
        return None
    return Progress(
        step=_whole(step[1]) if step else None,
        of=_whole(step[2]) if step and step[2] else None,
        loss=_real(loss[1]) if loss else None,
        tokens_per_s=_tokens_per_s(line),
        line=line.strip(),
    )


def _tokens_per_s(line: str) -> float | None:
    if found := _NAMED_SPEED.search(line):
        return _real(found[1])
    if found := _SPEED.search(line):
        value = _real(found[1])
        return None if value is None else value * _THOUSANDS[found[2].lower()]
    return None


def _whole(text: str) -> int:
    return int(text.replace(",", ""))


def _real(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
