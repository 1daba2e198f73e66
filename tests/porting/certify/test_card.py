"""From verdicts to a scorecard and its page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from forebay.chips import catalogue, use
from forebay.chips.scorecard import LETTERS, SIMULATED, USABLE, Ceiling
from forebay.porting.certify.card import ratio, scorecard
from forebay.porting.certify.ceilings import nominal, shares
from forebay.porting.certify.page import Shown, page
from forebay.porting.certify.page_words import WORDS
from forebay.porting.certify.record import Header, Run
from forebay.porting.certify.verdict import Verdict, Word

HEADER = Header(
    chip="h100-sxm",
    device="cuda",
    imports=(),
    carrier="",
    mode="full",
    formats=("float32", "bfloat16"),
    only=(),
    seed=1,
    entries=702,
    database="x",
    cases=5,
    reference="a processor",
    software={"torch": "2.13.0"},
    started="2026-11-22T10:00:00Z",
)


def verdict(operator, word, number_format="float32", direction="forward", **more):
    return Verdict(operator=operator, format=number_format, direction=direction, word=word, samples=4, **more)


VERDICTS = (
    verdict("add", Word.STRICT, error=0.4, reference_error=0.3, seconds=2e-3, reference_seconds=1e-3),
    verdict("add", Word.STRICT, direction="backward", error=1.0, reference_error=1.0),
    verdict("add", Word.BASIC, "bfloat16", error=6.0, reference_error=1.5),
    verdict("fft.fft", Word.ERROR, detail="NotImplementedError:  no\nkernel <b>"),
    verdict("gather", Word.WRONG, error=float("inf"), reference_error=0.0, detail="off by one"),
)
RUN = Run(HEADER, VERDICTS)
BF16 = Ceiling(kind="matmul", name="bf16", unit="flop/s", value=6e14, runs=9)
COPY = Ceiling(kind="copy", name="on the card", unit="bytes/s", value=4e12, runs=9)
NO_FP8 = Ceiling(kind="matmul", name="fp8", unit="flop/s", reason="RuntimeError: <no>")


def test_the_letters_are_the_words_of_verdicts_in_the_same_order():
    assert tuple(LETTERS.values()) == tuple(word.value for word in Word)
    assert {LETTERS[letter] for letter in USABLE} == {"strict", "basic", "nondeterministic"}


def test_a_run_becomes_a_card():
    card = scorecard(RUN, (BF16,), command="forebay chips certify h100-sxm")
    assert card.columns == ("float32 forward", "float32 backward", "bfloat16 forward")
    assert card.operators == {"add": "ssb", "fft.fft": "e--", "gather": "w--"}
    assert card.reasons == {
        "fft.fft": "float32 forward: NotImplementedError: no kernel <b>",
        "gather": "float32 forward: off by one",
    }
    assert card.seconds_a_sample == {"add": (5e-4, 2.5e-4)}
    assert (card.measured_on, card.stands, card.mode, card.entries) == ("2026-11-22", "card", "full", 702)
    assert card.ceilings == (BF16,)


def test_a_run_of_some_operators_or_not_to_the_end_is_a_part():
    assert scorecard(replace(RUN, header=replace(HEADER, only=("add",)))).mode == "part"
    assert scorecard(replace(RUN, verdicts=VERDICTS[:2])).mode == "part"


@pytest.mark.parametrize("carrier, speeds", [("simulated", ()), ("fakechip", ()), ("npu", (BF16,)), ("", (BF16,))])
def test_what_cores_stand_in_for_gets_no_speed(carrier, speeds):
    card = scorecard(Run(replace(HEADER, carrier=carrier), VERDICTS), (BF16,))
    assert card.ceilings == speeds
    assert (card.stands == SIMULATED) == (speeds == ()) == (card.seconds_a_sample == {})


def test_a_distance_is_a_ratio_to_the_reference_and_half_a_rounding_is_nobodys_fault():
    assert ratio(VERDICTS[0]) == 1.0
    assert ratio(VERDICTS[2]) == 4.0
    assert ratio(VERDICTS[4]) is None
    found = scorecard(RUN).accuracy
    assert (found.compared, found.median, found.p90) == (3, 1.0, 4.0)
    assert (found.histogram["1"], found.histogram["4"], sum(found.histogram.values())) == (2, 1, 3)
    assert [(far.operator, far.column, far.ratio) for far in found.worst] == [("add", "bfloat16 forward", 4.0)]


def test_ceilings_are_shares_of_the_sheet_and_of_the_reference_and_may_pass_both():
    chip = catalogue.find("h100-sxm")
    card = scorecard(RUN, (BF16, COPY, NO_FP8))
    other = replace(card, chip="other", ceilings=(replace(BF16, value=3e14),))
    found = shares(card, chip, other)
    assert [one.of_sheet for one in found] == [
        pytest.approx(6e14 / chip.flop_per_s["bf16"]),
        pytest.approx(4e12 / chip.memory_bytes_per_s),
        None,
    ]
    assert found[1].of_sheet > 1
    assert [one.of_reference for one in found] == [2.0, None, None]


def test_a_collective_is_held_against_one_direction_of_the_link():
    chip = catalogue.find("h100-sxm")
    reduce = Ceiling(kind="collective", name="all-reduce", unit="bytes/s", value=1.0)
    assert nominal(reduce, chip) == chip.scale_up_bytes_per_s / 2
    assert nominal(reduce, None) is None and nominal(replace(COPY, name="host to card"), chip) is None


class Tags(HTMLParser):
    """Whether every tag that is opened is closed in turn."""

    VOID = ("meta", "br", "rect", "circle", "line", "path")

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.seen = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def drawn(*cards):
    return page([Shown(card=card, chip=catalogue.load().get(card.chip)) for card in cards], use.shipped(), None)


def test_the_page_is_whole_alone_and_side_by_side_and_loads_nothing():
    card = scorecard(RUN, (BF16, COPY, NO_FP8))
    other = replace(card, chip="ascend-910b", operators={**card.operators, "add": "www"})
    for text in (drawn(card), drawn(card, other)):
        tags = Tags()
        tags.feed(text)
        assert (tags.wrong, tags.open) == ([], [])
        assert "svg" in tags.seen
        assert re.findall(r"(?:src|href)=|url\(|@import", text) == []
    assert "Where they differ" in drawn(card, other) and "Where they differ" not in drawn(card)


def test_what_a_chip_says_is_text_on_the_page_and_never_markup():
    text = drawn(scorecard(RUN, (NO_FP8,), device="<script>x</script>"))
    assert "<b>" not in text and "&lt;b&gt;" in text and "<script>x" not in text and "RuntimeError: &lt;no&gt;" in text


def test_every_tile_names_its_operator_and_a_simulated_chip_says_so_on_its_face():
    text = drawn(scorecard(Run(replace(HEADER, carrier="simulated"), VERDICTS)))
    assert [name for name in ("add", "fft.fft", "gather") if f"<title>{name}&#10;" not in text] == []
    assert "simulated: stood in for by processor cores" in text
    assert "TFLOP/s" not in text


def test_every_heading_is_there_in_both_languages():
    assert [name for name, (english, chinese) in WORDS.items() if not english or not re.search(r"[\u4e00-\u9fff]", chinese)] == []
