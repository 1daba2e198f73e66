"""The HTML report: one file, whole, and safe whatever the project's names are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from forebay.chips import catalogue
from forebay.porting import report
from forebay.porting.effort import effort, everywhere
from forebay.porting.findings import Finding, Findings, Unread, Word
from forebay.porting.page import page
from forebay.porting.page_look import HEADINGS

CHIPS = [catalogue.find(name) for name in ("h100-sxm", "mi300x", "cpu", "ascend-910b")]
EVIL = "<script>alert(1)</script>"
VOID = {"meta", "input", "br"}


def made(*places: Finding, entry: str = "p", notes: tuple[Finding, ...] = (), unread: tuple[Unread, ...] = ()) -> str:
    found = Findings(
        entry=entry, files=("a",), findings=places, imports_torch=True, needs=("a device",), notes=notes, unread=unread
    )
    verdicts = report.verdicts(found, CHIPS)
    return page(found, verdicts, CHIPS, {chip.name: effort(found, chip) for chip in CHIPS}, everywhere(found), "2026-11-22")


def place(rule: str = "cu-asm", **more: object) -> Finding:
    given = {"file": "k.cu", "line": 3, "column": 5, "what": "asm", "excerpt": "asm", "meaning": "inline PTX", **more}
    return Finding(rule=rule, **given)


class Tags(HTMLParser):
    """What is open at the end, and every tag on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_is_closed():
    assert Tags(made(place(), place("cuda-move", file="t.py"))).open == []
    assert Tags(made()).open == []


def test_what_comes_from_the_project_is_escaped_everywhere():
    told = made(
        place(file=EVIL, what=EVIL, excerpt=EVIL),
        entry=EVIL,
        notes=(place("word", file=EVIL),),
        unread=(Unread(file=EVIL, reason=EVIL),),
    )
    assert "alert(1)<" not in told.replace("alert(1)&lt;", "")
    assert [tag for tag, _ in Tags(told).seen].count("script") == 1


def test_the_file_asks_nothing_of_the_network():
    told = made(place())
    assert not re.search(r"""(?:src|href|url|@import)\s*[=(]""", told)
    assert "default-src 'none'" in told


def test_each_finding_is_there_with_its_word_for_the_filter():
    told = Tags(made(place(), place("cuda-move", file="t.py")))
    filtered = [(at["data-word"], at["data-rule"]) for tag, at in told.seen if tag == "div" and "data-rule" in at]
    assert filtered == [("blocked", "cu-asm"), ("runs", "cuda-move")]
    buttons = [at["data-word"] for tag, at in told.seen if tag == "button" and "data-word" in at]
    assert buttons == [word.value for word in Word]


def test_every_heading_is_there_in_both_languages():
    told = made(place())
    english = re.findall(r'<span lang="en">(.*?)</span><span lang="zh">(.*?)</span>', told)
    assert len(english) > 20
    assert all(HEADINGS[heading.replace("&#x27;", "'")] == chinese for heading, chinese in english)


def test_chips_of_one_effort_share_a_bar():
    bars = re.findall(r"<g class=\"(\w+)\"><title>(.*?)</title>", made(place()))
    assert bars == [("runs", "h100-sxm"), ("rewrite", "mi300x, cpu"), ("blocked", "ascend-910b")]


def test_long_reports_fold_their_files():
    told = made(*(place(line=line) for line in range(1, 60)))
    assert '<details class="file">' in told
