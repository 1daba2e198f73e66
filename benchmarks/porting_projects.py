"""Public projects written for CUDA, run without a GPU and without an edit.

    python benchmarks/porting_projects.py --projects DIR [--carrier NAME] [--only NAME] [--json] [--keep DIR]

DIR holds projects as their authors publish them; each with a recipe, `NAME.recipe.toml` beside its folder, or one of those in
benchmarks/recipes. The bar: 24 entry points of 15 projects run on the CPU with no character edited, 20 on the fake chip; without
a carrier (`plain`) none runs. It ends with 0 when every entry that ran did as expected; a missing package is "skipped".
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import stopwatch
from porting_attempt import attempt
from porting_recipe import find

from forebay.errors import ForebayError
from forebay.porting.shim import load
from forebay.porting.shim.__main__ import default_cache
from forebay.porting.shim.carrier import Carrier, choose

RECIPES = Path(__file__).resolve().parent / "recipes"
CARRIERS = ("simulated", "mapped", "fakechip", "plain")
MARKS = {"passed": "passed ", "failed": "FAILED ", "skipped": "skipped"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=Path, required=True, help="a folder with a project in each folder")
    parser.add_argument(
        "--recipes", type=Path, default=Path(__file__).resolve().parent / "recipes", help="recipes that aren't beside"
    )
    parser.add_argument("--carrier", choices=CARRIERS, default="simulated")
    parser.add_argument("--only", action="append", default=[], help="a project's folder, or folder/entry; may be repeated")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the compiled device is kept")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep each run's folder, with its output, in here")
    parser.add_argument("--json", action="store_true", help="one JSON object: all figures, and what each run used")
    args = parser.parse_args()
    stopwatch.end_cleanly()
    try:
        entries = chosen(find(args.projects, args.recipes), args.only)
        outcomes = [run(entry, args) for entry in entries]
    except ForebayError as error:
        raise SystemExit(f"{error.kind}: {error}") from None
    if args.json:
        print(json.dumps({**total(outcomes), **stopwatch.machine(), "outcomes": [dataclasses.asdict(one) for one in outcomes]}))
    else:
        sums = total(outcomes)
        print("{passed} entry points of {projects} projects passed, {failed} failed, {skipped} skipped".format_map(sums))
        print(f"characters edited: {sums['edited']}   {stopwatch.machine_line()}")
    raise SystemExit(1 if total(outcomes)["failed"] or not outcomes else 0)


def chosen(entries, names):
    kept = [entry for entry in entries if not names or entry.title in names or entry.folder.name in names]
    strange = [name for name in names if not any(name in (entry.title, entry.folder.name) for entry in entries)]
    if strange or not kept:
        raise SystemExit(
            f"no recipe for {', '.join(strange) or 'any project here'}; there is {', '.join(e.title for e in entries)}"
        )
    return kept


def run(entry, args):
    """One entry, in a folder of its own that goes with it unless it is kept."""
    if args.keep:
        room = args.keep.resolve() / args.carrier / entry.folder.name / entry.name
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
    else:
        room = Path(tempfile.mkdtemp(prefix="forebay-project-"))
    try:
        outcome = attempt(entry, args.carrier, variables(entry, args), room)
    finally:
        if not args.keep:
            shutil.rmtree(room, ignore_errors=True)
    outcome = dataclasses.replace(outcome, folder=str(room) if args.keep else None)
    print(line(outcome), file=sys.stderr if args.json else sys.stdout, flush=True)
    return outcome


def variables(entry, args):
    """What a process needs in its environment to have the carrier."""
    os.environ.pop("PYTHONPATH", None)  # the runs shall not find what this benchmark itself was given
    if args.carrier == "plain":
        return {}
    if args.carrier == "mapped":
        return load.child_environment(Carrier("mapped", "asked for by the benchmark"), entry.cards)
    chip = args.carrier if args.carrier == "fakechip" else ""
    carrier = choose(args.cache, lambda words: print(words, file=sys.stderr), chip)
    if args.carrier not in (carrier.kind, carrier.chip):
        raise SystemExit(f"the {args.carrier} carrier isn't to be had here, but {carrier.kind}: {carrier.why}")
    return load.child_environment(carrier, entry.cards)


def line(outcome):
    shown = f"{outcome.first:g} -> {outcome.last:g} ({outcome.points})" if outcome.points else ""
    used = ", ".join(f"{len(names)} {kind}" for kind, names in outcome.uses.items())
    cost = f"{outcome.wall_s:5.0f} s {outcome.cpu_s:5.0f} CPU s {outcome.peak_bytes / 1e9:5.1f} GB" if outcome.wall_s else ""
    told = "" if outcome.verdict == "passed" and outcome.carrier != "plain" else outcome.why
    refused = outcome.uses.get("refused", ())
    words = [cost, shown, used, f"stand-ins: {', '.join(outcome.stand_ins)}" if outcome.stand_ins else "", told]
    words += [f"refused: {', '.join(refused)}"] if refused else []
    return f"{MARKS[outcome.verdict]} {outcome.title:38} " + "  ".join(word for word in words if word)


def total(outcomes):
    passed = [one for one in outcomes if one.verdict == "passed"]
    return {
        "passed": len(passed),
        "projects": len({one.project for one in passed}),
        "failed": sum(one.verdict == "failed" for one in outcomes),
        "skipped": sum(one.verdict == "skipped" for one in outcomes),
        "edited": sum(len(one.edited) for one in outcomes),
    }


if __name__ == "__main__":
    main()
