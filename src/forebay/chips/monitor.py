"""How busy a vendor's monitor says its cards are. Pure: command lines, and what their answers mean.

Asked:  for what share of the time just past was each card of this machine at work?
Answer: what nvidia-smi, npu-smi, rocm-smi, hy-smi, mx-smi and cnmon call utilisation, by the index that they give a card. For
        NVIDIA that is the share of a sampling period in which at least one kernel ran; the others document less, and are taken
        at their word. A chip whose monitor isn't here isn't measured, and everybody who reads of it is told so.
Limits: only nvidia-smi promises its format. A line that can't be read is left out; a card that isn't named isn't measured. A card
        that waits in a collective is at work by every vendor's count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_CSV = re.compile(r"^\s*(\d+)\s*,\s*(\d+)\s*%?\s*$", re.MULTILINE)
_ASCEND_CARD = re.compile(r"^\|\s*(\d+)\s+\S+\s*\|\s*(?:OK|Warning|Alarm|Critical|UNKNOWN)\b")
_ASCEND_USE = re.compile(r"^\|\s*\d+(?:\s+\d+)?\s*\|\s*[0-9a-fA-F]{4}:[0-9a-fA-F:.]+\s*\|\s*(\d+)\s+")
_ROCM_JSON = re.compile(r'"card(\d+)"\s*:\s*\{[^{}]*?"\w+ use \(%\)"\s*:\s*"?(\d+)')
_ROCM_TEXT = re.compile(r"^\s*\w+\[(\d+)\]\s*:\s*\w+ use \(%\)\s*:\s*(\d+)", re.MULTILINE)
_METAX_CARD = re.compile(r"^\s*GPU\s*#?\s*(\d+)\b(?!\s*[:%])", re.IGNORECASE)
_METAX_USE = re.compile(r"^\s*GPU\s*:\s*(\d+)\s*%", re.IGNORECASE)
_CAMBRICON_CARD = re.compile(r"^\s*Card\s+(\d+)\b")
_CAMBRICON_USE = re.compile(r"^\s*MLU Average\s*:\s*(\d+)\s*%")


@dataclass(frozen=True, slots=True)
class Monitor:
    """A command, and the percentages in its answer by card."""

    ask: tuple[str, ...]
    read: Callable[[str], Mapping[int, int]]


def busy(monitor: str, text: str) -> dict[int, float]:
    """Card -> the share of the time in which it was at work, between 0 and 1."""
    return {card: min(percent, 100) / 100 for card, percent in MONITORS[monitor].read(text).items()}


def _pairs(*patterns: re.Pattern[str]) -> Callable[[str], dict[int, int]]:
    """Card and percentage stand on one line, or near each other."""

    def read(text: str) -> dict[int, int]:
        return {int(card): int(percent) for pattern in patterns for card, percent in pattern.findall(text)}

    return read


def _headed(card_line: re.Pattern[str], use_line: re.Pattern[str]) -> Callable[[str], dict[int, int]]:
    """A line says which card the lines after it are about."""

    def read(text: str) -> dict[int, int]:
        found: dict[int, int] = {}
        card: int | None = None
        for line in text.splitlines():
            if use := use_line.match(line):
                if card is not None:
                    found.setdefault(card, int(use[1]))
            elif head := card_line.match(line):
                card = int(head[1])
        return found

    return read


# By the name of the monitor in the catalogue. AMD's new one prints no format that is promised, so its older one is asked.
MONITORS: Mapping[str, Monitor] = {
    "nvidia-smi": Monitor(("nvidia-smi", "--query-gpu=index,utilization.gpu", "--format=csv,noheader,nounits"), _pairs(_CSV)),
    "npu-smi": Monitor(("npu-smi", "info"), _headed(_ASCEND_CARD, _ASCEND_USE)),
    "amd-smi": Monitor(("rocm-smi", "--showuse", "--json"), _pairs(_ROCM_JSON, _ROCM_TEXT)),
    "hy-smi": Monitor(("hy-smi", "--showuse", "--json"), _pairs(_ROCM_JSON, _ROCM_TEXT)),
    "mx-smi": Monitor(("mx-smi", "--show-usage"), _headed(_METAX_CARD, _METAX_USE)),
    "cnmon": Monitor(("cnmon", "info"), _headed(_CAMBRICON_CARD, _CAMBRICON_USE)),
}
