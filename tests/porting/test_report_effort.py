"""The effort figure: laws that an estimate must keep."""

from __future__ import annotations

import pytest

from forebay.chips import catalogue
from forebay.porting.effort import UNKNOWN_MINUTES, effort, everywhere, hours, in_words
from forebay.porting.findings import Finding, Findings
from forebay.porting.rules import RULES


def place(rule: str, line: int, file: str = "k.cu") -> Finding:
    return Finding(file=file, line=line, column=1, rule=rule, what="x", excerpt="x", meaning="x")


def project(*places: Finding) -> Findings:
    return Findings(entry="p", files=("k.cu",), findings=places, imports_torch=True, needs=("a device",))


def test_one_place_costs_its_rules_minutes():
    assert hours([place("cu-asm", 1)]) * 60 == pytest.approx(RULES["cu-asm"].minutes)


def test_two_like_places_in_a_file_cost_1_8_times_one():
    assert hours([place("cu-asm", 1), place("cu-asm", 2)]) == pytest.approx(1.8 * hours([place("cu-asm", 1)]))


def test_in_two_files_they_cost_twice():
    assert hours([place("cu-asm", 1), place("cu-asm", 1, "l.cu")]) == pytest.approx(2 * hours([place("cu-asm", 1)]))


def test_more_places_never_cost_less():
    spent = [hours([place("cu-asm", line) for line in range(count)]) for count in range(40)]
    assert spent == sorted(spent)
    assert spent[39] < 39 * spent[1]


def test_a_rule_without_minutes_counts_the_usual(monkeypatch):
    assert UNKNOWN_MINUTES > 0
    assert hours([place("word", 1)]) * 60 == pytest.approx(RULES["word"].minutes or UNKNOWN_MINUTES)


def test_a_chip_that_runs_it_as_it_is_costs_nothing():
    found = project(place("cu-asm", 1), place("cu-kernel", 2))
    assert effort(found, catalogue.find("h100-sxm")).hours == 0
    assert effort(found, catalogue.find("cpu")).places == 1  # kernels are emulated, PTX isn't
    assert effort(found, catalogue.find("ascend-910b")).places == 2


def test_64_lanes_cost_what_32_do_not():
    found = project(place("cu-lanes", 1))
    wide, narrow = catalogue.find("mi300x"), catalogue.find("a100-sxm-80gb")
    assert (effort(found, wide).places, effort(found, narrow).places) == (1, 0)


def test_without_an_adapter_every_device_is_a_place():
    found = project(place("device-string", 1, "t.py"))
    assert [effort(found, catalogue.find(chip)).places for chip in ("tpu-v4", "ascend-910b")] == [1, 0]


def test_what_the_rewrite_settled_is_taken_off():
    done, left = place("cuda-move", 1, "t.py"), place("cu-asm", 1)
    found = everywhere(project(done, left), settled=[done])
    assert (found.places, found.settled, found.remaining) == (2, 1, 1)
    assert found.hours == pytest.approx(1.0)
    assert found.hours < found.hours_by_hand


@pytest.mark.parametrize(
    "amount, words", [(0, "0 minutes"), (1 / 60, "1 minute"), (0.5, "30 minutes"), (3.25, "3.2 hours"), (40, "5 days")]
)
def test_hours_are_told_as_people_do(amount, words):
    assert in_words(amount) == words
