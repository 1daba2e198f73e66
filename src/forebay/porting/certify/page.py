"""The page of a scorecard: one HTML file with pictures, to send to a colleague. Pure: cards in, text out.

Asked:  what does this chip run, how exactly, how fast, and how does it compare with another?
Answer: the index, a map with a tile for each operator, the distances from the truth, the ceilings beside the sheet and the
        reference, the work that is left. Two cards are drawn under each other, and where they differ is listed.
Limits: nothing is loaded from elsewhere; headings are in English and Chinese, names of operators and reasons as torch has them.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from forebay.chips.chip import Chip
from forebay.chips.inclusiveness import CREDIT, credit, effective, index
from forebay.chips.scorecard import ABSENT, LETTERS, SIMULATED, USABLE, Ceiling, Scorecard, worst
from forebay.chips.use import Use
from forebay.porting.certify import page_pictures as pictures
from forebay.porting.certify.ceilings import nominal
from forebay.porting.certify.page_style import SCRIPT, STYLE
from forebay.porting.certify.page_words import WORDS, both
from forebay.units import show_bytes_per_s, show_flop_per_s

_MOST_ROWS, _MOST_DIFFERENCES = 120, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A card with what is needed to judge it."""

    card: Scorecard
    chip: Chip | None  # of the catalogue, for its sheet

    @property
    def title(self) -> str:
        return self.chip.title if self.chip else self.card.device or self.card.chip


def page(shown: Sequence[Shown], use: Use, reference: Scorecard | None = None) -> str:
    """The page of one card, or of two side by side."""
    names = " · ".join(one.card.chip for one in shown)
    sections = [
        _head(shown, use),
        _section("map", "".join(_map(one, len(shown) > 1) for one in shown) + pictures.legend()),
        _section("differ", _differences(shown[0], shown[1], use)) if len(shown) > 1 else "",
        _section("accuracy", "".join(_accuracy(one, len(shown) > 1) for one in shown)),
        _section("ceilings", _ceilings(shown, reference)),
        _section("work", "".join(_work(one, use, len(shown) > 1) for one in shown)),
        _section("made", "".join(_made(one) for one in shown) + both("formula", "p", "small")),
    ]
    return f"""<!doctype html>
<html lang="en" class="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(names)} · Forebay scorecard</title><style>{STYLE}</style></head>
<body><nav><button id="tongue" type="button">中文</button>
<button id="light" type="button" aria-label="light or dark">◐</button></nav>
<main>{"".join(sections)}</main><script>{SCRIPT}</script></body></html>
"""


def _head(shown: Sequence[Shown], use: Use) -> str:
    cards = "".join(f'<article class="card">{_identity(one)}{_figures(one, use)}{_counts(one.card)}</article>' for one in shown)
    return f'<header><p class="kicker">Forebay · {both("kicker")}</p><div class="cards">{cards}</div></header>'


def _identity(one: Shown) -> str:
    card = one.card
    badge = both("simulated" if card.stands == SIMULATED else "measured", "span", f"badge of-{card.stands}")
    device = f"{_text(card.device)} · " if card.device and card.device != one.title else ""
    torch = f" · torch {_text(card.software['torch'])}" if "torch" in card.software else ""
    part = both(card.mode, "span", "badge of-simulated") if card.mode in ("smoke", "part") else ""
    about = f"{_text(one.title)}<br>{device}{_text(card.measured_on)}{torch}"
    return f'<h1>{_text(card.chip)} {badge}{part}</h1><p class="sub">{about}</p>'


def _figures(one: Shown, use: Use) -> str:
    found, work = index(one.card, use), effective(one.card, use)
    if found is None:
        return both("nothing", "p", "small")
    band = f"{found.value:.1f} – {found.most:.1f}" if found.most - found.value >= 0.05 else f"{found.value:.1f}"
    entries = f" <small>/ {one.card.entries}</small>" if one.card.entries else ""
    entries = f" <small>/ {one.card.entries}</small>" if one.card.entries else ""
    rows = [
        ("unweighted", f"{found.unweighted:.1f}"),
        ("band", band),
        ("operators", f"{found.operators}{entries}"),
        ("usable", f"{sum(set(letters) <= USABLE | {ABSENT} for letters in one.card.operators.values())}"),
    ]
    if work is not None:
        rows.append(("effective", f"{show_flop_per_s(work.flop_per_s)} <small>{work.format}, {100 * work.covered:.0f} %</small>"))
    elif one.card.stands == SIMULATED:
        rows.append(("effective", "–"))
    listed = "".join(f"<div><dt>{both(name)}</dt><dd>{value}</dd></div>" for name, value in rows)
    return f'<div class="figures">{pictures.gauge(found.value, found.most)}<dl>{listed}</dl></div>'


def _counts(card: Scorecard) -> str:
    return pictures.strip({letter: card.counts()[word] for letter, word in LETTERS.items()})


def _map(one: Shown, named: bool) -> str:
    return _name(one, named) + pictures.tiles(one.card)


def _accuracy(one: Shown, named: bool) -> str:
    found = one.card.accuracy
    if found is None:
        return _name(one, named) + both("no accuracy", "p", "small")
    rows = "".join(
        f"<tr><td><code>{_text(far.operator)}</code></td><td>{_text(far.column)}</td><td class=n>{far.ratio:.3g}</td></tr>"
        for far in found.worst[:10]
    )
    table = f"<table>{_row('operator', 'where', 'ratio')}{rows}</table>" if rows else both("none farther", "p", "small")
    return f'{_name(one, named)}<div class="two"><div>{pictures.histogram(found)}</div><div>{table}</div></div>'


def _ceilings(shown: Sequence[Shown], reference: Scorecard | None) -> str:
    told = [one for one in shown if one.card.ceilings]
    notes = "".join(
        f'<p class="small">{_text(one.card.chip)}: {both("no speed")}</p>' for one in shown if one.card.stands == SIMULATED
    )
    if not told:
        return notes or both("no ceilings", "p", "small")
    drawn = []
    for kind in ("matmul", "attention", "copy", "collective"):
        names = dict.fromkeys(ceiling.name for one in told for ceiling in one.card.ceilings if ceiling.kind == kind)
        bars = [_bar(name, kind, told, reference) for name in names]
        bars = [bar for bar in bars if bar.values]
        missing = [
            f"{_text(one.card.chip)} {_text(ceiling.name)}: {_text(ceiling.reason)}"
            for one in told
            for ceiling in one.card.ceilings
            if ceiling.kind == kind and ceiling.value is None
        ]
        picture = pictures.bars(bars, show_flop_per_s if kind in ("matmul", "attention") else show_bytes_per_s)
        absent = f'<p class="small">{both("absent")}: {"; ".join(missing)}.</p>' if missing else ""
        drawn.append(f"<div>{both(kind, 'h3')}{picture}{absent}</div>")
    return f'<div class="two">{"".join(drawn)}</div>{both("bars", "p", "small")}{notes}'


def _bar(name: str, kind: str, told: Sequence[Shown], reference: Scorecard | None) -> pictures.Bar:
    values = tuple((one.card.chip, value) for one in told if (value := one.card.ceiling(kind, name)) is not None)
    first = told[0]
    mine = next((ceiling for ceiling in first.card.ceilings if (ceiling.kind, ceiling.name) == (kind, name)), None)
    sheet = nominal(mine or Ceiling(kind=kind, name=name, unit=""), first.chip)
    other = reference.ceiling(kind, name) if reference and reference.chip != first.card.chip else None
    return pictures.Bar(name=name, values=values, sheet=sheet, reference=other)


def _work(one: Shown, use: Use, named: bool) -> str:
    """The operators that aren't usable everywhere, those that most projects call first."""
    bad = sorted(
        one.card.failing(), key=lambda name: (-(1 + use.projects_calling(name)) * (1 - credit(one.card.operators[name])), name)
    )
    if not bad:
        return _name(one, named) + both("no work", "p", "small") + _untested(one.card)
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_word(worst(one.card.operators[name]))}</td>"
        f"<td class=n>{use.projects_calling(name)}</td><td>{_text(one.card.reasons.get(name, ''))}</td></tr>"
        for name in bad[:_MOST_ROWS]
    )
    more = f'<p class="small">+ {len(bad) - _MOST_ROWS}</p>' if len(bad) > _MOST_ROWS else ""
    table = f"<table class=wide>{_row('operator', 'verdict', 'projects', 'why')}{rows}</table>"
    return f"{_name(one, named)}{table}{more}{_untested(one.card)}"


def _untested(card: Scorecard) -> str:
    left = card.untested()
    return f'<p class="small">{both("untested")}: {", ".join(map(_text, left))}</p>' if left else ""


def _differences(one: Shown, other: Shown, use: Use) -> str:
    """Operators whose worth differs, those that most projects call first."""
    shared = one.card.operators.keys() & other.card.operators.keys()
    gaps = {name: _worth(one.card, name) - _worth(other.card, name) for name in shared}
    differ = sorted(
        (name for name in shared if abs(gaps[name]) > 1e-9), key=lambda n: (-(1 + use.projects_calling(n)) * abs(gaps[n]), n)
    )
    if not differ:
        return both("no difference", "p", "small")
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_word(worst(one.card.operators[name]))}</td>"
        f"<td>{_word(worst(other.card.operators[name]))}</td><td class=n>{use.projects_calling(name)}</td></tr>"
        for name in differ[:_MOST_DIFFERENCES]
    )
    columns = (both("operator"), _text(one.card.chip), _text(other.card.chip), both("projects"))
    head = "<tr>" + "".join(f"<th>{column}</th>" for column in columns) + "</tr>"
    return f"<table class=wide>{head}{rows}</table>"


def _worth(card: Scorecard, name: str) -> float:
    letters = card.operators[name]
    return credit(letters) if letters.strip(ABSENT) else 0.0


def _made(one: Shown) -> str:
    card = one.card
    notes = f" {_text(card.notes)}." if card.notes else ""
    software = ", ".join(f"{_text(name)} {_text(version)}" for name, version in sorted(card.software.items()))
    command = f"<pre>$ {_text(card.command)}</pre>" if card.command else ""
    against = f" {both('against')} {_text(card.reference)}." if card.reference else ""
    return f"<p>{_text(card.chip)}: {_text(card.measured_on)}. {software}.{against}{notes}</p>{command}"


def _section(name: str, body: str) -> str:
    note = both(f"{name} note", "p", "note") if f"{name} note" in WORDS else ""
    return f"<section id={name}>{both(name, 'h2')}{note}{body}</section>"


def _name(one: Shown, named: bool) -> str:
    return f"<h3>{_text(one.card.chip)}</h3>" if named else ""


def _row(*names: str) -> str:
    return "<tr>" + "".join(f"<th>{both(name)}</th>" for name in names) + "</tr>"


def _word(letter: str) -> str:
    return f'<span class="dot {letter}"></span>{both(LETTERS[letter])}' if letter in CREDIT else "–"


def _text(words: object) -> str:
    return html.escape(str(words))
