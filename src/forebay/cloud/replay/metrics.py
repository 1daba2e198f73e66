"""The figures of a replay.

Asked:  how long did jobs take, how well was the pool used, and how fairly was it shared?
Answer: JCT is from arrival to end. Makespan is from the first arrival to the last end. Utilisation is card-time held over
        card-time there was, over the whole span and over the time in which some job waited; goodput counts only work that wasn't
        lost. A job's finish-time ratio is its JCT over the one in a pool that is shared equally at every moment (`fluid.py`).
        The static ratio is what Shockwave's artefact prints under that name, and so the one to hold against its published
        figures: JCT over the time alone on the cards, times the number of all jobs of the trace a card (if that is above 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forebay.cloud.replay.opening import EPOCH_NS
from forebay.cloud.replay.world import History
from forebay.units import NS_PER_S

UNFAIR = 1.05
LEAST_WAIT_NS = 600 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a replay comes to. Times in seconds."""

    policy: str
    jobs: int
    finished: int
    refused: int = 0  # jobs that this pool can never run
    jct_mean_s: float
    jct_p50_s: float
    jct_p90_s: float
    jct_p99_s: float
    jct_most_s: float
    wait_mean_s: float
    wait_p50_s: float
    wait_p99_s: float
    makespan_s: float
    utilisation: float
    utilisation_busy: float
    goodput: float
    stops: int
    moves: int
    lost_card_h: float
    lost_share: float  # of what was held
    ratio_worst: float | None = None  # finish-time ratio
    ratio_mean: float | None = None
    unfair: float | None = None  # share of the jobs whose ratio is over UNFAIR
    static_worst: float | None = None  # the same, as Shockwave reckons
    static_unfair: float | None = None
    foretold: int = 0  # jobs that waited, and of which it was said when they would start
    foretold_error_p50: float | None = None  # over the true wait, or over 10 minutes where that is less; of these jobs
    foretold_error_p90: float | None = None
    foretold_within: float | None = None  # share of them that started in the interval that was said
    foretold_error_all_p50: float | None = None  # the same of all jobs, where one that started at once has no error
    facts: int
    decisions: int
    cpu_s: float
    jobs_per_cpu_s: float


def figures(
    history: History, *, policy: str, cpu_s: float, refused: int = 0, fair_s: Mapping[str, float] | None = None
) -> Figures:
    """`fair_s`: by job, its time in an equally shared pool."""
    ended = [life for life in history.lives if life.end_ns >= 0 and life.phase == "succeeded"]
    jct = sorted(life.jct_ns / NS_PER_S for life in ended)
    wait = sorted((life.first_start_ns - life.arrival_ns) / NS_PER_S for life in history.lives if life.first_start_ns >= 0)
    ratios = [life.jct_ns / NS_PER_S / fair_s[life.traced.id] for life in ended] if fair_s is not None else []
    crowd = max(1.0, len(history.lives) / max(1, sum(history.cards.values())))
    static = [life.jct_ns / NS_PER_S / (crowd * life.traced.alone_s) for life in ended]
    errors = _errors(history)
    at_once = sum(life.first_start_ns == life.arrival_ns for life in history.lives)
    begin_ns = min((life.arrival_ns for life in history.lives), default=EPOCH_NS)
    end_ns = max((life.end_ns for life in ended), default=begin_ns)
    cards = sum(history.cards.values())
    held = sum(life.held_card_ns for life in history.lives)
    lost = sum(life.lost_card_ns for life in history.lives)
    all_ns = max(1, cards * (end_ns - begin_ns))
    return Figures(
        policy=policy,
        jobs=len(history.lives) + refused,
        finished=len(ended),
        refused=refused,
        jct_mean_s=_mean(jct),
        jct_p50_s=quantile(jct, 0.5),
        jct_p90_s=quantile(jct, 0.9),
        jct_p99_s=quantile(jct, 0.99),
        jct_most_s=jct[-1] if jct else 0.0,
        wait_mean_s=_mean(wait),
        wait_p50_s=quantile(wait, 0.5),
        wait_p99_s=quantile(wait, 0.99),
        makespan_s=(end_ns - begin_ns) / NS_PER_S,
        utilisation=held / all_ns,
        utilisation_busy=_busy(history, cards),
        goodput=(held - lost) / all_ns,
        stops=sum(life.stops for life in history.lives),
        moves=sum(life.moves for life in history.lives),
        lost_card_h=lost / NS_PER_S / 3600,
        lost_share=lost / held if held else 0.0,
        ratio_worst=max(ratios) if ratios else None,
        ratio_mean=_mean(ratios) if ratios else None,
        unfair=sum(ratio > UNFAIR for ratio in ratios) / len(ratios) if ratios else None,
        static_worst=max(static) if static else None,
        static_unfair=sum(ratio > UNFAIR for ratio in static) / len(static) if static else None,
        foretold=len(errors),
        foretold_error_p50=quantile(errors, 0.5) if errors else None,
        foretold_error_p90=quantile(errors, 0.9) if errors else None,
        foretold_within=_within(history) if errors else None,
        foretold_error_all_p50=quantile([0.0] * at_once + errors, 0.5) if errors else None,
        facts=history.facts,
        decisions=history.decisions,
        cpu_s=cpu_s,
        jobs_per_cpu_s=len(history.lives) / cpu_s if cpu_s else 0.0,
    )


def _errors(history: History) -> list[float]:
    """How wrong it was said when waiting jobs would start, in order of size."""
    return sorted(
        abs(life.foretold_ns - life.first_start_ns) / max(life.first_start_ns - life.arrival_ns, LEAST_WAIT_NS)
        for life in history.lives
        if life.foretold_ns >= 0 and life.first_start_ns >= 0
    )


def _within(history: History) -> float:
    told = [life for life in history.lives if life.foretold_ns >= 0 and life.first_start_ns >= 0]
    return sum(life.foretold_between_ns[0] <= life.first_start_ns <= life.foretold_between_ns[1] for life in told) / len(told)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was there."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _busy(history: History, cards: int) -> float:
    """Utilisation while some job waited."""
    held = busy = 0
    times, counts, waits = history.times, history.held, history.waiting
    for i in range(len(times) - 1):
        if waits[i]:
            lasts = times[i + 1] - times[i]
            held += counts[i] * lasts
            busy += lasts
    return held / (busy * cards) if busy else 0.0
