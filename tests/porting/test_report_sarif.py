"""SARIF: what the standard requires is there, and places are known again when lines move."""

from __future__ import annotations

import pytest

from forebay.chips import catalogue
from forebay.porting.findings import Finding, Findings, Unread
from forebay.porting.sarif import SCHEMA, sarif

CHIPS = [catalogue.find(name) for name in ("h100-sxm", "mi300x", "cpu")]


def place(rule: str = "cu-asm", line: int = 3, **more: object) -> Finding:
    given = {"file": "src/a b.cu", "column": 5, "what": "asm", "excerpt": 'asm("x");', "meaning": "inline PTX", **more}
    return Finding(line=line, rule=rule, **given)


def log(*places: Finding, unread: tuple[Unread, ...] = ()) -> dict:
    return sarif(Findings(entry="p", files=(), findings=places, imports_torch=True, unread=unread), CHIPS, "1.2.3")


def run(*places: Finding) -> dict:
    return log(*places)["runs"][0]


def test_the_log_has_what_the_standard_requires():
    made = log(place())
    assert (made["$schema"], made["version"]) == (SCHEMA, "2.1.0")
    driver = made["runs"][0]["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("Forebay", "1.2.3")
    for rule in driver["rules"]:
        assert rule["id"] and rule["shortDescription"]["text"].endswith(".") and rule["help"]["text"] and rule["help"]["markdown"]
    (result,) = made["runs"][0]["results"]
    assert result["message"]["text"].startswith("asm: inline PTX. NVIDIA: runs; its torch says cuda, warps of 64 lanes: rewrite;")
    assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "cu-asm"


def test_a_path_is_relative_and_escaped_and_a_region_counts_from_one():
    (result,) = run(place())["results"]
    where = result["locations"][0]["physicalLocation"]
    assert where["artifactLocation"] == {"uri": "src/a%20b.cu", "uriBaseId": "SRCROOT"}
    assert where["region"] == {"startLine": 3, "startColumn": 5, "snippet": {"text": 'asm("x");'}}
    assert "SRCROOT" in run(place())["originalUriBaseIds"]


@pytest.mark.parametrize(
    "rule, level, kind",
    [
        ("cu-cutlass", "error", "fail"),
        ("cu-asm", "warning", "fail"),
        ("cu-kernel", "note", "fail"),
        ("cuda-move", "none", "informational"),
    ],
)
def test_the_level_is_the_worst_word(rule, level, kind):
    (result,) = run(place(rule))["results"]
    assert (result["level"], result["kind"]) == (level, kind)


def prints(*places: Finding) -> list[str]:
    return [result["partialFingerprints"]["forebayPlace/v1"] for result in run(*places)["results"]]


def test_a_place_keeps_its_fingerprint_when_lines_move():
    assert prints(place(line=3)) == prints(place(line=90, column=9))
    assert prints(place()) != prints(place(file="other.cu"))
    assert prints(place()) != prints(place(excerpt='asm("y");'))


def test_like_lines_of_a_file_have_fingerprints_of_their_own():
    assert len(set(prints(place(line=1), place(line=2), place(line=3)))) == 3


def test_a_notebooks_place_is_its_cell():
    (result,) = run(place(file="n.ipynb", cell=4, line=2))["results"]
    (where,) = result["locations"]
    assert "region" not in where["physicalLocation"]
    assert where["logicalLocations"][0]["name"] == "cell 4, line 2"


def test_a_file_that_could_not_be_read_is_told():
    (call,) = log(unread=(Unread(file="x.py", reason="line 1: bad"),))["runs"][0]["invocations"]
    (note,) = call["toolExecutionNotifications"]
    assert (note["level"], note["message"]["text"]) == ("warning", "Not read: line 1: bad.")


def test_nothing_found_is_a_log_too():
    assert run()["results"] == [] == run()["tool"]["driver"]["rules"]
