"""Pictures of a plan, as SVG texts: the pipeline's timeline, where the seconds go, what each stage holds.

Asked:  when does each stage do what, and when nothing? What of a step is what? How full is a card of each stage?
Answer: `timeline` draws a row a stage and a box a pass, with its micro-batch's number where there is room; a long step is cut in
        the middle and says how much. `seconds` and `memory` draw a bar of parts a plan or stage.
Limits: colours are Okabe and Ito's blue, orange and green (jfly.uni-koeln.de/color), which colour-blind people tell apart; later
        chunks of a stage are paler. More than 32 stages are drawn from both ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from forebay.errors import BadInput
from forebay.fabric.draw.facts import seconds as shown
from forebay.fabric.draw.svg import Sheet, fit, ticks, width
from forebay.plan.orders import BACKWARD, FORWARD, SPLIT, WEIGHT
from forebay.plan.plan import Memory
from forebay.plan.timeline import Timeline
from forebay.units import GB, show_bytes

WIDE, LEFT, RIGHT, TALL = 1120.0, 92.0, 84.0, 30.0
PASSES = 60  # of a stage that are drawn; a longer step is cut
STAGES = 32
CUT = 46.0  # pixels that stand for what is cut out
COLOURS = {FORWARD: (0, 114, 178), BACKWARD: (230, 159, 0), WEIGHT: (0, 158, 115)}

# Parts of bars, in Okabe and Ito's order of contrast.
PARTS = ("#0072b2", "#e69f00", "#009e73", "#56b4e9", "#cc79a7", "#d55e00", "#f0e442", "#999999")

Spans = list[tuple[float, float, float, float]]  # from and to, in seconds; left and right, in pixels


def timeline(found: Timeline, *, title: str = "") -> str:
    """A pipeline's step: rows are stages, time goes to the right."""
    stages = _rows(found.stages)
    words = title or f"{found.schedule}: {found.stages} stages, {found.micro_batches} micro-batches"
    idle = sum(found.idle) / found.stages
    sheet = Sheet(WIDE, 118 + TALL * len(stages) + 66, words, f"a step of {shown(found.seconds)}; stages idle {idle:.0%} of it")
    spans = _spans(found)
    top = {stage: 84 + TALL * i for i, stage in enumerate(stages)}
    foot = 84 + TALL * len(stages)
    for stage, y in top.items():
        sheet.text(LEFT - 10, y + 18, f"stage {stage}", size=12, anchor="end")
        sheet.text(WIDE - RIGHT + 8, y + 18, f"idle {found.idle[stage]:.0%}", size=11, kind="soft")
        for _, _, left, right in spans:
            sheet.rect(left, y + 2, right - left, TALL - 4, "box", round_=0)
    if len(stages) < found.stages:
        y = top[stages[STAGES // 2]]
        left_out = f"stages {stages[STAGES // 2 - 1] + 1} to {stages[STAGES // 2] - 1} are left out here"
        sheet.line(8, y, LEFT, y, "axis", thick=2, dash="4 3")
        sheet.text(LEFT, foot + 34, left_out, size=11, kind="soft")
    columns = (found.stage, found.chunk, found.micro_batch, found.kind, found.start_s, found.end_s)
    for stage, chunk, j, kind, start, end in zip(*columns, strict=True):
        if stage in top:
            _pass(sheet, found, spans, top[stage] + 2, (chunk, j, kind), start, end)
    _axis(sheet, spans, foot)
    _legend(sheet, found, sheet.high - 16)
    return sheet.done()


def seconds(rows: Sequence[tuple[str, Mapping[str, float]]], *, title: str = "Where the seconds of a step go") -> str:
    """A bar a plan: seconds by what they are spent on."""
    return _stacked(rows, title, "seconds that nothing else hides", shown, 1.0, "s")


def memory(stages: Sequence[Memory], *, card_bytes: int | None = None, title: str = "What a card of each stage holds") -> str:
    """A bar a stage; a line where the card is full."""
    names = ("weights", "gradients", "optimizer", "activations", "buffers", "reserve")
    rows = [(f"stage {i}", {name: float(getattr(one, name)) for name in names}) for i, one in enumerate(stages)]
    return _stacked(rows, title, "at the worst moment of a step", show_bytes, float(GB), "GB", full=card_bytes)


def _rows(stages: int) -> list[int]:
    if stages <= STAGES:
        return list(range(stages))
    return [*range(STAGES // 2), *range(stages - STAGES // 2, stages)]


def _spans(found: Timeline) -> Spans:
    """The stretches of time that are drawn, and where."""
    passes = len(found.start_s) / found.stages
    room = WIDE - LEFT - RIGHT
    if passes <= PASSES:
        return [(0.0, found.seconds, LEFT, LEFT + room)]
    half = found.seconds * PASSES / passes / 2
    each = (room - CUT) / 2
    return [(0.0, half, LEFT, LEFT + each), (found.seconds - half, found.seconds, LEFT + each + CUT, LEFT + room)]


def _pass(sheet: Sheet, found: Timeline, spans: Spans, y: float, what: tuple[int, int, int], start: float, end: float) -> None:
    chunk, j, kind = what
    for first, last, left, right in spans:
        if end <= first or start >= last:
            continue
        scale = (right - left) / (last - first)
        x0, x1 = left + (max(start, first) - first) * scale, left + (min(end, last) - first) * scale
        told = f"stage {'' if found.chunks == 1 else f'chunk {chunk}, '}micro-batch {j}: {shown(start)} to {shown(end)}"
        sheet.rect(x0, y, max(x1 - x0 - 0.6, 0.3), TALL - 4, round_=1, told=told, colour=_colour(kind, chunk, found.chunks))
        words = str(j)
        if width(words, 10) < x1 - x0 - 2:
            dark = kind == FORWARD and chunk == 0
            sheet.text((x0 + x1) / 2, y + 17, words, size=10, anchor="middle", kind="night" if dark else "day")


def _colour(kind: int, chunk: int, chunks: int) -> str:
    """Paler with each chunk."""
    pale = 0.0 if chunks == 1 else 0.55 * chunk / (chunks - 1)
    return "#" + "".join(f"{round(one + (255 - one) * pale):02x}" for one in COLOURS[kind])


def _axis(sheet: Sheet, spans: Spans, foot: float) -> None:
    for first, last, left, right in spans:
        sheet.line(left, foot + 2, right, foot + 2)
        for s in ticks(first, last, 6 if len(spans) == 1 else 3):
            x = left + (s - first) / (last - first) * (right - left)
            sheet.line(x, foot + 2, x, foot + 6)
            sheet.text(min(x, right - 14), foot + 18, f"{s:.4g} s", size=11, anchor="middle", kind="soft")
    for before, after in pairwise(spans):
        x = (before[3] + after[2]) / 2
        sheet.text(x, (84 + foot) / 2 + 4, "…", size=22, anchor="middle")
        sheet.text(x, foot + 34, f"{shown(after[0] - before[1])} more of the same", size=11, anchor="middle", kind="soft")


def _legend(sheet: Sheet, found: Timeline, y: float) -> None:
    names = {FORWARD: "forward", BACKWARD: "backward"}
    if found.schedule in SPLIT:
        names = {FORWARD: "forward", BACKWARD: "backward, for the input", WEIGHT: "backward, for the weights"}
    x = LEFT
    for kind, words in names.items():
        for chunk in dict.fromkeys((0, found.chunks - 1)):
            sheet.rect(x, y - 10, 12, 12, round_=2, colour=_colour(kind, chunk, found.chunks))
            x += 15
        sheet.text(x + 3, y, words, size=12, kind="soft")
        x += 21 + width(words, 12)
    sheet.rect(x, y - 10, 12, 12, "box", round_=0)
    sheet.text(x + 18, y, "idle" if found.chunks == 1 else "idle; later chunks are paler", size=12, kind="soft")


def _stacked(
    rows: Sequence[tuple[str, Mapping[str, float]]],
    title: str,
    under: str,
    show: Callable[[float], str],
    unit: float,
    word: str,
    *,
    full: float | None = None,
) -> str:
    for name, parts in rows:
        if not all(0 <= x < float("inf") for x in parts.values()):
            raise BadInput("A part is zero or more.", asked=name, found=repr(dict(parts)))
    kinds = list(dict.fromkeys(kind for _, parts in rows for kind in parts))
    left, tall = 200.0, 34.0
    totals = [sum(parts.values()) for _, parts in rows]
    most = max([*totals, full or 0.0], default=0.0) or 1.0
    wraps = sum(36 + width(kind, 12) for kind in kinds) // (WIDE - 48)
    sheet = Sheet(WIDE, 150 + tall * len(rows) + 20 * wraps, title, under)
    scale, foot = (WIDE - left - RIGHT) / most, 84 + tall * len(rows)
    for x in ticks(0, most / unit):
        sheet.line(left + x * unit * scale, 76, left + x * unit * scale, foot, "axis", faint=0.6)
        sheet.text(left + x * unit * scale, foot + 16, f"{x:.4g} {word}", size=11, anchor="middle", kind="soft")
    for i, ((name, parts), whole) in enumerate(zip(rows, totals, strict=True)):
        y, x = 84 + tall * i, left
        sheet.text(left - 10, y + 16, fit(name, 12, left - 34), size=12, anchor="end")
        for j, kind in enumerate(kinds):
            if not (part := parts.get(kind, 0.0)):
                continue
            told = f"{name}: {kind} {show(part)}"
            sheet.rect(x, y, max(part * scale, 0.5), tall - 12, round_=1, told=told, colour=PARTS[j % len(PARTS)])
            if width(show(part), 11) < part * scale - 6:
                sheet.text(
                    x + part * scale / 2, y + 15, show(part), size=11, anchor="middle", kind="day" if j % len(PARTS) else "night"
                )
            x += part * scale
        sheet.text(x + 8, y + 16, show(whole), size=12, weight=600)
    if full is not None:
        sheet.line(left + full * scale, 76, left + full * scale, foot, "s4", thick=2, dash="5 3")
        sheet.text(left + full * scale, 72, f"the card has {show(full)}", size=11, anchor="end", kind="soft")
    x, y = 24.0, foot + 44
    for j, kind in enumerate(kinds):
        if x > 24 and x + 36 + width(kind, 12) > WIDE - 24:
            x, y = 24.0, y + 20
        sheet.rect(x, y - 10, 12, 12, round_=2, colour=PARTS[j % len(PARTS)])
        sheet.text(x + 18, y, fit(kind, 12, WIDE - 66), size=12, kind="soft")
        x += 36 + width(kind, 12)
    return sheet.done()
