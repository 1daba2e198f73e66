"""What the demo found out, and its page of results. Pure: lines and answers in, HTML out."""

from __future__ import annotations

import html
import re
import statistics
from dataclasses import dataclass, field
from typing import Any

from forebay.centre.progress import read
from forebay.units import NS_PER_S, show_money

WIDTH, HEIGHT, MARGIN = 860, 320, 48
UNPRINTABLE = re.compile(r"[^\x20-\x7e\n\t]")


@dataclass(frozen=True, slots=True)
class Point:
    """One progress line of the training."""

    attempt: int
    step: int
    loss: float
    tokens_per_s: float
    at_ns: int


@dataclass
class Results:
    """Filled step by step while the demo goes on."""

    chip: str = ""
    cards: int = 0
    carrier: str = ""
    job: str = ""
    attempts: int = 0
    unigram_nats: float = 0.0
    killed_attempt: int = 0  # 0: none was
    killed_at_step: int = 0
    points: list[Point] = field(default_factory=list)
    bill: dict[str, Any] = field(default_factory=dict)
    story: list[dict[str, Any]] = field(default_factory=list)
    sample: str = ""

    def note(self, line: dict[str, Any]) -> Point | None:
        """Remember a printed line, if it tells of progress."""
        progress = read(line["text"])
        if progress is None or progress.step is None or progress.loss is None or progress.tokens_per_s is None:
            return None
        point = Point(int(line["run"].rpartition("-")[2]), progress.step, progress.loss, progress.tokens_per_s, line["t_ns"])
        self.points.append(point)
        return point

    @property
    def first_loss(self) -> float:
        return self.points[0].loss if self.points else float("nan")

    @property
    def final_loss(self) -> float:
        """The mean of the last five lines, because single batches are noisy."""
        return statistics.fmean(point.loss for point in self.points[-5:]) if self.points else float("inf")

    @property
    def median_tokens_per_s(self) -> float:
        return statistics.median(point.tokens_per_s for point in self.points) if self.points else 0.0

    @property
    def resumed_at_step(self) -> int:
        return next((point.step for point in self.points if point.attempt > self.killed_attempt), 0)

    @property
    def back_after_s(self) -> float:
        """From the last progress line before the kill to the first one after it."""
        before = [point.at_ns for point in self.points if point.attempt == self.killed_attempt]
        after = [point.at_ns for point in self.points if point.attempt > self.killed_attempt]
        return (after[0] - before[-1]) / NS_PER_S if before and after else float("nan")

    @property
    def cost_line(self) -> str:
        bill = self.bill
        if not bill:
            return ""
        lost = (
            f"{bill['lost_card_ns'] / NS_PER_S:.3f} of them lost by the kill ({show_money(bill['lost_micro'], bill['currency'])})"
        )
        return f"{show_money(bill['cost_micro'], bill['currency'])} for {bill['card_ns'] / NS_PER_S:.3f} card-seconds, {lost}"


def page(r: Results) -> str:
    """One HTML page that needs nothing else."""
    events = "".join(
        f"<tr><td>+{(event['at_ns'] - r.story[0]['at_ns']) / NS_PER_S:.2f} s</td><td>{html.escape(event['by'])}</td>"
        f"<td>{html.escape(event['kind'])}</td><td>{html.escape(event['text'])}</td></tr>"
        for event in r.story
    )
    lines = "".join(
        f"<tr><td>{html.escape(line['run'])}</td><td>{line['cards']} x {html.escape(line['chip'])}</td>"
        f"<td class=n>{line['held_ns'] / NS_PER_S:.3f}</td><td class=n>{line['cards'] * line['lost_ns'] / NS_PER_S:.3f}</td>"
        f"<td class=n>{show_money(line['cost_micro'], r.bill['currency'])}</td><td>{html.escape(line['outcome'])}</td></tr>"
        for line in r.bill.get("lines", [])
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Forebay demo</title>
<style>
 body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em; color: #1b2733 }}
 table {{ border-collapse: collapse; width: 100% }}
 td, th {{ text-align: left; padding: .25em .6em; border-bottom: 1px solid #dde3e8;
 vertical-align: top }}
 td:first-child {{ white-space: nowrap }}
 .n {{ text-align: right; font-variant-numeric: tabular-nums }} pre {{ background: #f2f5f7; padding: 1em;
 overflow: auto }} svg {{ width: 100%; height: auto }} dt {{ font-weight: 600 }} dd {{ margin: 0 0 .5em 0 }}
</style>
<h1>A script written for CUDA went through the pool</h1>
<dl>
<dt>Ran on</dt><dd>{r.cards} x {html.escape(r.chip)}; CUDA's words were carried by: {html.escape(r.carrier)}</dd>
<dt>Loss</dt><dd>{r.first_loss:.3f} to {r.final_loss:.3f} nats a byte; letter frequencies alone reach {r.unigram_nats:.3f}</dd>
<dt>Killed</dt><dd>with SIGKILL at step {r.killed_at_step}; trained again {r.back_after_s:.1f} s later, from its checkpoint</dd>
<dt>Cost</dt><dd>{html.escape(r.cost_line)}</dd>
</dl>
<h2>Loss</h2>
{plot(r)}
<h2>Its life</h2>
<table><tr><th>when<th>by<th>event<th>what</tr>{events}</table>
<h2>Its bill</h2>
<table><tr><th>run<th>cards<th class=n>held s<th class=n>lost card-s<th class=n>cost<th>outcome</tr>{lines}</table>
<h2>What the model writes</h2>
<pre>{html.escape(UNPRINTABLE.sub("·", r.sample))}</pre>
</html>
"""


def plot(r: Results) -> str:
    """Loss over steps as SVG, a line an attempt, with the unigram bound."""
    if not r.points:
        return ""
    steps = max(point.step for point in r.points)
    low, high = 0.0, max(max(point.loss for point in r.points), r.unigram_nats)

    def x(step: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * step / steps

    def y(loss: float) -> float:
        return HEIGHT - MARGIN + (2 * MARGIN - HEIGHT) * (loss - low) / (high - low)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="loss over steps">']
    for tick in range(int(high) + 1):
        parts.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#e3e8ec"/>')
        parts.append(f'<text x="{MARGIN - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" font-size="12">{tick}</text>')
    bound = y(r.unigram_nats)
    parts.append(
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{bound:.1f}" y2="{bound:.1f}" stroke="#888" stroke-dasharray="6 4"/>'
    )
    parts.append(
        f'<text x="{WIDTH - MARGIN}" y="{bound - 6:.1f}" text-anchor="end" font-size="12" fill="#666">letter frequencies</text>'
    )
    for attempt, colour in ((1, "#1f77b4"), (2, "#d1495b"), (3, "#2a9d8f")):
        path = " ".join(f"{x(point.step):.1f},{y(point.loss):.1f}" for point in r.points if point.attempt == attempt)
        if path:
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    if r.killed_at_step:
        at = x(r.killed_at_step)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{MARGIN}" y2="{HEIGHT - MARGIN}" stroke="#d1495b" stroke-dasharray="2 3"/>'
        )
        parts.append(f'<text x="{at + 5:.1f}" y="{MARGIN + 4}" font-size="12" fill="#d1495b">kill -9</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle" font-size="12">steps, 0 to {steps}</text></svg>')
    return "".join(parts)
