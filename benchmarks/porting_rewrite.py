"""Public projects rewritten for every device: how much is settled, is it safe, and does it run?

    python benchmarks/porting_rewrite.py --projects DIR [--run] [--carrier NAME ...] [--only NAME] [--json]

DIR holds projects as their authors publish them. Each is copied, scanned and rewritten in the copy. Counted by rule: findings
settled, of those that tie the text to CUDA and of those that need a change at all (a switch of cuDNN's needs none elsewhere).
Checked in every file: rewriting the result changes nothing, every byte outside the edits is as it was, the result compiles, and
what was settled is found no more. With --run the entry points of the recipes (benchmarks/recipes) run from the rewritten copy, on
plain torch and on the simulated device. Bars: 90 % settled; it ends with 1 where a check fails.
"""

import argparse
import ast
import dataclasses
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import stopwatch
from porting_attempt import NOT_TEXT, attempt
from porting_projects import RECIPES, line, variables
from porting_recipe import find

from forebay.errors import ForebayError
from forebay.porting.rewrite.project import rewrite_project
from forebay.porting.rewrite.rewrite import rewrite
from forebay.porting.rewrite.write import write
from forebay.porting.scan import scan_tree
from forebay.porting.shim.__main__ import default_cache

HARMLESS = "can stay as it is"  # how the reason of a finding ends that needs no change on any chip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=Path, required=True, help="a folder with a project in each folder")
    parser.add_argument("--only", action="append", default=[], help="a project's folder, or folder/entry; may be repeated")
    parser.add_argument("--run", action="store_true", help="run the entry points of the recipes too")
    parser.add_argument("--carrier", action="append", choices=("plain", "simulated", "fakechip"), help="where they run")
    parser.add_argument("--recipes", type=Path, default=RECIPES, help="recipes that aren't beside the projects")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the compiled device is kept")
    parser.add_argument("--keep", type=Path, help="keep rewritten projects and runs in this folder")
    parser.add_argument("--json", action="store_true", help="one JSON object with all figures")
    args = parser.parse_args()
    stopwatch.end_cleanly()
    args.carrier = args.carrier or ["plain", "simulated"]
    rooms = args.keep.resolve() if args.keep else Path(tempfile.mkdtemp(prefix="forebay-rewrite-"))
    try:
        ported = [port(folder, rooms / "ported" / folder.name) for folder in chosen(args.projects, args.only)]
        runs = [one for carrier in args.carrier for one in run(args, rooms, carrier)] if args.run else []
    finally:
        if not args.keep:
            shutil.rmtree(rooms, ignore_errors=True)
    report(ported, runs, args.json)
    raise SystemExit(1 if any(one["faults"] for one in ported) else 0)


def chosen(projects, names):
    wanted = {name.split("/")[0] for name in names}
    return [path for path in sorted(projects.iterdir()) if path.is_dir() and (not wanted or path.name in wanted)]


def port(folder, copy):
    """Rewrite a copy of one project, and check every file of it."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True, ignore=NOT_TEXT)
    faults, settled, left, harmless = [], Counter(), Counter(), Counter()
    began = time.process_time()
    findings = scan_tree(copy)
    files = rewrite_project(copy, findings)
    cpu_s = time.process_time() - began
    for one in files:
        settled.update(edit.finding.rule for edit in one.edits if edit.finding is not None)
        for item in one.left:
            (harmless if item.reason.endswith(HARMLESS) else left)[item.finding.rule] += 1
        if one.after != one.before:
            faults += [f"{one.path}: {fault}" for fault in checked(one)]
    write(copy, files)
    told = {"project": folder.name, "files": len(findings.files), "changed": sum(one.after != one.before for one in files)}
    return {**told, "settled": settled, "left": left, "harmless": harmless, "faults": faults, "cpu_s": cpu_s}


def checked(one):
    """What is wrong with a rewritten file: nothing, or a word for each thing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes are the project's own
        try:
            ast.parse(one.after)
        except SyntaxError as error:
            yield f"no longer compiles: {error}"
            return
    again = rewrite(one.after, one.path)
    if again.after != one.after:
        yield "rewriting it twice changes something"
    if not is_outside_same(one):
        yield "bytes outside the edits differ"
    before, after = (Counter(item.finding.rule for item in side.left) for side in (one, again))
    if came_back := {rule: count - before[rule] for rule, count in after.items() if count > before[rule]}:
        yield f"found again after it was settled: {came_back}"


def is_outside_same(one):
    """With every edit and added line cut out, what is left of the new bytes is what is left of the old."""
    at_old = at_new = 0
    for start, end, text in one.splices:
        kept = one.before[at_old:start]
        if one.after[at_new : at_new + len(kept)] != kept or one.after[at_new + len(kept) :][: len(text)] != text:
            return False
        at_old, at_new = end, at_new + len(kept) + len(text)
    return one.before[at_old:] == one.after[at_new:]


def run(args, rooms, carrier):
    """The entry points that plain torch can't run as they are published, from the rewritten copies."""
    entries = [entry for entry in find(args.projects, args.recipes) if entry.plain == "fails"]
    for entry in entries:
        if args.only and entry.title not in args.only and entry.folder.name not in args.only:
            continue
        room = rooms / carrier / entry.folder.name / entry.name
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(parents=True)
        asked = argparse.Namespace(carrier=carrier, cache=args.cache)
        commands = entry.commands
        if carrier == "plain":  # without cards torchrun is told a number, as a person would
            commands = tuple(tuple(w.replace("_node=gpu", f"_node={entry.cards}") for w in words) for words in commands)
        now = dataclasses.replace(entry, folder=rooms / "ported" / entry.folder.name, plain="runs", commands=commands)
        outcome = attempt(now, carrier, variables(now, asked), room)
        print(line(outcome), file=sys.stderr, flush=True)
        yield outcome


def report(ported, runs, as_json):
    total = {name: sum((one[name] for one in ported), Counter()) for name in ("settled", "left", "harmless")}
    settled, left, harmless = (sum(counter.values()) for counter in total.values())
    if as_json:
        told = [dataclasses.asdict(one) for one in runs]
        print(json.dumps({"projects": ported, "settled": settled, "left": left, "harmless": harmless, "runs": told}))
        return
    print(f"{'rule':24}{'settled':>8}{'left':>6}{'harmless':>10}")
    rules = sorted(total["settled"] + total["left"] + total["harmless"], key=lambda rule: -total["settled"][rule])
    for rule in rules:
        print(f"{rule:24}{total['settled'][rule]:8}{total['left'][rule]:6}{total['harmless'][rule]:10}")
    for one in ported:
        print("\n".join(one["faults"]), end="\n" if one["faults"] else "")
    files, cpu_s = sum(one["files"] for one in ported), sum(one["cpu_s"] for one in ported)
    print(f"{len(ported)} projects, {files} files read, {sum(one['changed'] for one in ported)} changed, {cpu_s:.0f} CPU s")
    print(f"settled {settled} of {settled + left + harmless} findings ({settled / max(1, settled + left + harmless):.1%});")
    print(f"of those that need a change anywhere: {settled / max(1, settled + left):.1%}")
    for carrier in dict.fromkeys(one.carrier for one in runs):
        verdicts = Counter(one.verdict for one in runs if one.carrier == carrier)
        counts = "{passed} entry points run after the rewrite, {failed} don't, {skipped} were skipped"
        print(f"{carrier}: " + counts.format_map({"passed": 0, "failed": 0, "skipped": 0, **verdicts}))
    print(stopwatch.machine_line())


if __name__ == "__main__":
    try:
        main()
    except ForebayError as error:
        raise SystemExit(f"{error.kind}: {error}") from None
