"""A certification's folder: what is written is read, what is torn is cut off, what is another run's is refused."""

import dataclasses
import json

import pytest

from forebay.errors import BadInput, Conflict, Unknown
from forebay.porting.certify import record
from forebay.porting.certify.verdict import Verdict, Word

HEADER = record.Header(
    chip="x1",
    device="cuda",
    imports=("plugin",),
    carrier="",
    mode="full",
    formats=("float32",),
    only=(),
    seed=1,
    entries=702,
    database="abc",
    cases=3,
    reference="a processor",
    software={"torch": "2.13.0"},
    started="2026-11-22T20:00:00Z",
)
ONE = Verdict(operator="add", format="float32", direction="forward", word=Word.STRICT, samples=9, error=0.5, reference_error=0.5)
TWO = Verdict(operator="add", format="float32", direction="backward", word=Word.HOST_FALLBACK, samples=9, host_bytes=400)
THREE = Verdict(operator="mul", format="float32", direction="forward", word=Word.CRASH, samples=0, detail="killed by SIGSEGV")


def kept(folder, *verdicts, header=HEADER):
    book = record.Book(folder, header)
    book.add(verdicts)
    book.close()
    return book


def test_what_is_written_is_read(tmp_path):
    kept(tmp_path, ONE, TWO)
    kept(tmp_path, THREE)
    assert record.read(tmp_path) == record.Run(HEADER, (ONE, TWO, THREE))
    assert record.read(tmp_path).whole


def test_a_torn_line_is_cut_off_and_the_run_goes_on_behind_it(tmp_path):
    kept(tmp_path, ONE)
    with open(tmp_path / record.RESULTS, "ab") as file:
        file.write(json.dumps(TWO.to_json()).encode()[:40])
    assert record.read(tmp_path).verdicts == (ONE,)
    assert kept(tmp_path, TWO).verdicts == (ONE,)
    assert record.read(tmp_path).verdicts == (ONE, TWO)


def test_the_start_alone_may_differ(tmp_path):
    kept(tmp_path, ONE)
    later = dataclasses.replace(HEADER, started="2026-11-23T09:00:00Z")
    book = kept(tmp_path, TWO, header=later)
    assert book.header == HEADER


@pytest.mark.parametrize(
    "other", [{"chip": "x2"}, {"software": {"torch": "2.12.0"}}, {"formats": ("float16",)}, {"database": "d"}]
)
def test_another_run_s_folder_is_refused_and_left_as_it_is(tmp_path, other):
    kept(tmp_path, ONE)
    with pytest.raises(Conflict, match=next(iter(other))):
        record.Book(tmp_path, dataclasses.replace(HEADER, **other))
    assert record.read(tmp_path) == record.Run(HEADER, (ONE,))


def test_two_writers_are_refused(tmp_path):
    book = record.Book(tmp_path, HEADER)
    with pytest.raises(Conflict, match="Another certification is writing"):
        record.Book(tmp_path, HEADER)
    book.close()


def test_an_empty_folder_holds_no_run(tmp_path):
    with pytest.raises(Unknown):
        record.read(tmp_path)


def test_a_line_that_is_no_verdict_is_named(tmp_path):
    kept(tmp_path, ONE)
    with open(tmp_path / record.RESULTS, "a") as file:
        file.write('{"operator": "add"}\n')
    with pytest.raises(BadInput, match=r"results\.jsonl:2"):
        record.read(tmp_path)
