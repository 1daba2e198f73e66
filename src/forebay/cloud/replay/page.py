"""A replay as one HTML page that needs nothing else: a table, how JCTs are distributed, cards in use, policy beside policy.

Pure: outcomes in, text out. The look follows the demo's page.
"""

from __future__ import annotations

import html
import math
from bisect import bisect_right
from collections.abc import Sequence

from forebay.cloud.replay.metrics import Figures
from forebay.cloud.replay.opening import EPOCH_NS
from forebay.cloud.replay.run import Outcome
from forebay.cloud.replay.world import History
from forebay.units import NS_PER_S, show_seconds

WIDTH, HEIGHT, MARGIN = 860, 320, 48
STRIP = 120  # height of one policy's cards in use
COLOURS = ("#1f6fb4", "#d1495b", "#2a9d8f", "#b8860b", "#7a5195", "#5f6b73")
BINS = 400
TICKS_S = (1, 10, 60, 300, 1800, 2 * 3600, 6 * 3600, 24 * 3600, 96 * 3600, 384 * 3600, 1536 * 3600)

COLUMNS = (
    "policy", "JCT average", "p50", "p90", "p99", "waiting", "makespan", "utilisation", "while some wait", "goodput",
    "stops", "lost", "worst ratio", "over 1.05",
)  # fmt: skip


def row(figures: Figures) -> list[str]:
    """The figures of a policy in words, under COLUMNS."""
    f = figures
    return [
        f.policy,
        *(show_seconds(s) for s in (f.jct_mean_s, f.jct_p50_s, f.jct_p90_s, f.jct_p99_s, f.wait_mean_s, f.makespan_s)),
        f"{f.utilisation:.1%}",
        f"{f.utilisation_busy:.1%}",
        f"{f.goodput:.1%}",
        f"{f.stops:,}",
        f"{f.lost_share:.1%}",
        "" if f.ratio_worst is None else f"{f.ratio_worst:.2f}",
        "" if f.unfair is None else f"{f.unfair:.1%}",
    ]


def page(title: str, notes: Sequence[str], outcomes: Sequence[Outcome]) -> str:
    head = "".join(f"<th{' class=n' if i else ''}>{html.escape(name)}" for i, name in enumerate(COLUMNS))
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if i else ''}>" + (_swatch(place) if not i else "") + html.escape(cell)
            for i, cell in enumerate(row(outcome.figures))
        )
        for place, outcome in enumerate(outcomes)
    )
    said = "".join(f"<li>{html.escape(note)}" for note in notes)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Replay: {html.escape(title)}</title>
<style>
 body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #1b2733;
 background: #fff }}
 table {{ border-collapse: collapse; width: 100%; font-size: 13px }}
 td, th {{ text-align: left; padding: .25em .4em; border-bottom: 1px solid #dde3e8; vertical-align: top }}
 td {{ white-space: nowrap }}
 .n {{ text-align: right; font-variant-numeric: tabular-nums }} svg {{ width: 100%; height: auto }}
 .c {{ display: inline-block; width: .8em; height: .8em; margin-right: .4em }}
</style>
<h1>Replay of {html.escape(title)}</h1>
<ul>{said}</ul>
<table><tr>{head}</tr>{rows}</table>
<h2>How long jobs took</h2>
<p>Share of the jobs that took no longer than this, from arrival to end. Further left is better.</p>
{distribution(outcomes)}
<h2>Cards in use</h2>
<p>Of all cards, over the time of the replay; the same scales for all.</p>
{"".join(strip(place, outcome, _end_ns(outcomes)) for place, outcome in enumerate(outcomes))}
</html>
"""


def _swatch(place: int) -> str:
    return f'<span class=c style="background:{COLOURS[place % len(COLOURS)]}"></span>'


def distribution(outcomes: Sequence[Outcome]) -> str:
    """The distribution of JCTs as SVG, a line a policy, over a logarithmic axis of seconds."""
    lists = [jcts_s(outcome.history) for outcome in outcomes]
    everything = [s for one in lists for s in (one[:1] + one[-1:])]
    low, high = max(1.0, min(everything, default=1.0)), max(10.0, *everything, 10.0)

    def x(seconds: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * math.log(max(seconds, low) / low) / math.log(high / low)

    def y(share: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="distribution of job completion times">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_line(MARGIN, y(share), WIDTH - MARGIN, y(share)))
        parts.append(_text(MARGIN - 6, y(share) + 4, f"{share:.0%}", "end"))
    for tick in TICKS_S:
        if low <= tick <= high:
            parts.append(_line(x(tick), y(0), x(tick), y(1)))
            parts.append(_text(x(tick), HEIGHT - MARGIN + 16, show_seconds(tick), "middle"))
    for place, jcts in enumerate(lists):
        points = []
        for step in range(BINS + 1):
            seconds = low * (high / low) ** (step / BINS)
            points.append(f"{x(seconds):.1f},{y(bisect_right(jcts, seconds * (1 + 1e-9)) / max(1, len(jcts))):.1f}")
        colour = COLOURS[place % len(COLOURS)]
        name = html.escape(outcomes[place].figures.policy)
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"><title>{name}</title>'
        )
        parts.append("</polyline>")
    return "".join([*parts, "</svg>"])


def strip(place: int, outcome: Outcome, end_ns: int) -> str:
    """The cards in use under one policy, over time."""
    cards = max(1, sum(outcome.history.cards.values()))
    shares = [held / cards for held in in_use(outcome.history, BINS, end_ns)]
    colour = COLOURS[place % len(COLOURS)]

    def y(share: float) -> float:
        return STRIP - 16 - (STRIP - 36) * share

    step = (WIDTH - 2 * MARGIN) / BINS
    points = " ".join(
        f"{MARGIN + i * step:.1f},{y(s):.1f} {MARGIN + (i + 1) * step:.1f},{y(s):.1f}" for i, s in enumerate(shares)
    )
    name = html.escape(outcome.figures.policy)
    return "".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {STRIP}" role="img" aria-label="cards in use, {name}">',
            *(_line(MARGIN, y(share), WIDTH - MARGIN, y(share)) for share in (0.0, 0.5, 1.0)),
            _text(MARGIN - 6, y(1) + 4, "100%", "end"),
            _text(MARGIN - 6, y(0) + 4, "0%", "end"),
            f'<polygon points="{MARGIN},{y(0):.1f} {points} {WIDTH - MARGIN},{y(0):.1f}" fill="{colour}" fill-opacity="0.35"/>',
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>',
            _text(MARGIN, 14, name, "start"),
            _text(WIDTH - MARGIN, STRIP - 2, show_seconds((end_ns - EPOCH_NS) / NS_PER_S), "end"),
            "</svg>",
        ]
    )


def jcts_s(history: History) -> list[float]:
    """In order of size."""
    return sorted(life.jct_ns / NS_PER_S for life in history.lives if life.end_ns >= 0)


def in_use(history: History, bins: int, end_ns: int = 0) -> list[float]:
    """Cards held on average in each of so many equal parts of the time from the beginning to `end_ns` (0: to the last event)."""
    times, held = history.times, history.held
    end_ns = end_ns or (times[-1] if times else EPOCH_NS + 1)
    width = max(1, end_ns - EPOCH_NS) / bins
    sums = [0.0] * bins
    for i in range(len(times) - 1):
        if not held[i]:
            continue
        at, to = (times[i] - EPOCH_NS) / width, (times[i + 1] - EPOCH_NS) / width
        while at < to:
            bin_ = min(bins - 1, int(at))
            until = to if bin_ == bins - 1 else min(to, bin_ + 1)
            sums[bin_] += held[i] * (until - at)
            at = until
    return sums


def _end_ns(outcomes: Sequence[Outcome]) -> int:
    return max((outcome.history.times[-1] for outcome in outcomes if outcome.history.times), default=EPOCH_NS + 1)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e3e8ec"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12">{words}</text>'
