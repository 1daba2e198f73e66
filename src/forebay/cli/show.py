"""`forebay show`: one job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from forebay.cli import moments, out, reach
from forebay.cli.pool_table import folded
from forebay.cli.why_words import words
from forebay.units import NS_PER_S, show_bytes, show_money, show_seconds

app = typer.Typer(add_completion=False)


@app.command()
def show(
    job: Annotated[str, typer.Argument(help="The job, or one run of it.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Show one job: state, runs, progress, what it left."""
    with reach.client() as cloud:
        found = cloud.job(job)
    if as_json:
        out.as_json(found)
        return
    script = found["script"]
    out.facts(
        [
            ("job", f"{found['id']}  {found['name']}  ({found['organisation']}/{found['project']})"),
            ("state", found["phase"] + (f": {found['reason']}" if found["reason"] else "")),
            *([("why", words(found["why"])), ("until", found["why"]["release"])] if found["why"] else []),
            ("script", " ".join([script["entry"], *script["argv"]])),
            ("menu", ", or ".join(_option(option) for option in found["menu"])),
            *([("wishes", wishes)] if (wishes := _wishes(found)) else []),
            ("data", ", ".join(f"{source} at {at}" for at, source in script["mounts"].items()) or "none"),
            (
                "submitted",
                f"{datetime.fromtimestamp(found['submitted_at_ns'] / NS_PER_S):%Y-%m-%d %H:%M:%S} by {found['submitted_by']}",
            ),
            *([("on its way", way)] if (way := _on_its_way(found)) else []),
            ("progress", _progress(found["progress"])),
            *([("cards", _used(found["runs"][-1]["use"]))] if found["runs"] and found["runs"][-1]["use"] else []),
        ]
    )
    rows = [
        [
            run["id"],
            _cards(run["allocation"]),
            run["outcome"] or "going on",
            show_seconds(run["held_ns"] / NS_PER_S) if run["outcome"] else "",
            run["carrier"],
            run["idle"] or _made_way(run) or run["reason"],
        ]
        for run in found["runs"]
    ]
    out.table(["run", "cards", "outcome", "held", "CUDA's words", "why"], rows, right=["held"])
    if found["artefacts"]:
        files = [
            [file["path"], show_bytes(file["size_bytes"]), "checkpoint" if file["is_checkpoint"] else ""]
            for file in found["artefacts"]
        ]
        out.table([f"left in {script['output']}/", "size", ""], files, right=["size"])


def _on_its_way(job: dict[str, Any]) -> str:
    """What its newest run waits for, if that is data."""
    run = job["runs"][-1] if job["runs"] else None
    if run is None or run["running_at_ns"] or run["outcome"] or not run["transfer_s"]:
        return ""
    return f"its data comes to {run['allocation']['centre']}, in about {show_seconds(run['transfer_s'])} from its launch"


def _wishes(job: dict[str, Any]) -> str:
    """What its owner said of its order and choice, as far as it isn't what everybody gets."""
    parts = [f"priority {job['priority']}"] if job["priority"] else []
    parts += ["elastic"] if job["elastic"] else ["resumable"] if job["resumable"] else []
    parts += [f"{job['prefer']} first"] if job["prefer"] != "balanced" else []
    parts += [f"to end by {moments.shown(job['deadline_ns'])}"] if job["deadline_ns"] else []
    parts += [f"for at most {show_money(job['budget_micro'])}"] if job["budget_micro"] is not None else []
    return ", ".join(parts)


def _made_way(run: dict[str, Any]) -> str:
    """Why the pool took its cards back, and for which job as far as that is ours to know."""
    if not run["requeue"]:
        return ""
    known = run["stop_for"] not in ("", "another's")
    return str(run["stop"]) + (f" ({run['stop_for']})" if known else "")


def _used(use: dict[str, Any]) -> str:
    """How busy the cards of the newest run were, as far as anybody can tell."""
    if not use["measured_ns"]:
        return "nobody can measure how busy they are"
    active = f"at work for {use['active_ns'] / use['measured_ns']:.0%} of what was measured"
    productive = f", steps cover {use['productive_ns'] / use['held_ns']:.0%} of what was held" if use["held_ns"] else ""
    return active + productive


def _progress(progress: dict[str, Any] | None) -> str:
    if not progress:
        return "nothing printed yet that I can read"
    parts = []
    if progress["step"] is not None:
        parts.append(f"step {progress['step']}" + (f" of {progress['of']}" if progress["of"] else ""))
    if progress["loss"] is not None:
        parts.append(f"loss {progress['loss']:g}")
    if progress["tokens_per_s"] is not None:
        parts.append(f"{progress['tokens_per_s']:,.0f} tokens/s")
    return ", ".join(parts) or progress["line"]


def _cards(allocation: dict[str, Any]) -> str:
    count = sum(len(part["cards"]) for part in allocation["parts"])
    nodes = folded(part["node"] for part in allocation["parts"])
    pretend = " (pretend)" if allocation["pretend"] else ""
    return f"{count} x {allocation['chip']}{pretend} on {nodes} at {allocation['centre']}"


def _option(option: dict[str, Any]) -> str:
    takes = f" ({show_seconds(option['expected_s'])})" if option["expected_s"] is not None else ""
    return f"{option['cards']} x {option['chip']}{takes}"
