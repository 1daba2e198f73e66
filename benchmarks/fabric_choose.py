"""The cheapest of all fabrics for 10,000 cards: how fast is it chosen?

    python benchmarks/fabric_choose.py [--data FILE] [--json]

Every family's candidates out of 64-port switches of 400 Gbit/s, priced by the default book and timed with Llama 3 405B's traffic
on H100s. Bar: 60 CPU seconds for one model, as `forebay fabric choose --cards 10000` would need beside its start. No peer does
this. The data file isn't needed.
"""

from __future__ import annotations

import sys

from fabric_clock import clocked, parser, peak_gb, tell

from forebay.chips.catalogue import find
from forebay.fabric import books
from forebay.fabric.choose import Choice, Question, choose
from forebay.fabric.design import ScaleUp
from forebay.fabric.presets import preset

BAR_CPU_S = 60.0
CARDS = 10_000
NVLINK = ScaleUp(cards=8, bytes_per_s=450e9)


def main() -> None:
    asked = parser(__doc__).parse_args()
    _, first_use = clocked(lambda: chosen(1_024))
    choice, spent = clocked(lambda: chosen(CARDS))
    name = choice.winner.candidate.name if choice.winner else "none within the target"
    note = f"{choice.searched} candidates, {len(choice.scored)} timed; {name}"
    row = {"what": f"choose, {CARDS:,} cards, dense-405b", "figure": spent, "unit": "CPU s", "bar": BAR_CPU_S, "note": note}
    tell([row], first_use, as_json=asked.json, peak_gb=peak_gb())


def chosen(cards: int) -> Choice:
    def tell_where(what: str, done: int, of: int) -> None:
        if cards == CARDS and sys.stderr.isatty():
            print(f"\r{done}/{of} {what:<40}", end="", file=sys.stderr)

    question = Question(cards=cards, scale_up=NVLINK)
    return choose(question, [preset("dense-405b", cards, find("h100-sxm"))], books.load("default"), tell=tell_where)


if __name__ == "__main__":
    main()
