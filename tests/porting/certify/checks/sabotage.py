"""Certify with a part of its judgement replaced: the check that finds planted faults must then complain.

Run under the fake chip by test_sabotage.py. The check is planted.complaints itself, over what certify's own workers say: they are
forked from this process, so they judge as it does.
"""

import contextlib
import dataclasses

import torch

from forebay.porting.certify import looks, measure, planted
from forebay.porting.certify.compare import EXACT, Distance
from forebay.porting.certify.database import load
from forebay.porting.certify.verdict import Word
from forebay.porting.shim.chip.fakechip.faults import FAULTS

torch.set_num_threads(1)
DATABASE = load()


@contextlib.contextmanager
def replaced(name, value, where=measure):
    before = getattr(where, name)
    setattr(where, name, value)
    try:
        yield
    finally:
        setattr(where, name, before)


def complaints(fault):
    return planted.complaints(planted.look(FAULTS[fault], DATABASE))


def without_sabotage_there_is_nothing_to_complain_of():
    for fault in ("relu-of-nan-is-zero", "out-is-half-written", "gradients-are-computed-on-the-host"):
        assert complaints(fault) == []


def a_judge_that_always_says_strict_is_caught():
    with replaced("compare", lambda *args, **kwargs: EXACT):
        assert any("relu is strict" in one for one in complaints("relu-of-nan-is-zero"))


def a_judge_that_always_says_wrong_is_caught():
    with replaced("compare", lambda *args, **kwargs: Distance(Word.WRONG)):
        assert any("which it doesn't touch, is wrong" in one for one in complaints("relu-of-nan-is-zero"))


def a_verdict_that_is_always_strict_is_caught():
    real = measure.measure
    with replaced("measure", lambda *args: dataclasses.replace(real(*args), word=Word.STRICT)):
        assert complaints("relu-of-nan-is-zero")


def a_judge_that_looks_at_the_reference_chip_only_is_caught():
    real = measure.compare
    with replaced("compare", lambda found, reference, *rest, **kwargs: real(reference, reference, *rest, **kwargs)):
        assert any("relu is strict" in one for one in complaints("relu-of-nan-is-zero"))


def a_truth_that_is_the_chips_own_is_caught():
    """The truth and the reference are what the chip found."""
    real = measure.compare
    with replaced("compare", lambda found, reference, truth, *rest, **kwargs: real(found, found, found, *rest, **kwargs)):
        assert complaints("relu-of-nan-is-zero")


def a_truth_that_is_false_is_caught():
    """The truth is another number, the reference likewise: then what is right is wrong."""
    real = measure.compare

    def false(found, reference, truth, *rest, **kwargs):
        other = [one + 1 if isinstance(one, torch.Tensor) and one.dtype != torch.bool else one for one in reference]
        return real(found, other, other, *rest, **kwargs)

    with replaced("compare", false):
        assert any("which it doesn't touch" in one for one in complaints("relu-of-nan-is-zero"))


def a_measure_that_sees_no_copies_to_the_host_is_caught():
    with replaced("is_fallback", lambda *args: False, looks):
        assert complaints("gradients-are-computed-on-the-host")


def a_measure_that_sees_copies_everywhere_is_caught():
    with replaced("is_fallback", lambda *args: True, looks):
        assert any("is host fallback" in one for one in complaints("relu-of-nan-is-zero"))


def a_measure_that_calls_once_is_caught():
    with replaced("same", lambda *args: True, looks):
        assert complaints("last-bits-by-chance")


def a_measure_without_out_and_in_place_is_caught():
    with replaced("variants", lambda *args: iter(())):
        assert complaints("out-is-half-written")


def a_measure_that_leaves_arguments_and_aliases_alone_is_caught():
    with replaced("at_arguments", lambda *args: None, looks), replaced("at_aliases", lambda *args: None, looks):
        assert complaints("inputs-are-overwritten")
        assert complaints("clones-are-views")


def a_measure_without_samples_of_our_own_is_caught():
    real = measure.choose
    with replaced("choose", lambda *args, own=True: real(*args, own=False)):
        assert complaints("relu-of-nan-is-zero")
