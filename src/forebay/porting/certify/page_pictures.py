"""The pictures of a scorecard's page, as inline SVG. Pure: figures in, text out."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forebay.chips.scorecard import ABSENT, LETTERS, Accuracy, Scorecard, worst
from forebay.porting.certify.page_words import WORDS, both
from forebay.porting.operators import family

TILE, GAP, LABEL, ACROSS = 14, 2, 190, 54
WIDTH = LABEL + ACROSS * (TILE + GAP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One ceiling, of one chip or of two."""

    name: str
    values: tuple[tuple[str, float], ...]  # chip, value
    sheet: float | None
    reference: float | None


def gauge(value: float, most: float) -> str:
    """The index as a ring; what testing the rest could add is drawn in grey."""
    radius, around = 56, 2 * math.pi * 56
    arcs = "".join(
        f'<circle class="ring {kind}" cx="70" cy="70" r="{radius}" stroke-dasharray="{around * share / 100:.1f} {around:.1f}" '
        f'transform="rotate(-90 70 70)"/>'
        for kind, share in (("most", most), ("", value))
        if share > 0
    )
    english, chinese = WORDS["index"]
    said = f'<tspan lang="en">{english}</tspan><tspan lang="zh">{chinese}</tspan>'
    return (
        f'<svg width="140" height="140" viewBox="0 0 140 140" role="img" aria-label="{value:.1f}">'
        f'<circle class="track" cx="70" cy="70" r="{radius}"/>{arcs}'
        f'<text class="big" x="70" y="76" text-anchor="middle">{value:.1f}</text>'
        f'<text class="soft" x="70" y="95" text-anchor="middle">{said}</text></svg>'
    )


def strip(counts: Mapping[str, int]) -> str:
    """All verdicts as one bar, best first, and their numbers."""
    total = sum(counts.values()) or 1
    drawn, at = [], 0.0
    for letter, count in counts.items():
        if count:
            drawn.append(f'<rect class="{letter}" x="{at:.2f}" y="0" width="{600 * count / total:.2f}" height="14"/>')
            at += 600 * count / total
    told = "".join(
        f'<span><i class="dot {letter}"></i>{both(LETTERS[letter])} {count:,}</span>' for letter, count in counts.items() if count
    )
    bar = '<svg class="strip" width="600" height="14" viewBox="0 0 600 14" preserveAspectRatio="none">'
    return f'{bar}{"".join(drawn)}</svg><div class="legend">{told}</div>'


def legend() -> str:
    return (
        '<div class="legend">'
        + "".join(f'<span><i class="dot {x}"></i>{both(word)}</span>' for x, word in LETTERS.items())
        + "</div>"
    )


def tiles(card: Scorecard) -> str:
    """A tile for each operator, by family; families with the most tiles first."""
    families: dict[str, list[str]] = {}
    for name, letters in card.operators.items():
        if letters.strip(ABSENT):
            families.setdefault(family(name), []).append(name)
    drawn, y = [], 0
    for title, names in sorted(families.items(), key=lambda pair: (pair[0] == "other", -len(pair[1]), pair[0])):
        good = sum(worst(card.operators[name]) in "sbn" for name in names)
        drawn.append(f'<text x="0" y="{y + 11}">{html.escape(title)}</text>')
        drawn.append(f'<text class="soft" x="{LABEL - 12}" y="{y + 11}" text-anchor="end">{good}/{len(names)}</text>')
        for at, name in enumerate(names):
            drawn.append(_tile(card, name, LABEL + at % ACROSS * (TILE + GAP), y + at // ACROSS * (TILE + GAP)))
        y += math.ceil(len(names) / ACROSS) * (TILE + GAP) + 7
    return f'<svg width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img">{"".join(drawn)}</svg>'


def _tile(card: Scorecard, name: str, x: int, y: int) -> str:
    """One colour where all cells agree; else a column for each format, forward above backward."""
    letters = card.operators[name]
    told = set(letters) - {ABSENT}
    said = "; ".join(
        f"{column}: {LETTERS[letter]}" for column, letter in zip(card.columns, letters, strict=True) if letter != ABSENT
    )
    title = f"<title>{html.escape(name)}&#10;{said if len(told) > 1 else LETTERS[letters.strip(ABSENT)[0]]}</title>"
    if len(told) == 1:
        return f'<rect class="{told.pop()}" x="{x}" y="{y}" width="{TILE}" height="{TILE}" rx="2">{title}</rect>'
    asked = [(column, letter) for column, letter in zip(card.columns, letters, strict=True) if letter != ABSENT]
    formats = list(dict.fromkeys(column.partition(" ")[0] for column, _ in asked))
    wide, high = TILE / len(formats), TILE / 2 if any(column.endswith(" backward") for column, _ in asked) else TILE
    cells = [f'<rect class="none" x="{x}" y="{y}" width="{TILE}" height="{TILE}" rx="2"/>']
    for column, letter in asked:
        number_format, _, direction = column.partition(" ")
        left, top = x + formats.index(number_format) * wide, y + (high if direction == "backward" else 0)
        cells.append(f'<rect class="{letter}" x="{left:.2f}" y="{top:.2f}" width="{wide:.2f}" height="{high:.2f}"/>')
    return f"<g>{title}{''.join(cells)}</g>"


def histogram(found: Accuracy) -> str:
    """How many operators are how many times as far from the truth as on the reference chip."""
    shown = list(found.histogram.items())
    tallest = max(count for _, count in shown) or 1
    wide, high, foot = 470 / len(shown), 150, 34
    drawn = []
    for at, (edge, count) in enumerate(shown):
        tall = high * math.log1p(count) / math.log1p(tallest)
        x = at * wide
        good = edge != "more" and float(edge) <= 1
        place = f'x="{x + 2:.1f}" y="{16 + high - tall:.1f}" width="{wide - 4:.1f}" height="{tall:.1f}"'
        drawn.append(f'<rect class="{"s" if good else "h"}" {place} rx="2"><title>≤ {edge}: {count}</title></rect>')
        if count:
            drawn.append(
                f'<text class="soft" x="{x + wide / 2:.1f}" y="{11 + high - tall:.1f}" text-anchor="middle">{count}</text>'
            )
        label = "…" if edge == "more" else ("⅛", "¼", "½")[at] if at < 3 else edge
        drawn.append(f'<text class="soft" x="{x + wide / 2:.1f}" y="{16 + high + 16}" text-anchor="middle">{label}</text>')
    english, chinese = WORDS["median"]
    drawn.append(f'<line class="axis" x1="0" x2="470" y1="{16 + high}" y2="{16 + high}"/>')
    drawn.append(
        f'<text x="470" y="12" text-anchor="end"><tspan lang="en">{english}</tspan><tspan lang="zh">{chinese}</tspan> '
        f"{found.median:.3g} · p90 {found.p90:.3g} · n {found.compared:,}</text>"
    )
    return f'<svg width="470" height="{16 + high + foot}" viewBox="0 0 470 {16 + high + foot}" role="img">{"".join(drawn)}</svg>'


def bars(shown: Sequence[Bar], unit: Callable[[float], str]) -> str:
    """Horizontal bars on one scale; a line where the sheet ends, a diamond where the reference chip is."""
    if not shown:
        return ""
    most = max(value for bar in shown for value in (*(v for _, v in bar.values), bar.sheet or 0, bar.reference or 0))
    left, wide, words, y = 140, 190, 346, 0
    drawn = []
    for bar in shown:
        high = 13 * len(bar.values)
        drawn.append(f'<text x="0" y="{y + high / 2 + 3:.1f}">{html.escape(bar.name)}</text>')
        for at, (chip, value) in enumerate(bar.values):
            long, top, kind = max(1.5, wide * value / most), y + at * 13, "two-bar" if at else "one"
            title = f"<title>{html.escape(chip)}: {unit(value)}</title>"
            drawn.append(f'<rect class="{kind}" x="{left}" y="{top}" width="{long:.1f}" height="11" rx="2">{title}</rect>')
            against = (("|", bar.sheet), ("◆", bar.reference)) if at == 0 else ()
            shares = "".join(f" {sign} {100 * value / whole:.0f} %" for sign, whole in against if whole)
            drawn.append(f'<text class="soft" x="{words}" y="{top + 10}">{unit(value)}{shares}</text>')
        if bar.sheet:
            x = left + wide * bar.sheet / most
            drawn.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 3}" y2="{y + high + 1}"/>')
        if bar.reference:
            x, middle = left + wide * bar.reference / most, y + high / 2 - 1
            drawn.append(f'<path class="ref" d="M{x:.1f} {middle - 5:.1f}l4 5l-4 5l-4 -5z"/>')
        y += high + 9
    return f'<svg width="520" height="{y}" viewBox="0 -4 520 {y}" role="img">{"".join(drawn)}</svg>'
