"""How much of what a person marked beside Python is found, how much of what is found was marked, and how fast.

    python benchmarks/porting_sources.py --projects DIR [--only NAME] [--json]

DIR holds public projects as their authors publish them, one in each folder. benchmarks/source_labels has the marks: file, line
and rule, written down by reading the files that each label file names as read; lines of those files without a mark are no uses.
Projects called blind were marked before the scan was first run on them. Speed: CPU seconds of this one process over all files
of DIR that are read beside Python. The bars: recall 100 %, precision 99 %.
"""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path

import stopwatch
from porting_scan import Score, in_words, sum_of

from forebay.porting.sources import find, reads

LABELS = Path(__file__).resolve().parent / "source_labels"
RECALL, PRECISION = 1.0, 0.99


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=Path, help="a folder with a public project in each folder")
    parser.add_argument("--only", action="append", default=[], help="a project's name; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object with all figures")
    args = parser.parse_args()
    if args.projects is None:
        parser.error("--projects: the marks are of public projects, which aren't kept here")
    stopwatch.end_cleanly()
    scores = [
        score(label, args.projects / label.stem)
        for label in sorted(LABELS.glob("*.txt"))
        if (args.projects / label.stem).is_dir() and (not args.only or label.stem in args.only)
    ]
    total, speed = sum_of("all", scores), speed_of(args.projects)
    if args.json:
        rows = [{**vars(one), "recall": one.recall, "precision": one.precision} for one in (*scores, total)]
        print(json.dumps({"scores": rows, "speed": speed, **stopwatch.machine()}))
    else:
        for one in scores:
            print(in_words(one))
            for what, lines in (("missed", one.missed), ("false", one.false)):
                for line in lines:
                    print(f"    {what}: {line}")
        print(in_words(total))
        print("{files} files, {megabytes:.1f} MB: {cpu_s:.2f} CPU seconds".format_map(speed))
        print(stopwatch.machine_line())
    raise SystemExit(0 if total.recall >= RECALL and total.precision >= PRECISION else 1)


def score(label, folder):
    """Marked and found, a use being one rule in one line: a kernel's file and its first line are two."""
    head = [line[2:] for line in label.read_text().splitlines() if line.startswith("# ")]
    marked, found, excerpts = Counter(), Counter(), {}
    marked_rules, found_rules = set(), set()
    for line in label.read_text().splitlines():
        if not line.startswith("#"):
            place, *rules = line.split()
            marked[place] += len(rules)
            marked_rules |= {(place, rule) for rule in rules}
    for name in (line.removeprefix("read ") for line in head if line.startswith("read ")):
        for one in find(name, (folder / name).read_text(errors="replace")) if reads(name) else ():
            found[one.place] += 1
            found_rules.add((one.place, one.rule))
            excerpts[one.place] = f"{one.rule}: {one.excerpt[:80]}"
    right = sum((marked & found).values())
    return Score(
        name=label.stem,
        blind="blind" in head,
        marked=sum(marked.values()),
        found=sum(found.values()),
        right=right,
        kinds_right=len(marked_rules & found_rules),
        missed=tuple(sorted((marked - found).elements())),
        false=tuple(f"{place} {excerpts[place]}" for place in sorted((found - marked).elements())),
    )


def speed_of(root):
    names = [
        os.path.join(folder, name)
        for folder, _, inside in os.walk(root, followlinks=True)
        for name in inside
        if reads(name) and "/.git" not in folder
    ]
    texts = []
    for name in names:
        try:
            with open(name, errors="replace") as file:
                texts.append((name, file.read()))
        except OSError:
            continue
    began = time.process_time()
    for name, text in texts:
        find(name, text)
    spent = time.process_time() - began
    return {"files": len(texts), "megabytes": sum(len(text) for _, text in texts) / 1e6, "cpu_s": spent}


if __name__ == "__main__":
    main()
