"""How much of what a person marked is found, how much of what is found was marked, and how fast.

    python benchmarks/porting_scan.py [--projects DIR] [--only NAME] [--json]

Without DIR it reads tests/porting/corpus: scripts of our own, in which each use was marked by hand. With DIR, a folder with
public projects as their authors publish them, it also reads those of which benchmarks/scan_labels holds the marks: file, line and
kind, written down by reading the lines of a wide search (cuda, gpu, nccl, device, .to( ...) by eye, never from the scan's own
answer. Those that are called blind were marked before the scan was first run on them.
Speed: CPU seconds of this one process over the Python files of DIR, the 650 largest of them. The bars: recall 100 %, precision
99 %, 650 files in 10 s.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import stopwatch

from forebay.porting.rules import RULES
from forebay.porting.scan import scan_tree
from forebay.porting.scan.look import scan
from forebay.porting.scan.text import read
from forebay.porting.scan.whole import without_collector

HERE = Path(__file__).resolve().parent
LABELS = HERE / "scan_labels"
CORPUS = HERE.parent / "tests" / "porting" / "corpus"
RECALL, PRECISION, FILES, SECONDS = 1.0, 0.99, 650, 10.0

# The kinds that a reader marks, and the rules that are each of them.
KINDS = {
    "device": "device-string map-location",
    "comparison": "device-comparison",
    "move": "cuda-move",
    "index": "device-index",
    "cuda": "cuda-tensor-type cuda-module choice sync memory rng streams amp graphs telemetry card-only cuda-comm cuda-version "
    "cuda-other",
    "is-cuda": "is-cuda",
    "backends": "backends tf32",
    "nccl": "nccl nccl-comparison",
    "device-ids": "device-ids",
    "trainer": "trainer-gpus",
    "kernels": "cuda-extension cuda-source extension nvcc cu-file cuda-dispatch",
    "package": "cuda-package cuda-package-stood-in cuda-package-optional own-extension cuda-library",
    "triton": "triton",
    "tool": "nvidia-smi",
    "environment": "visible-devices cuda-environment",
    "other": "nvtx profiler cuda-error",
}
KIND = {rule: kind for kind, rules in KINDS.items() for rule in rules.split()}


@dataclass(frozen=True)
class Marks:
    """What a person marked in one project: lines, each with its kinds."""

    name: str
    blind: bool
    commit: str
    only: tuple[str, ...]
    lines: dict  # (file, line) -> kinds


@dataclass(frozen=True)
class Score:
    """Found and marked, by line and by kind within the line."""

    name: str
    blind: bool
    marked: int
    found: int
    right: int
    kinds_right: int
    missed: tuple[str, ...]
    false: tuple[str, ...]

    @property
    def recall(self):
        return self.right / self.marked if self.marked else 1.0

    @property
    def precision(self):
        return self.right / self.found if self.found else 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--projects", type=Path, help="a folder with a public project in each folder")
    parser.add_argument("--only", action="append", default=[], help="a project's name; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON object with all figures")
    args = parser.parse_args()
    stopwatch.end_cleanly()
    scores = [] if args.only else [own_corpus()]
    if args.projects:
        for marks in map(marks_of, sorted(LABELS.glob("*.txt"))):
            if (args.projects / marks.name).is_dir() and (not args.only or marks.name in args.only):
                scores.append(score(marks, args.projects / marks.name))
    total = sum_of("all", scores)
    speed = speed_of(args.projects) if args.projects and not args.only else None
    if args.json:
        rows = [{**vars(one), "recall": one.recall, "precision": one.precision} for one in (*scores, total)]
        print(json.dumps({"scores": rows, "speed": speed, **stopwatch.machine()}))
    else:
        show(scores, total, speed)
    met = total.recall >= RECALL and total.precision >= PRECISION
    met = met and (speed is None or speed["cpu_s"] * FILES / speed["files"] <= SECONDS)
    raise SystemExit(0 if met else 1)


def show(scores, total, speed):
    for one in scores:
        print(in_words(one))
        for what, lines in (("missed", one.missed), ("false", one.false)):
            for line in lines:
                print(f"    {what}: {line}")
    if any(one.blind for one in scores):
        print(in_words(sum_of("the blind ones", [one for one in scores if one.blind])))
    print(in_words(total))
    if speed:
        print("{files} files, {megabytes:.1f} MB: {cpu_s:.2f} CPU seconds, {files_per_s:.0f} files a second".format_map(speed))
    print(stopwatch.machine_line())


def in_words(one):
    return (
        f"{one.name:22}{'blind' if one.blind else '':6} marked {one.marked:4}  found {one.found:4}  recall {one.recall:7.2%}"
        f"  precision {one.precision:7.2%}  of the same kind {one.kinds_right}"
    )


# ---------------------------------------------------------------- scoring


def own_corpus():
    """Each script of the corpus beside its marks, NAME.marks: a line number and its kinds."""
    scores = []
    for file in sorted(CORPUS.glob("*.py.txt")):
        marks = {(file.name, line): kinds for line, kinds in numbered(file.with_name(file.name.replace(".py.txt", ".marks")))}
        scores.append(compare(file.name, False, marks, scan(read(file), file.name)))
    return sum_of("own corpus", scores)


def marks_of(path):
    head = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
    lines = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            place, *kinds = line.split()
            file, number = place.rsplit(":", 1)
            lines[file, int(number)] = set(kinds)
    only = next((line.split()[1:] for line in head if line.startswith("only ")), [])
    commit = next(line.split()[1] for line in head if line.startswith("commit "))
    return Marks(path.stem, "blind" in head, commit, tuple(only), lines)


def numbered(path):
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            number, *kinds = line.split()
            yield int(number), set(kinds)


def score(marks, folder):
    findings = [
        one
        for one in scan_tree(folder).findings
        if one.file.endswith(".py") and (not marks.only or one.file.startswith(marks.only))
    ]
    return compare(marks.name, marks.blind, marks.lines, findings)


def compare(name, blind, marks, findings):
    found = {}
    for one in findings:
        if RULES[one.rule].ties:
            found.setdefault((one.file, one.line), []).append(one)
    right = marks.keys() & found.keys()
    return Score(
        name=name,
        blind=blind,
        marked=len(marks),
        found=len(found),
        right=len(right),
        kinds_right=sum(marks[place] <= {KIND[one.rule] for one in found[place]} for place in right),
        missed=tuple(f"{file}:{line} {' '.join(sorted(marks[file, line]))}" for file, line in sorted(marks.keys() - right)),
        false=tuple(f"{f}:{n} {found[f, n][0].rule}: {found[f, n][0].excerpt}" for f, n in sorted(found.keys() - right)),
    )


def sum_of(name, scores):
    sums = Counter()
    for one in scores:
        sums.update(marked=one.marked, found=one.found, right=one.right, kinds_right=one.kinds_right)
    missed = tuple(line for one in scores for line in one.missed)
    false = tuple(line for one in scores for line in one.false)
    return Score(
        name=name,
        blind=False,
        **{key: sums[key] for key in ("marked", "found", "right", "kinds_right")},
        missed=missed,
        false=false,
    )


# ---------------------------------------------------------------- speed


def speed_of(folder):
    files = sorted((path for path in folder.rglob("*.py") if path.is_file()), key=lambda path: -path.stat().st_size)
    texts = []
    for path in files:
        try:
            texts.append((str(path), read(path)))
        except Exception as error:  # a file in another encoding, or Python 2: told, and not part of the speed
            print(f"unread: {error}", file=sys.stderr)
        if len(texts) == FILES:
            break
    with without_collector():  # as a folder is read
        began = time.process_time()
        read_ = sum(is_read(text, path) for path, text in texts)
        seconds = time.process_time() - began
    size = sum(len(text) for _, text in texts) / 1e6
    return {"files": read_, "megabytes": size, "cpu_s": seconds, "files_per_s": read_ / seconds}


def is_read(text, path):
    try:
        scan(text, path)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
