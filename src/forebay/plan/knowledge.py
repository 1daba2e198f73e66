"""What a prediction rests on, and how wide it is.

Asked:  a kind of cards and a number format. Which Site prices plans there, and within which interval does the truth lie?
Answer: three tiers. Without any run: the chip's kernel tables, or others' carried over to its data sheet, stretched by what long
        jobs cost everywhere. With one measured run of the chip, format and release: stretched by that run's factor (`fit`). With
        a layer benchmark on one node: by that. Calibrations are dated files that name their release (`calibration`); the newest
        that fits is taken, and the answer says which.
Units:  factors of a step's seconds.
Limits: intervals are what leave-one-model-out predictions of public runs missed by (docs/plan.md); another site is another site.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

from forebay.codec import decode
from forebay.plan.calibration import Calibration
from forebay.plan.fit import UNCALIBRATED
from forebay.plan.framework import Framework, usual
from forebay.plan.kernels.known import LIKE, SAME, device_of, tier
from forebay.plan.network import links
from forebay.plan.passes import Site
from forebay.plan.pool import Cards

DATA_SHEET, TABLES, RUN, BENCHMARK = "data sheet", "kernel tables", "a measured run", "a layer benchmark"
# 80 % of held-out steps lie within these factors of the prediction (benchmarks/plan_accuracy.py prints how many do). A layer
# benchmark was compared with no long run yet: it is taken for as good as a run.
WITHIN = {DATA_SHEET: (0.80, 1.25), TABLES: (0.82, 1.22), RUN: (0.92, 1.09), BENCHMARK: (0.92, 1.09)}
# Mixtures of experts spread more: exchange, permuting and grouped products differ by release and are seldom published.
EXPERTS = 2.0  # times as far from the prediction, in logarithms


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A Site, and what it rests on."""

    site: Site
    tier: str
    said: str  # in words, with the release and the date

    def interval(self, seconds: float, experts: bool = False) -> tuple[float, float]:
        """Between which seconds four of five such steps lie."""
        low, high = within(self.tier, experts)
        return seconds * low, seconds * high

    def room(self, spare: float) -> float:
        """Bytes of a card's memory that a plan may fill where a share `spare` of it is kept free."""
        return self.site.device.memory_bytes * (1.0 - spare)


def within(name: str, experts: bool) -> tuple[float, float]:
    """The interval of a tier as factors of the prediction."""
    low, high = WITHIN[name]
    power = EXPERTS if experts else 1.0
    return low**power, high**power


def known(
    cards: Cards,
    number_format: str,
    software: Framework,
    calibrations: Iterable[Calibration] = (),
    imbalance: float = 1.0,
) -> Known:
    """The best that is known of these cards in this format. Raises BadInput where the chip lacks the format."""
    dev = device_of(cards)
    dev.peak(number_format)
    name = f"slower_{LIKE.get(number_format, number_format)}"
    # One's own before the shipped ones, whatever their dates; the same silicon's where the chip has none.
    subjects = (cards.chip, SAME.get(cards.chip, cards.chip))
    sources = [(own, subject) for own in (tuple(calibrations), shipped()) for subject in subjects]
    found_in = ([one for one in own if one.subject == subject and name in one.figures] for own, subject in sources)
    if fitting := next((some for some in found_in if some), []):
        best = max(fitting, key=lambda one: ("layer_benchmark" in one.figures, one.measured))
        found = BENCHMARK if "layer_benchmark" in best.figures else RUN
        slower, said = best.figures[name], _told(best, found, cards.chip)
    else:
        slower, found = UNCALIBRATED, tier(dev, number_format)
        said = f"{found}; no run of this chip in {number_format} was measured"
    software = usual(software, cards.chip, number_format)
    site = Site(device=dev, links=links(cards), framework=software, slower=slower, imbalance=imbalance)
    return Known(site=site, tier=found, said=said)


def _told(best: Calibration, found: str, chip: str) -> str:
    release = ", ".join(f"{key} {value}" for key, value in best.software.items())
    release += f" on {best.subject}" if best.subject != chip else ""
    if best in shipped():
        return f"{best.figures['runs']:,.0f} public runs of {release}, fitted on {best.measured}"
    return f"{found} of {release}, {best.measured}"


@cache
def shipped() -> tuple[Calibration, ...]:
    """Calibrations from public runs, made by `python benchmarks/plan_accuracy.py --write`."""
    text = (resources.files("forebay.plan") / "data" / "calibrations.json").read_text(encoding="utf-8")
    return tuple(decode(Calibration, one) for one in json.loads(text))
