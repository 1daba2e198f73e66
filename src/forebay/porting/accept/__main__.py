"""python -m forebay.porting.accept [--json] [--only AREA ...] [--carrier WHAT | --chip NAME] [--cards N] [--cache DIR]

Asks this machine's "cuda" every sentence of the suite and prints what fails, a table by area and the share. Without --carrier
it asks the torch that this Python has, as it stands: a card, a vendor's chip, or nothing. Ends with 1 when a check failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from forebay.errors import ForebayError
from forebay.porting.accept.suite import AREAS, Verdict, run, share, table
from forebay.porting.shim import load
from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import Carrier, choose

CARRIERS = ("none", "simulated", "mapped")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m forebay.porting.accept", description="does what answers to cuda here behave as a card does?"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON with every verdict")
    parser.add_argument("--only", nargs="+", default=AREAS, metavar="AREA", help=f"of {', '.join(AREAS)}")
    parser.add_argument("--carrier", choices=CARRIERS, default="none", help="put the shim under the checks (default: none)")
    parser.add_argument("--chip", default="", help="put the identity layer of this chip's adapter under the checks, such as npu")
    parser.add_argument("--cards", type=int, default=2, help="cards that a carrier shows (default: 2)")
    parser.add_argument("--cache", type=Path, help="where the compiled device is kept")
    asked = parser.parse_args(words)
    try:
        environment = carried(asked.carrier, asked.cards, asked.cache, asked.chip)
        verdicts = run(areas=asked.only, environment=environment, say=_say)
    except ForebayError as error:
        print(f"{error.kind}: {error}", file=sys.stderr)
        return error.exit_code
    if asked.json:
        print(json.dumps({"share": share(verdicts), "verdicts": [verdict.to_json() for verdict in verdicts]}))
    else:
        print("\n".join([*map(_line, [v for v in verdicts if v.verdict != "pass"]), "", table(verdicts)]))
    return int(any(verdict.verdict == "fail" for verdict in verdicts))


def carried(kind: str, cards: int, cache: Path | None, chip: str = "") -> dict[str, str]:
    """This process's environment, with the shim's carrier of this kind in it."""
    if chip:
        return {**os.environ, **load.child_environment(choose(cache or default_cache(), _say, chip), cards)}
    if kind == "none":
        return dict(os.environ)
    carrier = Carrier(kind, "for the acceptance suite", build(cache or default_cache(), _say) if kind == "simulated" else None)
    return {**os.environ, **load.child_environment(carrier, cards)}


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay" / "shim"


def _line(verdict: Verdict) -> str:
    last = verdict.detail.strip().splitlines()[-1:] or [""]
    return f"{verdict.verdict:<8} {verdict.area}: {verdict.sentence.replace('_', ' ')}\n         {last[0][:160]}"


def _say(line: str) -> None:
    print(f"forebay: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
