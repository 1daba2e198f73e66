"""`forebay pool use` and `forebay pool idle`: what the cards of the pool did, and what becomes of holders who do nothing."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from forebay.cli import moments, out, reach
from forebay.units import NS_PER_S, parse_seconds, show_seconds

Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
HOUR_NS = 3600 * NS_PER_S


def use(
    since: Annotated[str, typer.Option(help="From when on: 7d (ago), 2026-11, 2026-11-29. Counted from a full hour.")] = "",
    as_json: Json = False,
) -> None:
    """Show what the cards of the pool did: down, idle, held, active, productive.

    Down, idle and used are shares of the time that the cards were there. Held is as engines measured it, and billed. Active is
    what the vendors' monitors saw, as a share of what they could measure ("of" how much that was). Productive is covered by
    steps that count.
    """
    with reach.client() as cloud:
        told = cloud.pool_use(since_ns=moments.past_ns(since, time.time_ns()) if since else 0)
    if as_json:
        out.as_json(told)
        return
    columns = ["", "cards", "card-h", "down", "idle", "used", "held h", "active", "productive"]
    out.table(columns, [_row(line) for line in told["lines"]], right=columns[1:])
    if told["compute"]:
        out.console.print("\nIn effective compute, in card-hours of the reference chip:")
        out.table(columns, [_row(line) for line in told["compute"]], right=columns[1:])
    from_ = f"since {moments.shown(told['from_ns'])}" if told["from_ns"] else "since the beginning"
    out.console.print(f"\n{from_}; what a run that goes on did in its last minutes isn't told yet", style="dim")
    if told["compute"] and told["without_index"]:
        chips = ", ".join(told["without_index"])
        out.console.print(f"not in effective compute, because nobody measured them: {chips}", style="dim")


def _row(line: dict[str, Any]) -> list[str]:
    name = " ".join(filter(None, [line["of"], line["name"]])) + (" (pretend)" if line["pretend"] else "")
    ours = line["of"] != "organisation"  # an organisation has no cards of its own that could be idle or down
    return [
        name,
        str(line["cards"]) if ours else "",
        _hours(line["elapsed_ns"]) if ours else _hours(line["used_ns"]),
        _share(line["down_ns"], line["elapsed_ns"]) if ours else "",
        _share(line["idle_ns"], line["elapsed_ns"]) if ours else "",
        _share(line["used_ns"], line["elapsed_ns"]) if ours else "",
        _hours(line["held_ns"]),
        _active(line),
        _share(line["productive_ns"], line["held_ns"]),
    ]


def _hours(ns: int) -> str:
    return f"{ns / HOUR_NS:,.2f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}%" if whole > 0 else ""


def _active(line: dict[str, Any]) -> str:
    """With the share of what was held that anybody measured, where that isn't all of it."""
    if not line["measured_ns"]:
        return "not measured" if line["held_ns"] else ""
    measured = _share(line["measured_ns"], line["held_ns"])
    return _share(line["active_ns"], line["measured_ns"]) + (f" of {measured}" if measured not in ("", "100.0%") else "")


def idle(
    warn: Annotated[str, typer.Option(help="After how long a run whose cards are idle gets a warning: 15m, 1h.")] = "",
    reclaim: Annotated[str, typer.Option(help="After how long it is stopped: 1h; or never.")] = "",
    share: Annotated[
        float | None, typer.Option(help="Active for less than this share of the time is idle.", min=0, max=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or set when idle holders of cards are warned, and when the pool takes their cards back.

    Only what a monitor measured counts: a run whose cards nobody can look at is never warned, and never stopped.
    """
    with reach.client() as cloud:
        limits = cloud.idle_limits()
        if warn or reclaim or share is not None:
            limits = cloud.set_idle_limits(
                warn_s=parse_seconds(warn) if warn else limits["warn_s"],
                reclaim_s=limits["reclaim_s"] if not reclaim else None if reclaim == "never" else parse_seconds(reclaim),
                share=limits["share"] if share is None else share,
            )
    if as_json:
        out.as_json(limits)
        return
    then = f"stopped after {show_seconds(limits['reclaim_s'])}" if limits["reclaim_s"] is not None else "never stopped"
    out.console.print(
        f"a run whose cards are active for less than {100 * limits['share']:g} % of the time is warned after "
        f"{show_seconds(limits['warn_s'])}, and {then}",
        soft_wrap=True,
    )
