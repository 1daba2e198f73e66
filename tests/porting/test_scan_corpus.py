"""The scan against scripts in which a person marked each use: nothing is missed, and next to nothing is found that isn't one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forebay.porting.rules import RULES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import porting_scan

        yield porting_scan
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_what_was_marked_in_our_own_scripts_is_found_and_nothing_else(bench):
    score = bench.own_corpus()
    assert (score.missed, score.false) == ((), ())
    assert score.marked == score.kinds_right >= 200


def test_each_script_has_marks_and_each_mark_a_kind_that_there_is(bench):
    scripts = {path.name.removesuffix(".py.txt") for path in CORPUS.glob("*.py.txt")}
    assert scripts == {path.stem for path in CORPUS.glob("*.marks")}
    kinds = {kind for path in CORPUS.glob("*.marks") for _, kinds in bench.numbered(path) for kind in kinds}
    assert kinds <= set(bench.KINDS)


def test_the_marks_in_public_projects_say_where_they_are_from(bench):
    marks = [bench.marks_of(path) for path in sorted(bench.LABELS.glob("*.txt"))]
    assert len(marks) >= 12
    assert sum(len(one.lines) for one in marks) >= 500
    assert len([one for one in marks if one.blind]) >= 3
    assert all(len(one.commit) == 40 for one in marks)


def test_each_rule_that_ties_a_text_to_cuda_is_of_some_kind(bench):
    python = {rule.key for rule in RULES.values() if rule.ties} - {"cu-file"}
    from forebay.porting.source_rules import SOURCE_TABLE

    assert python - {rule.key for rule in SOURCE_TABLE} - set(bench.KIND) == set()


def test_a_missed_line_and_a_wrong_one_lower_the_score(bench):
    marks = {("a.py", 1): {"move"}, ("a.py", 2): {"move"}}
    score = bench.compare("a", False, marks, bench.scan("x.cuda()\n\ny.cuda()\n", "a.py"))
    assert (score.recall, score.precision) == (0.5, 0.5)
    assert score.missed == ("a.py:2 move",)
    assert score.false == ("a.py:3 cuda-move: y.cuda()",)
