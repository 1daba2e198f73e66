"""A sheet to draw on: SVG by hand.

Asked:  how does a picture come out well-formed, legible by day and by night, with no text upon another?
Answer: colours are classes that a media query turns over; each text says its size, so that its width can be reckoned, and `free`
        tells whether a place is taken. A text has a halo of the paper's colour, for lines that pass behind it.
Limits: widths are reckoned at 0.6 em a letter (1 em for wide ones), which is generous for the usual sans faces.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

STYLE = """
.fb{--paper:#fff;--ink:#1b2330;--soft:#5c6675;--line:#c9d0da;--box:#f3f5f8;--c0:#66707f;--c1:#2f6fde;--c2:#1f8a63;--c3:#7d4fb0;
--c4:#b4530f;--c5:#b3256b;--c6:#0f7f8f;--c7:#7a6a10;font-family:system-ui,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
@media (prefers-color-scheme:dark){.fb{--paper:#14181f;--ink:#e7eaf0;--soft:#a3adbb;--line:#3a4350;--box:#1e242e;--c0:#9aa5b4;
--c1:#6aa2ff;--c2:#4cc796;--c3:#b58cf0;--c4:#f0a45e;--c5:#f07fb4;--c6:#5fd0e0;--c7:#d9c65a}}
.fb .paper{fill:var(--paper)}.fb .box{fill:var(--box);stroke:var(--line)}.fb .axis{stroke:var(--line);fill:none}
.fb text{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
.fb text.soft{fill:var(--soft)}.fb text.bare{stroke:none}.fb text.on{stroke:none;fill:var(--paper)}
.fb text.night{stroke:none;fill:#fff}.fb text.day{stroke:none;fill:#111}
""" + "".join(f".fb .f{i}{{fill:var(--c{i})}}.fb .s{i}{{stroke:var(--c{i});fill:none}}\n" for i in range(8))

Box = tuple[float, float, float, float]  # x, y, width, height


def width(words: str, size: float) -> float:
    """Of a text, in pixels, generously."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.6 for c in words)


def fit(words: str, size: float, room: float) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width(words, size) <= room:
        return words
    while words and width(words + "…", size) > room:
        words = words[:-1]
    return words.rstrip() + "…" if words else ""


def number(x: float) -> str:
    """Of pixels, short."""
    return f"{x:.1f}".rstrip("0").rstrip(".") if x else "0"


class Sheet:
    """A picture while it is drawn. `done` gives the SVG."""

    def __init__(self, wide: float, high: float, title: str, under: str = "") -> None:
        self.wide, self.high, self.title = wide, high, title
        self.parts: list[str] = []
        self.taken: list[Box] = []
        room = wide - 48
        self.text(24, 32, fit(title, 19, room), size=19, weight=600)
        if under:
            self.text(24, 54, fit(under, 13, room), size=13, kind="soft")

    def text(
        self, x: float, y: float, words: str, *, size: float = 12, anchor: str = "start", kind: str = "", weight: int = 0
    ) -> None:
        """A line of text with its foot at y."""
        if not words:
            return
        self.taken.append(place(x, y, words, size, anchor))
        heavy = f' font-weight="{weight}"' if weight else ""
        named = f' class="{kind}"' if kind else ""
        at = f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}" text-anchor="{anchor}"'
        self.parts.append(f"<text {at}{heavy}{named}>{escape(words)}</text>")

    def free(self, box: Box) -> bool:
        x, y, w, h = box
        inside = x >= 4 and y >= 4 and x + w <= self.wide - 4 and y + h <= self.high - 4
        return inside and not any(x < a + c and a < x + w and y < b + d and b < y + h for a, b, c, d in self.taken)

    def block(self, x: float, y: float, w: float, h: float) -> None:
        """Keep texts that look for a place away from here."""
        self.taken.append((x, y, w, h))

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        kind: str = "axis",
        *,
        thick: float = 1,
        faint: float = 1,
        dash: str = "",
    ) -> None:
        ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
        self.parts.append(f'<line {ends} class="{kind}"{_stroke(thick, faint, dash)}/>')

    def path(self, d: str, kind: str = "axis", *, thick: float = 1, faint: float = 1, dash: str = "") -> None:
        self.parts.append(f'<path d="{d}" class="{kind}"{_stroke(thick, faint, dash)}/>')

    def rect(
        self, x: float, y: float, w: float, h: float, kind: str = "box", *, round_: float = 4, told: str = "", colour: str = ""
    ) -> None:
        at = f'x="{number(x)}" y="{number(y)}" width="{number(w)}" height="{number(h)}" rx="{number(round_)}"'
        fill = f' fill="{colour}"' if colour else f' class="{kind}"'
        self.parts.append(_told(f"<rect {at}{fill}", "rect", told))

    def circle(self, x: float, y: float, r: float, kind: str, *, told: str = "", faint: float = 1) -> None:
        seen = f' fill-opacity="{faint:g}"' if faint < 1 else ""
        self.parts.append(
            _told(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(r)}" class="{kind}"{seen}', "circle", told)
        )

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]], room: float = 0) -> float:
        """Marks with their meaning, in a row that wraps within `room`; the y under it."""
        right, at = x + (room or self.wide - 2 * x), x
        for kind, words in entries:
            w = 18 + width(words, 12)
            if at > x and at + w > right:
                at, y = x, y + 20
            if kind.startswith("s"):
                self.line(at, y - 4, at + 13, y - 4, kind, thick=2.5)
            elif kind:
                self.rect(at, y - 10, 12, 12, kind, round_=3)
            self.text(at + 18, y, fit(words, 12, right - at - 18), size=12, kind="soft")
            at += w + 18
        return y + 20

    def done(self) -> str:
        size = f'viewBox="0 0 {number(self.wide)} {number(self.high)}" width="{number(self.wide)}" height="{number(self.high)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="fb" role="img" aria-label={quoteattr(_clean(self.title))} {size}>'
        back = f'<rect class="paper" width="{number(self.wide)}" height="{number(self.high)}"/>'
        body = "\n".join(_clean(part) for part in self.parts)
        return f"{head}\n<title>{escape(_clean(self.title))}</title>\n<style>{STYLE}</style>\n{back}\n{body}\n</svg>\n"


def place(x: float, y: float, words: str, size: float, anchor: str) -> Box:
    """The box that a text takes."""
    w = width(words, size)
    left = x - {"start": 0.0, "middle": w / 2, "end": w}[anchor]
    return left, y - 0.8 * size, w, size


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high, 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(x: float) -> str:
    """45.1 M, 980 k, 12."""
    for word in ("", " k", " M"):
        if abs(x) < 1000:
            return f"{x:.4g}{word}"
        x /= 1000
    return f"{x:,.4g} G"


def _stroke(thick: float, faint: float, dash: str) -> str:
    seen = f' stroke-opacity="{faint:.2g}"' if faint < 1 else ""
    return f' stroke-width="{number(thick)}"{seen}' + (f' stroke-dasharray="{dash}"' if dash else "")


def _told(tag: str, name: str, told: str) -> str:
    return f"{tag}><title>{escape(told)}</title></{name}>" if told else f"{tag}/>"


def _clean(words: str) -> str:
    """Without what XML can't hold."""
    return re.sub("[^\n\t -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", words)
