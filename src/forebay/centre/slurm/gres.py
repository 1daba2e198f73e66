"""Which chip of the catalogue a site means by its GRES. Pure.

Asked:  a site says "gpu:h100" or "npu:ascend910b": which chip is that?
Answer: what the operator's file says; else the one chip whose name, or product name, is the same but for dashes, spaces and the
        vendor's name. Where several could be meant, or none, it is Unsure: somebody has to say (`forebay centre join` asks), and
        until then the cards are left out.
Limits: names only. That the site's "h100" is no other card is the site's word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from forebay.centre.slurm.facts import Gres
from forebay.chips import catalogue
from forebay.chips.chip import Chip

NOT_CARDS = frozenset({"mps", "shard", "craynetwork", "nic", "hbm", "bandwidth", "tmpdisk", "ssd", "nvme", "lustre", "license"})
_VENDORS = ("nvidia", "tesla", "geforce", "quadro", "amd", "instinct", "huawei", "cambricon", "intel", "hygon", "moorethreads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """A GRES that could be several chips, or one that nobody knows."""

    gres: str  # "gpu:h100"
    candidates: tuple[str, ...]  # best first; may be empty
    nodes: tuple[str, ...] = ()  # that have it

    @property
    def question(self) -> str:
        meant = f" It may be {', '.join(self.candidates)}." if self.candidates else ""
        return f"Which chip is {self.gres} (on {self.nodes[0] if self.nodes else '?'} …)?{meant} Empty: not for Forebay."


def chip_of(gres: Gres, known: Mapping[str, str], features: tuple[str, ...] = ()) -> str | Unsure:
    """The chip's name; "" for what Forebay leaves alone. `known` is the operator's file: "gpu:h100" -> "h100-sxm"."""
    for key in (gres.key, gres.name):
        if key in known:
            return known[key]
    if gres.name.lower() in NOT_CARDS:
        return ""
    candidates = like(gres.model) if gres.model else ()
    hinted = tuple(name for name in candidates if any(_mentions(feature, name) for feature in features))
    if len(hinted) == 1:
        return hinted[0]
    if len(candidates) == 1:
        return candidates[0]
    return Unsure(gres=gres.key, candidates=tuple(filter(None, candidates)) or _by_features(features))


def like(model: str) -> tuple[str, ...]:
    """The chips that may be called so, the likeliest first. One alone is sure."""
    asked = _bare(model)
    exact = [chip.name for chip in catalogue.load().values() if asked in _names(chip)]
    reported = [name for word, name in catalogue.by_reported_name().items() if _bare(word) == asked]
    if found := tuple(dict.fromkeys(exact + reported)):
        return found[:1]
    if len(asked) < 3:
        return ()
    inside = [chip.name for chip in catalogue.load().values() if any(name.startswith(asked) for name in _names(chip))]
    # "nvidia_h100_80gb_hbm3_foo": the site says more than we do.
    wider = [
        chip.name for chip in catalogue.load().values() if any(asked.startswith(name) for name in _names(chip) if len(name) > 3)
    ]
    found = tuple(dict.fromkeys(inside + wider))
    return found if len(found) != 1 or inside else (*found, "")  # one that we only half recognise isn't sure


def _names(chip: Chip) -> tuple[str, ...]:
    bare = _bare(chip.name)
    return (bare,) if bare == _squeeze(chip.name) else (bare, _squeeze(chip.name))


def _by_features(features: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for feature in features for name in like(feature) if name))


def _mentions(feature: str, name: str) -> bool:
    """Whether a node's feature names this chip, or what sets it apart: "sxm" of "h100-sxm"."""
    return _bare(feature) == _bare(name) or _squeeze(feature) in [_squeeze(part) for part in name.split("-")[1:]]


def _squeeze(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _bare(text: str) -> str:
    """Without signs, and without the vendor's name in front."""
    squeezed = _squeeze(text)
    while vendor := next((word for word in _VENDORS if squeezed.startswith(word) and len(squeezed) > len(word) + 1), ""):
        squeezed = squeezed.removeprefix(vendor)
    return squeezed
