"""`forebay chips gaps`: what is missing, wrong, fallen back or slow on a chip, dearest first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.chips import certified, use
from forebay.cli import out, reach
from forebay.codec import encode
from forebay.errors import BadInput, Unknown
from forebay.porting import gaps as work
from forebay.porting import gaps_page
from forebay.porting.measured import card_of
from forebay.porting.shim import journal
from forebay.units import MB, NS_PER_S

_MOST_BYTES = 4 * MB  # of a report, which a tenant's process wrote
_SHOWN = 20


def gaps(
    name: Annotated[str, typer.Argument(help="A chip's name, as in `forebay chips`.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            help="A centre's folder of runs; may be said again. This machine's own when none is given.", show_default=False
        ),
    ] = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="A report of the shim (FOREBAY_SHIM_REPORT); may be said again.", show_default=False)
    ] = None,
    as_csv: Annotated[Path | None, typer.Option("--csv", help="Write the whole list to this file.", show_default=False)] = None,
    as_html: Annotated[Path | None, typer.Option("--html", help="Write a page of it to this file.", show_default=False)] = None,
    folder: Annotated[Path | None, typer.Option(help="Where scorecards are kept.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Rank a chip's operators that are missing, wrong, slow or computed on the host, by the card-seconds that runs lost."""
    accounts = [one for place in runs or (() if report else _own_runs()) for one in of_centre(place, name)]
    accounts += [work.account(_merged(path), path.stem) for path in report or ()]
    card = certified.find(name, folder) if name.endswith(".json") else card_of(name, certified.load(folder))
    if card is None and not accounts:
        raise Unknown(
            "There is neither a scorecard of this chip nor a run's report.",
            asked=name,
            hint="forebay chips certify CHIP, or --runs with a centre's folder of runs",
        )
    found = work.work_list(accounts, card, use.shipped())
    if as_csv is not None:
        as_csv.write_text(gaps_page.as_csv(found), encoding="utf-8")
    if as_html is not None:
        as_html.write_text(gaps_page.page(name, found, accounts, card), encoding="utf-8")
    if as_json:
        out.as_json({"chip": name, "runs": len(accounts), "gaps": encode(found)})
        return
    held, lost = sum(one.card_seconds for one in accounts), sum(gap.card_seconds for gap in found)
    out.console.print(f"{len(accounts)} runs held {held:,.1f} card-seconds, {lost:,.1f} of them lost; {len(found)} operators.\n")
    out.table(
        ("operator", "state", "card-seconds", "runs", "projects", "failing", "why"),
        (
            (gap.operator, gap.kind, f"{gap.card_seconds:,.1f}", gap.runs, gap.projects, f"{gap.score:.0f} %", gap.why[:60])
            for gap in found[:_SHOWN]
        ),
        right=("card-seconds", "runs", "projects", "failing"),
    )
    if len(found) > _SHOWN:
        out.console.print(f"\nand {len(found) - _SHOWN} more: --csv FILE has them all.")


def _own_runs() -> tuple[Path, ...]:
    """The runs of the centre that `forebay up` started here, where there is one that this user may read."""
    place = reach.data_folder() / "centre" / "runs"
    return (place,) if place.is_dir() and os.access(place, os.R_OK) else ()


def of_centre(place: Path, chip: str) -> Iterator[work.Account]:
    """The accounts of a centre's runs on this chip; pretend ones, and those that left no report, aren't among them."""
    if not place.is_dir():
        raise Unknown("There is no such folder of runs.", asked=str(place), hint="HOME/runs of a centre")
    for run in sorted(place.iterdir()):
        order, status, left = _json(run / "spec.json"), _json(run / "status.json"), run / "tmp" / "shim-report.json"
        spec = order.get("spec", {})
        if spec.get("chip") != chip or spec.get("pretend") or not left.is_file() or left.is_symlink():
            continue
        report = _merged(left)
        if not report.get("carrier"):
            continue
        cards = sum(len(share.get("cards", ())) for share in spec.get("shares", ()))
        yield work.account(report, run.name, cards * float(status.get("held_ns", 0)) / NS_PER_S)


def _merged(path: Path) -> dict[str, Any]:
    """The reports of a run's processes as one. A rank's file has the name of the first and its process's id."""
    if not path.is_file():
        raise Unknown("There is no such report.", asked=str(path))
    if path.stat().st_size > _MOST_BYTES:
        raise BadInput("A report of this size isn't one.", asked=str(path), found=f"{path.stat().st_size} bytes")
    try:
        return journal.merge(journal.read_all(path))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise BadInput("The report can't be read.", asked=str(path), found=repr(error)) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
