"""Forecasts in words."""

from __future__ import annotations

import pytest

from forebay.cli.why_words import rough, short, words


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0, "now"),
        (9, "now"),
        (38, "40 s"),
        (59, "60 s"),
        (61, "1 min"),
        (1260, "21 min"),
        (3599, "1 h"),
        (5400, "1 h 30 min"),
        (39_000, "10 h"),
        (86400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_a_forecast_is_told_as_roughly_as_it_is_known(seconds, said):
    assert rough(seconds) == said


def test_why_and_when_are_one_line():
    why = {"constraint": "busy", "text": "it wants 8 x h100-sxm; 3 of 64 are free", "release": "runs end"}
    start = {"soonest_s": 300.0, "likely_s": 1260.0, "latest_s": 5400.0}
    known = "waits: it wants 8 x h100-sxm; 3 of 64 are free · likely to start in 21 min (5 min to 1 h 30 min)"
    assert words(why | {"start": start}) == known
    assert words(why | {"start": None}).endswith("· nobody can say when it starts")
    assert words(why | {"start": dict.fromkeys(start, 2.0)}).endswith("· likely to start any moment")
    assert short(why | {"start": start}) == "busy, in 21 min"
    assert short(why | {"start": None}) == "busy"
