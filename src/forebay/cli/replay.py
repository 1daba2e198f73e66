"""`forebay replay`: what the scheduler would have done with last month's jobs. Needs no cloud, and touches none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli import out

if TYPE_CHECKING:
    from forebay.cloud.replay.run import Outcome

app = typer.Typer(add_completion=False)

BLOCKS = " ▁▂▃▄▅▆▇█"


@app.command()
def replay(
    trace: Annotated[
        Path, typer.Argument(help="A trace: sacct's output, a journal of Forebay's, or a public one (docs/replay.md).")
    ],
    cards: Annotated[
        str,
        typer.Option(help="The pool: nodes x cards : chip, as 64x8:h100-sxm or 9x4:v100,9x4:p100; or a CSV file of nodes."),
    ] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help='Once each: "forebay", "first-come", "backfill", "least-attained", "max-min", "max-throughput"; or "all".'
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The file that goes with the trace: measured speeds.")] = None,
    part: Annotated[str, typer.Option(help="Which of several traces in the file.")] = "",
    known: Annotated[
        bool | None,
        typer.Option("--known/--unknown", help="Whether the scheduler is told how long jobs take. [default: the trace's]"),
    ] = None,
    resumable: Annotated[float, typer.Option(min=0, max=1, help="Share of the jobs that go on from a checkpoint.")] = 1.0,
    restart: Annotated[str, typer.Option(help="What a start after a stop costs, as 60 or 5m.")] = "60",
    rigid: Annotated[bool, typer.Option(help="Hold elastic jobs at the size that was asked for.")] = False,
    spread: Annotated[
        bool | None,
        typer.Option("--spread/--packed", help="Whether spread cards are slower, where measured. [default: the trace's]"),
    ] = None,
    forecasts: Annotated[
        bool, typer.Option(help="Ask as each job comes when it will start, and say how wrong that was.")
    ] = False,
    one_tenant: Annotated[bool, typer.Option(help="All jobs are one organisation's.")] = False,
    first: Annotated[int, typer.Option(min=0, help="Only so many jobs of the trace; 0: all.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write a page with plots, as replay.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Replay a trace of jobs through the scheduler in simulated time, beside others.

    The very core that runs live decides; nothing is started and nothing is written but the page.

    Formats, settings and what the figures mean: docs/replay.md.
    """
    from forebay.cloud.replay import page, readers, site
    from forebay.cloud.replay.run import POLICIES, replay_all
    from forebay.cloud.replay.trace import Settings
    from forebay.errors import BadInput
    from forebay.units import parse_seconds

    policies = list(POLICIES) if policy == ["all"] else list(dict.fromkeys(policy or ["forebay", "first-come", "backfill"]))
    read = readers.read(trace, part=part, data=data)
    read = read.first(first) if first else read
    nodes = site.parse(cards) if cards else read.nodes
    if not nodes:
        raise BadInput("A replay needs a pool.", asked=str(trace), hint="--cards 64x8:h100-sxm: nodes x cards : chip")
    settings = Settings(
        known=known,
        resumable=resumable,
        restart_s=parse_seconds(restart),
        elastic=not rigid,
        spread=spread,
        forecasts=forecasts,
        tenants=not one_tenant,
    )
    outcomes = replay_all(read, nodes, policies, settings, progress=None if as_json else _progress())
    pool = " + ".join(f"{count:,} x {chip}" for chip, count in site.cards(nodes).items())
    notes = [
        f"{len(read.jobs):,} jobs of {trace.name}{f', {part}' if part else ''} ({read.format})",
        f"the pool: {pool}",
        *read.notes,
    ]
    if outcomes and outcomes[0].figures.refused:
        notes.append(f"{outcomes[0].figures.refused:,} jobs can never run on this pool, and are left out")
    if plot:
        plot.write_text(page.page(read.name, notes, outcomes), encoding="utf-8")
    if as_json:
        out.as_json(
            {
                "trace": {
                    "file": str(trace),
                    "part": part,
                    "format": read.format,
                    "jobs": len(read.jobs),
                    "notes": list(read.notes),
                },
                "pool": dict(site.cards(nodes)),
                "settings": asdict(settings),
                "policies": [asdict(outcome.figures) for outcome in outcomes],
            }
        )
        return
    for note in notes:
        out.console.print(note, markup=False)
    _table(outcomes)
    if plot:
        out.console.print(f"The page: {plot}", markup=False)


def _table(outcomes: Sequence[Outcome]) -> None:
    """A column a policy, which leaves room for the names of the figures; and the cards in use as a line of blocks."""
    from forebay.cloud.replay import page

    names = list(page.COLUMNS[1:])
    rows = [page.row(outcome.figures)[1:] for outcome in outcomes]
    policies = [outcome.figures.policy for outcome in outcomes]
    out.table(["", *policies], [[name, *(row[i] for row in rows)] for i, name in enumerate(names)], right=policies)
    for outcome in outcomes:
        f = outcome.figures
        if f.foretold_error_p50 is not None:
            said = f"error {f.foretold_error_p50:.0%} (median), {f.foretold_error_p90:.0%} (9 of 10)"
            said += f"; {f.foretold_within:.0%} started in the interval that was said"
            out.console.print(f"{f.policy}: the start of {f.foretold:,} waiting jobs foretold, {said}", markup=False)
    end_ns = max((outcome.history.times[-1] for outcome in outcomes if outcome.history.times), default=0)
    out.console.print("cards in use, over the same time", markup=False)
    for outcome in outcomes:
        total = max(1, sum(outcome.history.cards.values()))
        line = "".join(BLOCKS[min(8, round(8 * held / total))] for held in page.in_use(outcome.history, 60, end_ns))
        out.console.print(f"  {line} {outcome.figures.policy}", markup=False)
    speeds = ", ".join(f"{o.figures.policy} {o.figures.jobs_per_cpu_s:,.0f}" for o in outcomes)
    out.console.print(f"jobs a CPU second: {speeds}", markup=False)


def _progress() -> Callable[[str, int, int], None] | None:
    """A line on the terminal that says how far a long replay is; none into a pipe."""
    if not sys.stderr.isatty():
        return None

    def say(policy: str, done: int, of: int) -> None:
        end = "\r\x1b[K" if done >= of else ""
        sys.stderr.write(f"\r{policy}: {done:,} of {of:,} jobs{end}")
        sys.stderr.flush()

    return say
