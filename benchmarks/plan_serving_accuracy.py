"""How well the planner foretells time to first token and time per token of measured inference runs.

    python benchmarks/plan_serving_accuracy.py --runs FILE [--refit] [--blind] [--json] [--rows]

FILE is a CSV (also gzip) in the format of AIConfigurator's silicon_sample.csv. A run is predicted from kernel tables, data sheets
and the engine's options, without a scalar. Beside it stands what a scalar a class (chip, precision, mode, engine, release) would
do, made of the *other* models' runs and counting the less the fewer they are (the mean of their medians times n / (n + 3)).
Intervals are made of the other models' errors; models of one shape under two names (DeepSeek-V3 and R1) are one model. Runs are
set as their sources' scripts say (serving_habits.py). What the door and a call of the host take was chosen with all runs in
sight; --refit chooses both anew, for each model on the other models' runs.
--blind looks at no kernel table of the run's own chip: what is carried over from the most alike of the others.

Bars: median absolute error of the time per token 10 %, to first token 20 %, over runs whose batch is published. Beside them: by
engine, mode, model, chip and harness, of the runs that don't say how many workers they had, and how many measured times
lie within the 80 % interval. --rows prints each run as CSV.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import serving_habits
import serving_rows
import stopwatch
from numpy.typing import NDArray
from serving_rows import Row

from forebay.plan.kernels.known import Device, device
from forebay.plan.serving.handover import moved, wire
from forebay.plan.serving.load import aggregated, decoding, prompt_s
from forebay.plan.serving.memory import room
from forebay.plan.serving.time import Engine, serving_cuts
from forebay.plan.serving.wait import apart

BAR_TOKEN, BAR_FIRST = 0.10, 0.20
LOOSE = 0.95  # of a card's memory, which some of these runs took
FEW = 8
PRIOR = 3  # models that no scalar counts for
ENOUGH = 20  # runs that an interval is made of
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--refit", action="store_true")
    parser.add_argument("--blind", action="store_true")
    asked = parser.parse_args()
    rows, left = serving_rows.read(asked.runs)
    result = measure(rows, asked.refit, asked.blind)
    if asked.rows:
        for line in result["rows"]:
            print(",".join(str(value) for value in line))
        return
    del result["rows"]
    result["left out"] = dict(left.most_common())
    if asked.json:
        print(json.dumps({**result, **stopwatch.machine()}, indent=2))
        return
    show(result)


def measure(rows: Sequence[Row], refit: bool = False, blind: bool = False) -> dict[str, Any]:
    token, first = predict(rows, blind=blind)
    true_token, true_first = np.array([r.token_s for r in rows]), np.array([r.first_s for r in rows])
    if refit:
        first = serving_habits.refitted(rows, lambda *chosen: predict(rows, blind, chosen)[1], true_first)
    off_token, off_first = np.abs(token / true_token - 1), np.abs(first / true_first - 1)
    scaled_token, scaled_first = (scaled(rows, said, true) for said, true in ((token, true_token), (first, true_first)))
    low_t, high_t = intervals(rows, np.log(true_token / token))
    low_f, high_f = intervals(rows, np.log(true_first / first))
    low_t, high_t, low_f, high_f = (x * y for x, y in ((token, low_t), (token, high_t), (first, low_f), (first, high_f)))
    within_t = (low_t <= true_token) & (true_token <= high_t)
    within_f = (low_f <= true_first) & (true_first <= high_f)
    full = np.array([r.described for r in rows])

    def figures(here: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "runs": int(here.sum()),
            "token": {"median": middle(off_token[here]), "mean": mean(off_token[here]),
                      "scaled": middle(np.abs(scaled_token / true_token - 1)[here]), "within": mean(within_t[here])},
            "first": {"median": middle(off_first[here]), "mean": mean(off_first[here]),
                      "scaled": middle(np.abs(scaled_first / true_first - 1)[here]), "within": mean(within_f[here])},
        }  # fmt: skip

    def by(name: Callable[[Row], str], where: NDArray[np.bool_]) -> dict[str, Any]:
        names = np.array([name(r) for r in rows])
        return {one: figures(where & (names == one)) for one in sorted(set(names[where]))}

    return {
        "all with a published batch": figures(full),
        "workers not published": figures(~full),
        "engine and mode": by(lambda r: f"{r.engine} {r.mode}", full),
        "model": by(lambda r: r.model.name, full),
        "chip": by(lambda r: r.chip, full),
        "harness": by(lambda r: r.harness, full),
        "rows": [
            ("id", "token_s", "said", "low", "high", "first_s", "said", "low", "high"),
            *(
                (r.name, *(f"{x:.5g}" for x in (r.token_s, token[i], low_t[i], high_t[i],
                                                r.first_s, first[i], low_f[i], high_f[i])))
                for i, r in enumerate(rows)
            ),
        ],
    }  # fmt: skip


def predict(rows: Sequence[Row], blind: bool = False, chosen: tuple[float, float] | None = None) -> tuple[Array, Array]:
    """Seconds per token and to first token of each row, without any scalar. `chosen`: the door, and a share of the call."""
    token, first = np.zeros(len(rows)), np.zeros(len(rows))
    groups: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        habits = serving_habits.of(row)
        if chosen is not None:
            habits = replace(habits, door_s=chosen[0], call_s=habits.call_s * chosen[1])
        groups[row.chip, row.engine, row.model, row.formats, row.mode, habits].append(i)
    for (chip, library, model, formats, mode, habits), places in groups.items():
        engine = Engine(device=seen(chip, blind), cards=serving_rows.cards(chip), model=model, formats=formats, library=library)
        here = [rows[i] for i in places]
        inputs, outputs = np.array([r.inputs for r in here]), np.array([r.outputs for r in here])
        cuts = serving_cuts([r.plan for r in here])
        # The runs did run: where hardly a sequence would fit, what is known of the memory isn't trusted.
        fits = room(engine, cuts, inputs + outputs / 2, LOOSE)  # requests at work are half way, in the mean
        fits = np.where(fits < FEW, cuts.batch, fits)
        if mode == "agg":
            served = aggregated(engine, cuts, inputs, outputs, habits, fits)
            token[places], first[places] = served.token_s, served.first_s
            continue
        fits = np.minimum(fits, np.array([serving_habits.places(r) for r in here]))
        served = decoding(engine, cuts, inputs, outputs, fits)
        prompts = serving_cuts([r.prefill for r in here if r.prefill is not None])
        prompt = prompt_s(engine, prompts, inputs, habits.call_s)
        workers = np.array([r.prefill.workers for r in here if r.prefill is not None])
        at_work = np.array([float(r.at_work) for r in here])
        rest = served.token_s * outputs + served.first_s  # what waits for a place isn't at the readers
        waited = apart(habits, prompt, inputs, at_work, prompts.data, workers, rest, served.token_s)
        on = wire(engine.cards, engine.cards)
        ways = [
            float(moved(on, engine, prompts[i : i + 1], cuts[i : i + 1], float(inputs[i]))[0][0, 0]) for i in range(len(cuts))
        ]
        token[places], first[places] = served.token_s, waited + np.array(ways) + served.first_s
    return token, first


def seen(chip: str, blind: bool) -> Device:
    found = device(chip)
    return replace(found, ignored=frozenset({found.tables})) if blind else found


def scaled(rows: Sequence[Row], said: Array, true: Array) -> Array:
    """What was said times the scalar of other models' runs of the class; there may be none."""
    off = np.log(true / said)
    classes: dict[Any, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, row in enumerate(rows):
        classes[row.kind][row.model.name].append(i)
    shift = np.zeros(len(rows))
    for models in classes.values():
        medians = {name: float(np.median(off[places])) for name, places in models.items()}
        for name, places in models.items():
            others = [value for other, value in medians.items() if other != name]
            shift[places] = sum(others) / (len(others) + PRIOR)
    out: Array = said * np.exp(shift)
    return out


def intervals(rows: Sequence[Row], off: Array) -> tuple[Array, Array]:
    """The shares of what was said between which eight of ten of the other models' runs lie, of that mode and as well told."""
    low, high = np.zeros(len(rows)), np.zeros(len(rows))
    models = np.array([row.model.name for row in rows])
    kinds = np.array([f"{row.mode} {row.described}" for row in rows])
    for model, kind in sorted(set(zip(models, kinds, strict=True))):
        here = (models == model) & (kinds == kind)
        others = off[(models != model) & (kinds == kind)]
        if len(others) < ENOUGH:
            others = off[(models != model)] if (models != model).any() else np.zeros(1)
        low[here], high[here] = np.exp(np.quantile(others, (0.1, 0.9)))
    return low, high


def middle(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None


def mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None


def show(result: dict[str, Any]) -> None:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    print(
        f"{'':38}{'runs':>6}   time per token: median  mean   scaled  in 80 %    to first token: median  mean   scaled  in 80 %"
    )
    for title, part in result.items():
        if title == "left out":
            continue
        lines = {title: part} if "runs" in part else part
        if "runs" not in part:
            print(f"by {title}")
        for name, one in lines.items():
            cells = "".join(
                f"{'':11}" + "".join(f"{percent(one[time][figure]):>{wide}}" for figure, wide in
                                   (("median", 12), ("mean", 7), ("scaled", 9), ("within", 9)))
                for time in ("token", "first")
            )  # fmt: skip
            print(f"  {name:36}{one['runs']:6}{cells}")
    print("left out: " + "; ".join(f"{count} {why}" for why, count in result["left out"].items()))
    whole = result["all with a published batch"]
    for time, bar in (("token", BAR_TOKEN), ("first", BAR_FIRST)):
        figure = whole[time]["median"]
        print(f"median error, {time:6} {percent(figure)} %   bar {100 * bar:.0f} %: {stopwatch.verdict(figure, bar)}")


if __name__ == "__main__":
    main()
