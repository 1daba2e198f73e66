"""`forebay plan calibrate --layer`: a layer benchmark on this machine's card becomes a calibration that later plans read."""

from __future__ import annotations

import math
from collections import Counter

from forebay.chips import catalogue, detect
from forebay.cli import out
from forebay.cli.figures import line, plain, seconds
from forebay.cli.plan_kept import calibration_folder
from forebay.errors import BadInput
from forebay.plan import calibrations
from forebay.plan.kernels.known import device_of
from forebay.plan.pool import Cards
from forebay.plan.pool_read import pool

FORMATS = ("bf16", "fp16")  # that plain torch trains in, and whose factor is read by plans of just these


def benchmark(chip: str, on: str, number_format: str, seconds_most: float, day: str, command: str, as_json: bool) -> None:
    """Time layers on the first card of that chip, and keep the factor."""
    if number_format not in FORMATS:
        raise BadInput("Layers aren't timed in that number format.", asked=number_format, hint=" or ".join(FORMATS))
    if not 0 < seconds_most < math.inf:
        raise BadInput("A benchmark takes more than no time.", asked=f"--seconds-most {seconds_most:g}")
    dev = device_of(_cards(chip, on))
    chip = dev.name
    dev.peak(number_format)
    where = _place(chip)
    from forebay.plan import profile_layer

    version = profile_layer.ready(catalogue.find(chip).plugin)
    with out.count_bar() as tell:
        timed = profile_layer.measure(where, profile_layer.shapes(number_format), seconds_most, tell)
    made = profile_layer.calibration(timed, dev, version, day, command)
    path = calibrations.keep(made, calibration_folder())
    if as_json:
        out.as_json({"calibration": plain(made), "timed": plain(timed), "written": str(path)})
        return
    slower = next(value for name, value in made.figures.items() if name.startswith(calibrations.SLOWER))
    told = profile_layer.expected(timed, dev, profile_layer.PLAIN, slower)
    rows = [
        (one.work.model.name, f"{one.work.sequences} x {one.work.tokens}", one.passes, seconds(one.seconds), seconds(then))
        for one, then in zip(timed, told, strict=True)
    ]
    names = ("layer of", "tokens", "passes", "measured", "expected now")
    out.table(names, rows, right=names[1:])
    line(f"Kernels take {slower:.3f} times as long here as alone on a cool {chip} ({number_format}, torch {version}).")
    line(f"Kept as {path}; plans on {chip} rest on it from now on.")


def _cards(chip: str, on: str) -> Cards:
    """One card of that chip; of a pool, where there is one, with what it says of the chip."""
    if not on and not chip:
        raise BadInput("A layer benchmark needs the chip.", hint="--chip h100-sxm")
    kinds = {one.chip: one for one in pool(on or f"{chip}:1").cards if one.chip == (chip or one.chip)}
    if len(kinds) != 1:
        raise BadInput("Layers are timed on one chip of the pool.", asked=chip, found=on, hint="--chip, with a chip of the pool")
    return next(iter(kinds.values()))


def _place(chip: str) -> str:
    """torch's name of the first card of that chip. Raises BadInput where this machine has none."""
    found = detect.detect()
    kind = catalogue.find(chip).device_type
    # torch counts the cards of one device type together, in order, as far as this process sees them.
    alike = [node for node in found.nodes if catalogue.find(node.chip).device_type == kind]
    mine = [card.index for node in alike if node.chip == chip for card in node.cards]
    if not mine:
        here = Counter({node.chip: len(node.cards) for node in found.nodes if node.chip != "cpu"})
        raise BadInput(
            "This machine has no card of that chip.",
            asked=chip,
            found="; ".join([", ".join(f"{n} x {name}" for name, n in here.items()) or "no accelerator", *found.notes]),
            hint="run this command on a node that has one (`forebay run` can, from a script), and keep the file that it writes",
        )
    if kind == "cpu":
        return "cpu"
    ahead = sum(card.index < min(mine) for node in alike for card in node.cards)
    return f"{kind}:{ahead}"
