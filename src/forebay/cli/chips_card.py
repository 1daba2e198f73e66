"""`forebay chips card`: what a chip was measured to do, as a table, a page or JSON; and the end of a certification."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from forebay.chips import catalogue, certified, detect, use
from forebay.chips.inclusiveness import effective, index
from forebay.chips.scorecard import SIMULATED, Ceiling, Scorecard
from forebay.cli import out
from forebay.codec import encode
from forebay.plan import efficiency
from forebay.porting.certify import card as cards
from forebay.porting.certify import ceilings, page, record
from forebay.units import show_bytes_per_s, show_flop_per_s

_SHOWN = 12
SECONDS = 30.0  # for each of the four kinds of ceiling


def card(
    name: Annotated[str, typer.Argument(help="A chip's name, as in `forebay chips`; `simulated`; or a scorecard's file.")],
    against: Annotated[str, typer.Option(help="Another chip or file, to compare with.", show_default=False)] = "",
    reference: Annotated[str, typer.Option(help="The chip or file whose speeds are the measure.", show_default=False)] = "",
    as_html: Annotated[Path | None, typer.Option("--html", help="Write a page with pictures to this file.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Make the card from this certification's folder first, and keep it.", show_default=False)
    ] = None,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="With --run: measure the ceilings too.")] = True,
    seconds: Annotated[float, typer.Option(help="With --run: for each kind of ceiling, about.")] = SECONDS,
    folder: Annotated[Path | None, typer.Option(help="Where scorecards are kept.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Show what a chip was measured to do: operators, accuracy, ceilings, and one index. --html makes a page of it."""
    if run is not None:
        shown = [_shown(finish(run, folder=folder, seconds=seconds if speed else 0.0).card)]
    else:
        shown = [_shown(certified.find(name, folder))]
    if against:
        shown.append(_shown(certified.find(against, folder)))
    measure = certified.find(reference, folder) if reference else None
    if as_html is not None:
        as_html.write_text(page.page(shown, use.shipped(), measure), encoding="utf-8")
    if as_json:
        out.as_json([_told(one.card) for one in shown])
        return
    for one in shown:
        _print(one, measure)
    if as_html is not None:
        out.console.print(f"\nThe page is in {as_html}.", markup=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of a certification's folder."""

    card: Scorecard
    file: Path  # the card beside the results
    kept: Path | None  # the card as the chip's own. None: it was a part, or one sample of each

    def in_words(self) -> str:
        points = index(self.card, use.shipped())
        first = f"Inclusiveness {points.value:.1f} of 100. " if points else ""
        if self.kept is None:
            return f"{first}The scorecard of this part: {self.file}"
        return f"{first}`forebay chips card {self.card.chip}` shows the scorecard, which is kept in {self.kept}"

    def to_json(self) -> dict[str, object]:
        return {"card": str(self.file), "kept": str(self.kept or ""), "index": encode(index(self.card, use.shipped()))}


def finish(run: Path, *, folder: Path | None = None, seconds: float = SECONDS, python: str = sys.executable) -> Finished:
    """Turn a certification's folder into a scorecard: measure the ceilings, write card.json beside the results.

    The card of a full and whole run is kept as the chip's. The planner's calibration goes beside both. Nothing is timed where
    cores stand in for the chip, or with 0 seconds.
    """
    found = record.read(run)
    header = found.header
    chip = catalogue.load().get(header.chip)
    measured: tuple[Ceiling, ...] = ()
    load = os.getloadavg()[0]
    if seconds and header.carrier not in cards.PRETENDED:
        print(f"forebay: measuring the ceilings of {header.chip}, some {4 * seconds:.0f} s", file=sys.stderr)
        measured = ceilings.measure(
            header.device,
            imports=header.imports,
            backend=chip.backend or "" if chip else "",
            cards=_cards_here(header.chip),
            seconds=seconds,
            python=python,
        )
    notes = f"Ceilings at a load of {load:.1f} on {os.cpu_count()} cores" if measured else ""
    cores = header.device == "cpu" or header.carrier in cards.PRETENDED  # those of the reference itself
    device = header.reference if cores else ""
    made = cards.scorecard(found, measured, device=device, command=_command(header), notes=notes)
    beside = run / "card.json"
    beside.write_text(certified.written(made), encoding="utf-8")
    kept = certified.keep(made, folder) if made.mode == "full" else None
    figures = efficiency.calibration(made, chip)
    if figures is not None:
        for place in (run, kept.parent) if kept else (run,):
            efficiency.keep(figures, place / "calibration")
    return Finished(card=made, file=beside, kept=kept)


def _command(header: record.Header) -> str:
    words = ["forebay chips certify", header.chip, *(["--smoke"] if header.mode == "smoke" else [])]
    return " ".join([*words, *(f"--only {name}" for name in header.only)])


def _cards_here(chip: str) -> int:
    if chip == "cpu":
        return len(detect.cpu_cards(2))
    return max((len(node.cards) for node in detect.detect().nodes if node.chip == chip), default=1)


def _shown(found: Scorecard) -> page.Shown:
    return page.Shown(card=found, chip=catalogue.load().get(found.chip))


def _told(found: Scorecard) -> dict[str, object]:
    """The card, and the figures that are computed from it."""
    return {
        "card": encode(found),
        "index": encode(index(found, use.shipped())),
        "effective_compute": encode(effective(found, use.shipped())),
        "counts": found.counts(),
    }


def _print(one: page.Shown, reference: Scorecard | None) -> None:
    found = one.card
    kind = ", stood in for by processor cores" if found.stands == SIMULATED else ""
    out.console.print(f"{found.chip}: {one.title}", style="bold", markup=False)
    out.console.print(f"Measured on {found.measured_on}{kind}, against {found.reference or 'nothing'}.\n", markup=False)
    out.facts(_facts(found))
    if found.ceilings:
        _print_ceilings(one, reference)
    bad = found.failing()
    if bad:
        told = sorted(bad, key=lambda name: (-use.shipped().projects_calling(name), name))[:_SHOWN]
        out.console.print(f"\nNot usable everywhere: {len(bad)} operators, those that most projects call first", markup=False)
        out.table(("operator", "why"), [(name, found.reasons.get(name, "")) for name in told])

    if left := found.untested():
        shown = ", ".join(left[:_SHOWN]) + (f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else "")
        out.console.print(f"\nUntested: {len(left)} operators ({shown}).", markup=False)


def _facts(found: Scorecard) -> list[tuple[str, str]]:
    told = index(found, use.shipped())
    rows: list[tuple[str, str]] = []
    if told is not None:
        band = f"up to {told.most:.1f} with what wasn't tested; " if told.most - told.value >= 0.05 else ""
        band += f"unweighted {told.unweighted:.1f}"
        rows.append(("inclusiveness", f"{told.value:.1f} of 100 ({band})"))
    entries = f" of {found.entries}" if found.entries else ""
    part = {"smoke": ", one sample each", "part": ": not all, or not to the end"}.get(found.mode, "")
    rows.append(("operators", f"{told.operators if told else 0}{entries}{part}"))
    rows.append(("verdicts", ", ".join(f"{count} {word}" for word, count in found.counts().items() if count) or "none"))
    if found.accuracy is not None:
        near = found.accuracy
        rows.append(("error", f"median {near.median:.3g}, 90 % below {near.p90:.3g} times the reference's, of {near.compared}"))
    work = effective(found, use.shipped())
    if work is not None:
        share = f"{100 * work.covered:.0f} % of public files run"
        rows.append(("effective compute", f"{show_flop_per_s(work.flop_per_s)} in {work.format}: {share}"))
    rows += [("conditions", found.notes)] if found.notes else []
    rows.append(("software", ", ".join(f"{name} {version}" for name, version in sorted(found.software.items())) or "-"))
    return rows


def _print_ceilings(one: page.Shown, reference: Scorecard | None) -> None:
    rows = []
    for share in ceilings.shares(one.card, one.chip, reference):
        ceiling = share.ceiling
        show = show_flop_per_s if ceiling.unit == "flop/s" else show_bytes_per_s
        rows.append(
            (
                f"{ceiling.kind}, {ceiling.name}",
                show(ceiling.value) if ceiling.value is not None else "-",
                _percent(share.of_sheet),
                _percent(share.of_reference),
                f"{ceiling.size}, spread {100 * ceiling.spread:.0f} %" if ceiling.value is not None else ceiling.reason,
            )
        )
    out.console.print()
    out.table(("ceiling", "measured", "of sheet", "of reference", "at"), rows, right=("measured", "of sheet", "of reference"))


def _percent(share: float | None) -> str:
    return f"{100 * share:.0f} %" if share is not None else "-"
