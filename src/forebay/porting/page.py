"""The report of a scan as one HTML file, to send to a colleague.

Asked:  what does a person open who has neither this machine nor Forebay?
Answer: one file with its style, its script and its picture inside, that asks nothing of the network: the verdict of each chip,
        the effort as bars, and every finding by file with its line, its meaning and what to do. Headings are there in
        English and Chinese; a button changes them. Without JavaScript all is there, unfiltered. Everything that comes
        from the project is escaped.
Limits: an excerpt is the line as the scan kept it. The texts of rules are in English only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import PurePath

from forebay.chips.chip import Chip
from forebay.porting import report
from forebay.porting.effort import Effort, in_words
from forebay.porting.findings import Finding, Findings, Verdict, Word
from forebay.porting.page_look import HEADINGS, HOW, SCRIPT, STYLE
from forebay.porting.rules import RULES

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_BAR, _LABEL, _ROW = 560, 250, 26  # the picture's measures, in its own units
_MOST_BARS = 24
_OPEN = 40  # findings up to which a file is shown unfolded


def page(
    findings: Findings,
    found: Sequence[Verdict],
    chips: Sequence[Chip],
    efforts: Mapping[str, Effort],
    everywhere: Effort,
    date: str,
) -> str:
    """The whole file. `efforts` is by chip; `everywhere` is the work of making the text name no vendor."""
    worst = {rule: report.worst_of(rule, chips) for rule in {f.rule for f in findings.findings}}
    name = escape(PurePath(findings.entry).name or findings.entry)  # a colleague needs no path of this machine
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en" data-language="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            _head(name, findings, everywhere, date),
            _verdicts(found, efforts),
            _bars(found, efforts),
            _rules(findings.findings, worst),
            _findings(findings.findings, worst),
            _others(findings),
            f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        )
    )


def _both(heading: str) -> str:
    """A heading in both languages; the page shows one."""
    return f'<span lang="en">{escape(heading)}</span><span lang="zh">{escape(HEADINGS[heading])}</span>'


def _word(word: Word) -> str:
    return f'<span class="word {word.value}">{_both(word.value)}</span>'


def _head(name: str, findings: Findings, everywhere: Effort, date: str) -> str:
    facts = [
        (str(len(findings.files)), "files read"),
        (str(len(findings.findings)), "places"),
        (in_words(everywhere.hours_by_hand), "to make it name no vendor, by hand"),
    ]
    if everywhere.settled:
        facts.append((in_words(everywhere.hours), "after forebay port --write"))
    cells = "".join(f'<div class="fact"><b>{escape(value)}</b>{_both(heading)}</div>' for value, heading in facts)
    return (
        f'<header><div><p class="soft">{_both("What ties it to CUDA")}</p><h1>{name}</h1>'
        f'<p class="soft">{_both("scanned on")} {escape(date)} · Forebay</p></div>'
        f'<button id="language" type="button">English · 中文</button></header>\n<div class="facts">{cells}</div>\n'
        f'<p class="soft">{_both("Read from the text and the catalogue; nothing was run, and no file was changed.")}</p>'
    )


def _verdicts(found: Sequence[Verdict], efforts: Mapping[str, Effort]) -> str:
    rows = []
    for word, proven, why, chips in reversed(report.grouped(found)):
        reasons = "".join(_reason(reason) for reason in why) or "-"
        names = ", ".join(f"<span>{escape(chip)}</span>" for chip in chips)
        spent = sorted({in_words(efforts[chip].hours) for chip in chips if chip in efforts})
        rows.append(
            f'<tr><td>{_word(word)}</td><td class="chips">{names}</td><td>{reasons}</td>'
            f'<td class="number">{" – ".join(spent)}</td>'
            f"<td>{escape(proven)}</td></tr>"
        )
    heads = "".join(f"<th>{_both(heading)}</th>" for heading in ("verdict", "chips", "why", "effort", "run by us on it"))
    title = _both("What becomes of it, chip by chip")
    return f"<h2>{title}</h2>\n<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _reason(reason: str) -> str:
    """A reason, with its places in a softer tone."""
    told, _, places = reason.rpartition(" (") if reason.endswith(")") else (reason, "", "")
    return f'<p>{escape(told)} <span class="soft">{escape(places.removesuffix(")"))}</span></p>'


def _bars(found: Sequence[Verdict], efforts: Mapping[str, Effort]) -> str:
    """Hours a kind of verdict and effort: chips with the same of both share a bar."""
    groups: dict[tuple[float, Word], list[str]] = {}
    for verdict in found:
        if verdict.chip in efforts:
            groups.setdefault((efforts[verdict.chip].hours, verdict.verdict), []).append(verdict.chip)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])[:_MOST_BARS]
    most = max((spent for (spent, _), _ in ordered), default=0) or 1
    rows = []
    for at, ((spent, word), chips) in enumerate(ordered):
        top, long = at * _ROW + 4, max(2.0, _BAR * spent / most)
        label = chips[0] + (f" + {len(chips) - 1}" if len(chips) > 1 else "")
        rows.append(
            f'<g class="{word.value}"><title>{escape(", ".join(chips))}</title><text x="0" y="{top + 14}">{escape(label)}</text>'
            f'<rect x="{_LABEL}" y="{top}" width="{long:.1f}" height="{_ROW - 8}" rx="3" fill="var(--tone)"/>'
            f'<text x="{_LABEL + long + 8:.1f}" y="{top + 14}">{escape(in_words(spent))}</text></g>'
        )
    width, height = _LABEL + _BAR + 120, len(ordered) * _ROW + 4
    return (
        f'<h2>{_both("Effort")}</h2>\n<svg viewBox="0 0 {width} {height}" width="100%" role="img" aria-label="effort by chip">'
        f"{''.join(rows)}</svg>\n"
        f'<p class="soft">{_both(HOW)}</p>'
    )


def _rules(found: Iterable[Finding], worst: Mapping[str, Word]) -> str:
    counted = Counter(finding.rule for finding in found)
    rows = "".join(
        f'<tr><td>{_word(worst[rule])}</td><td>{escape(rule)}</td><td class="number">{count}</td>'
        f"<td>{escape(RULES[rule].meaning)}</td><td>{escape(RULES[rule].todo)}</td></tr>"
        for rule, count in sorted(counted.items(), key=lambda item: (-report.ORDER.index(worst[item[0]]), -item[1]))
    )
    heads = "".join(f"<th>{_both(heading)}</th>" for heading in ("verdict", "rule", "places", "meaning", "what to do"))
    note = _both("One word a place: the worst on the chips that were asked for.")
    title = f"{_both('What was found')}: {_both('by rule')}"
    return f'<h2>{title}</h2>\n<p class="soft">{note}</p>\n<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _findings(found: Sequence[Finding], worst: Mapping[str, Word]) -> str:
    buttons = "".join(
        f'<button type="button" data-word="{word.value}" aria-pressed="true" class="{word.value}">{_word(word)}</button>'
        for word in report.ORDER
    )
    options = "".join(f"<option>{escape(rule)}</option>" for rule in sorted(worst))
    tools = (
        f'<div class="tools">{buttons}<select id="rule">'
        f'<option value="">all rules · {HEADINGS["all rules"]}</option>{options}</select>'
        f'<input id="text" type="search" placeholder="search · {HEADINGS["search"]}"> <span id="count" class="soft"></span></div>'
    )
    files = []
    for file, group in groupby(sorted(found, key=lambda f: (f.file, f.cell or 0, f.line, f.column)), key=lambda f: f.file):
        places = list(group)
        unfolded = " open" if len(places) <= _OPEN and len(found) <= 400 else ""
        lines = "\n".join(_finding(one, worst[one.rule]) for one in places)
        files.append(
            f'<details class="file"{unfolded}><summary>{escape(file)} <span class="soft">{len(places)}</span></summary>\n'
            f"{lines}\n</details>"
        )
    return f"<h2>{_both('What was found')}</h2>\n{tools}\n" + "\n".join(files)


def _finding(one: Finding, word: Word) -> str:
    place = f"{one.line}:{one.column}" if one.cell is None else f"[{one.cell}] {one.line}:{one.column}"
    todo = f'<p class="todo">{escape(RULES[one.rule].todo)}</p>' if RULES[one.rule].todo and word is not Word.RUNS else ""
    return (
        f'<div class="finding {word.value}" data-word="{word.value}" data-rule="{escape(one.rule)}">'
        f'<span class="place">{place}</span>'
        f'<b>{escape(one.what)}</b> <span class="soft">{escape(one.meaning)} · {escape(one.rule)}</span>'
        f"<code>{escape(one.excerpt)}</code>{todo}</div>"
    )


def _others(findings: Findings) -> str:
    parts = []
    if findings.notes:
        notes = Counter(note.rule for note in findings.notes)
        rows = "".join(f"<li>{escape(RULES[rule].meaning)}: {count}</li>" for rule, count in notes.most_common())
        parts.append(f"<h2>{_both('Good to know')}</h2>\n<ul>{rows}</ul>")
    if findings.unread:
        rows = "".join(f"<li>{escape(one.file)}: {escape(one.reason)}</li>" for one in findings.unread)
        parts.append(f"<h2>{_both('Not read')}</h2>\n<ul>{rows}</ul>")
    return "\n".join(parts)
