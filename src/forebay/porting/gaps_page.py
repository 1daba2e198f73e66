"""The work list as a page and as CSV. Pure: gaps in, text out."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Sequence

from forebay.chips.scorecard import Scorecard
from forebay.porting.certify.page_style import SCRIPT, STYLE
from forebay.porting.gaps import FALLBACK, MISSING, SLOW, WEAK, WRONG, Account, Gap

COLUMNS = ("rank", "operator", "state", "card_seconds_lost", "runs", "calls", "public_projects", "failing_percent", "why")
_DOT = {MISSING: "e", WRONG: "w", FALLBACK: "h", SLOW: "t", WEAK: "b"}
_SAID = {
    MISSING: ("missing", "缺失"),
    WRONG: ("wrong", "结果错误"),
    FALLBACK: ("host fallback", "回退到主机"),
    SLOW: ("slow", "慢"),
    WEAK: ("not strict", "非严格"),
}
_BARS = 15


def as_csv(gaps: Sequence[Gap]) -> str:
    """A line a gap, in their order."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for rank, gap in enumerate(gaps, start=1):
        lost, score = f"{gap.card_seconds:.3f}", f"{gap.score:.1f}"
        rows.writerow((rank, gap.operator, gap.kind, lost, gap.runs, gap.calls, gap.projects, score, _plain(gap.why)))
    return text.getvalue()


def page(chip: str, gaps: Sequence[Gap], accounts: Sequence[Account], card: Scorecard | None) -> str:
    """One HTML file, nothing loaded from elsewhere."""
    held, lost = sum(one.card_seconds for one in accounts), sum(gap.card_seconds for gap in gaps)
    measured = f" · {_text(card.chip)} {_text(card.measured_on)}" if card else ""
    figures = (
        (("runs", "运行次数"), f"{len(accounts):,}"),
        (("card-seconds held", "占用卡秒"), f"{held:,.1f}"),
        (("card-seconds lost", "损失卡秒"), f"{lost:,.1f}"),
        (("operators to mend", "待修算子"), f"{len(gaps):,}"),
    )
    told = "".join(f"<div><dt>{_both(*words)}</dt><dd>{value}</dd></div>" for words, value in figures)
    title = ("a vendor's work list: what costs most comes first", "厂商待办：损失最大者在前")
    return f"""<!doctype html>
<html lang="en" class="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(chip)} · Forebay work list</title><style>{STYLE}</style></head>
<body><nav><button id="tongue" type="button">中文</button>
<button id="light" type="button" aria-label="light or dark">◐</button></nav>
<main><header><p class="kicker">Forebay · {_both(*title)}{measured}</p>
<article class="card"><h1>{_text(chip)}</h1><dl>{told}</dl></article></header>
<section><h2>{_both("Where the card-seconds went", "卡秒损失在哪里")}</h2>{_bars(gaps)}</section>
<section><h2>{_both("The work list", "待办清单")}</h2>{_table(gaps)}</section>
<section><h2>{_both("How it is ranked", "如何排序")}</h2><p class="small">{_both(*_FORMULA)}</p></section></main>
<script>{SCRIPT}</script></body></html>
"""


_FORMULA = (
    "A run's lost card-seconds are shared out once. An operator whose error ended a run has all that it held; else operators "
    "that are wrong on the chip share it equally; else each call has what it takes longer than it ought to, given the "
    "reference's time and the chip's usual ratio to it. Operators that no run met follow, by public projects that call them "
    "times how much of them fails.",
    "每次运行损失的卡秒只分配一次：因算子报错而结束的运行，全部计入该算子；"
    "否则由结果错误的算子均分；否则按每次调用比应有时间多出的部分计算。"
    "没有运行遇到的算子排在其后，按调用它的公开项目数乘以失败比例排序。",
)


def _bars(gaps: Sequence[Gap]) -> str:
    shown = [gap for gap in gaps if gap.card_seconds > 0][:_BARS]
    if not shown:
        return f'<p class="small">{_both("No run lost any, as far as accounts tell.", "就现有记录，没有运行损失卡秒。")}</p>'
    most, drawn = shown[0].card_seconds, []
    for at, gap in enumerate(shown):
        y, long = at * 22, max(2.0, 560 * gap.card_seconds / most)
        drawn.append(f'<text x="0" y="{y + 12}">{_text(gap.operator)}</text>')
        drawn.append(f'<rect class="{_DOT[gap.kind]}" x="330" y="{y + 1}" width="{long:.1f}" height="14" rx="3"/>')
        drawn.append(f'<text class="soft" x="{338 + long:.1f}" y="{y + 12}">{gap.card_seconds:,.1f}</text>')
    high = 22 * len(shown)
    legend = "".join(f'<span><i class="dot {_DOT[kind]}"></i>{_both(*words)}</span>' for kind, words in _SAID.items())
    picture = f'<svg width="1000" height="{high}" viewBox="0 0 1000 {high}" role="img">{"".join(drawn)}</svg>'
    return f'{picture}<div class="legend">{legend}</div>'


def _table(gaps: Sequence[Gap]) -> str:
    heads = (
        ("operator", "算子"),
        ("state", "状态"),
        ("card-seconds", "卡秒"),
        ("runs", "运行"),
        ("calls", "调用"),
        ("projects", "项目"),
        ("failing", "失败"),
        ("why", "原因"),
    )
    rows = "".join(
        f"<tr><td><code>{_text(gap.operator)}</code></td>"
        f'<td><span class="dot {_DOT[gap.kind]}"></span>{_both(*_SAID[gap.kind])}</td>'
        f"<td class=n>{gap.card_seconds:,.1f}</td><td class=n>{gap.runs}</td><td class=n>{gap.calls:,}</td>"
        f"<td class=n>{gap.projects}</td><td class=n>{gap.score:.0f} %</td><td>{_text(gap.why)}</td></tr>"
        for gap in gaps
    )
    return f"<table class=wide><tr>{''.join(f'<th>{_both(*words)}</th>' for words in heads)}</tr>{rows}</table>"


def _both(english: str, chinese: str) -> str:
    return f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'


def _plain(words: str) -> str:
    """A cell that no spreadsheet takes for a formula: reasons are what a tenant's program raised."""
    return "'" + words if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words


def _text(words: object) -> str:
    return html.escape(str(words))
