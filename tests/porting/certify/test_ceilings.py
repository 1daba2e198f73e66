"""Ceilings, measured on this machine's processor: in processes of their own, honest about what isn't there."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from forebay.porting.certify import ceilings, ceilings_clock


class Watch:
    """A clock that only calls move: how busy the machine is changes nothing."""

    now_s = 0.0

    def perf_counter(self):
        return self.now_s

    monotonic = perf_counter


@pytest.fixture
def sleeping(monkeypatch):
    """A call that takes so many seconds of the watch."""
    watch = Watch()
    monkeypatch.setattr(ceilings_clock, "time", watch)

    def made(seconds):
        def call():
            watch.now_s += seconds

        return call

    return made


def test_growth_ends_when_twice_the_size_is_no_faster_and_keeps_the_best(sleeping):
    sizes = [
        ("slow", 1.0, sleeping(0.02)),
        ("best", 4.0, sleeping(0.02)),
        ("a", 4.0, sleeping(0.025)),
        ("b", 4.0, sleeping(0.025)),
    ]
    seen = []

    def walk():
        for size in [*sizes, ("never", 9.0, sleeping(0.02))]:
            seen.append(size[0])
            yield size

    found = ceilings_clock.grow("matmul", "x", "flop/s", walk(), ceilings_clock.Clock("cpu"), 60)
    assert (found["size"], seen) == ("best", ["slow", "best", "a", "b"])
    assert found["value"] == pytest.approx(4.0 / 0.02)


def test_what_the_chip_cannot_do_is_absent_with_the_reason_and_never_zero():
    def refuse():
        raise NotImplementedError("no such kernel")

    found = ceilings_clock.grow("matmul", "fp8", "flop/s", [("n", 1.0, refuse)], ceilings_clock.Clock("cpu"), 60)
    assert found == {"kind": "matmul", "name": "fp8", "unit": "flop/s", "reason": "NotImplementedError: no such kernel"}


def test_a_size_that_would_not_fit_into_the_time_is_left_out(sleeping):
    works = [("small", 1.0, sleeping(0.01)), ("huge", 1e6, sleeping(10))]
    found = ceilings_clock.grow("copy", "x", "bytes/s", works, ceilings_clock.Clock("cpu"), 2)
    assert found["size"] == "small"


@pytest.mark.slow
def test_the_processor_is_measured_with_its_collectives_and_says_what_it_lacks():
    found = ceilings.measure("cpu", backend="gloo", cards=2, seconds=6)
    by_name = {(one.kind, one.name): one for one in found}
    for name in (("matmul", "fp32"), ("copy", "on the card"), ("attention", "fp32 causal forward"), ("collective", "all-reduce")):
        assert by_name[name].value > 0 and by_name[name].runs >= 3, name
    assert by_name["matmul", "tf32"].value is None and "tf32" in by_name["matmul", "tf32"].reason
    assert ("copy", "host to card") not in by_name


def test_a_device_that_is_not_there_is_told_for_each_kind(monkeypatch):
    monkeypatch.setattr(ceilings, "KINDS", ("copy",))
    found = ceilings.measure("xpu", seconds=1)
    assert {(one.kind, one.value) for one in found} == {("copy", None), ("collective", None)}
    assert all(one.reason for one in found) and "backend" in found[-1].reason
