"""Certify finds what is planted in the fake chip, and only that."""

import json
from collections import Counter

import pytest

from forebay.porting.certify.planted import CONTROLS, Seen, complaints
from forebay.porting.certify.verdict import Verdict, Word

from ..chip.conftest import fakechip  # noqa: F401 (a fixture)
from ..shim.conftest import run

KINDS_OF_ENDINGS = {"host fallback": Word.HOST_FALLBACK, "crash": Word.CRASH, "hang": Word.TIMEOUT, "refused": Word.ERROR}


def listed(carrier):
    """The table of faults, from a process that has the fake chip: [[name, kind], ...]."""
    words = "import json, torch; from forebay.porting.shim.chip.fakechip.faults import FAULTS"
    asked = run(carrier, "-c", f"{words}; print('FAULTS', json.dumps([[one.name, one.kind] for one in FAULTS.values()]))")
    assert "FAULTS " in asked.stdout, asked.stderr
    return json.loads(asked.stdout.partition("FAULTS ")[2])


def looked(carrier, *words):
    ended = run(carrier, "-m", "forebay.porting.certify.planted", *words, within_s=230)  # the test has a limit of its own
    assert ended.returncode == 0, ended.stderr
    return [Seen.from_json(json.loads(line)) for line in ended.stdout.splitlines() if line.startswith("{")]


def test_there_are_at_least_forty_faults_of_many_kinds(fakechip):  # noqa: F811
    faults = listed(fakechip)
    kinds = Counter(kind for _, kind in faults)
    assert len(faults) >= 40
    assert len(kinds) >= 20
    assert len({name for name, _ in faults}) == len(faults)


def of_kinds(faults):
    """One of each kind that ends in a word of its own, and of every other of the rest: all take a minute, and are tried below."""
    one = {kind: name for name, kind in faults}
    rest = [name for kind, name in one.items() if kind not in KINDS_OF_ENDINGS]
    return [one[kind] for kind in KINDS_OF_ENDINGS] + rest[::2]


@pytest.mark.timeout(240)
def test_faults_of_many_kinds_are_found_and_nothing_else_is(fakechip):  # noqa: F811
    names = of_kinds(listed(fakechip))
    half = len(names) // 2
    seen = [*looked(fakechip, *names[:half]), *looked(fakechip, *names[half:])]
    assert sorted(one.fault for one in seen) == sorted(names)
    assert [said for one in seen for said in complaints(one)] == []
    for one in seen:
        assert one.kind not in KINDS_OF_ENDINGS or one.found_as is KINDS_OF_ENDINGS[one.kind]


PARTS = 16


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_fault_is_found_and_nothing_else_is(fakechip, part):  # noqa: F811
    seen = looked(fakechip, "--part", f"{part}/{PARTS}")
    assert seen
    assert [said for one in seen for said in complaints(one)] == []


# ---------------------------------------------------------------- the check itself


def verdict(operator, word):
    return Verdict(operator=operator, format="float32", direction="forward", word=word, samples=1)


def seen(kind="aliases", word=Word.WRONG, control=Word.STRICT):
    verdicts = (verdict("relu", word), *(verdict(one, control) for one in CONTROLS))
    return Seen("a-fault", kind, {"relu": ("relu",)}, verdicts, 1.0)


def test_a_fault_that_is_found_where_it_is_gives_nothing_to_complain_of():
    assert complaints(seen()) == []


@pytest.mark.parametrize("word", [Word.STRICT, Word.ERROR, Word.CRASH, Word.TIMEOUT, Word.UNTESTED, Word.HOST_FALLBACK])
def test_a_wrong_number_must_be_called_that(word):
    assert complaints(seen(word=word)) == [f"a-fault: relu is {word.value}"]


@pytest.mark.parametrize("kind", KINDS_OF_ENDINGS)
def test_how_a_call_ends_must_be_called_by_its_word(kind):
    assert complaints(seen(kind, KINDS_OF_ENDINGS[kind])) == []
    assert complaints(seen(kind, Word.WRONG))


def test_a_fault_that_touches_nothing_known_isnt_found():
    unknown = Seen("a-fault", "aliases", {"_inner": ()}, (), 1.0)
    assert complaints(unknown) == ["a-fault: the database has none of _inner"]


def test_a_control_that_isnt_strict_is_a_false_alarm():
    said = complaints(seen(control=Word.BASIC))
    assert len(said) == len(CONTROLS)
    assert all("which it doesn't touch, is basic" in one for one in said)


def test_what_was_seen_survives_a_trip_through_json():
    assert Seen.from_json(json.loads(json.dumps(seen().to_json()))) == seen()
