"""`forebay centre join`, `leave`, `status`: what an operator does at the centre itself, on the machine where its agent runs."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from forebay.centre import files, settings
from forebay.chips.node import Node
from forebay.cli import centre_look, daemons, out, reach
from forebay.cli import centre_said as said
from forebay.errors import BadInput, Conflict, Unavailable

PATIENCE_S = 90.0  # a Ray cluster answers a new driver after half a minute
ENGINES = ("local", "slurm", "ray")

Home = Annotated[
    Path | None,
    typer.Option(help="The centre's folder; on Slurm one that every node sees. Default: ~/.forebay/centres/ENGINE."),
]


def join(
    cloud: Annotated[str, typer.Argument(help="The cloud's address, as https://cloud.example:7373.", show_default=False)],
    token: Annotated[str, typer.Option(help="From `forebay centre make`; needed once.")] = "",
    engine: Annotated[str, typer.Option(help="What starts processes here: local, slurm or ray.")] = "local",
    home: Home = None,
    base_: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            help="CHIP=BASE: the base environment of a chip, a Python, module:NAME, apptainer:IMAGE or pyxis:IMAGE; a BASE alone "
            "serves all. Default: this Python.",
        ),
    ] = None,
    gres: Annotated[list[str] | None, typer.Option(help="Slurm: GRES=CHIP, as gpu:h100=h100-sxm; GRES=: left alone.")] = None,
    partition: Annotated[list[str] | None, typer.Option(help="Slurm: a partition to use. Default: all that we may.")] = None,
    rest: Annotated[str, typer.Option(help="Slurm: address of slurmrestd. Default: sbatch, squeue and scontrol.")] = "",
    account: Annotated[
        list[str] | None,
        typer.Option(help="Slurm: ORGANISATION=USER[:ACCOUNT[:PARTITION[:QOS]]], as whom its jobs run; * for all others."),
    ] = None,
    cpus_per_card: Annotated[int, typer.Option(help="Processor cores that come with a card.", min=1)] = 1,
    extra: Annotated[list[str] | None, typer.Option(help="Slurm: a further #SBATCH option for every job.")] = None,
    address: Annotated[str, typer.Option(help="Ray: address of the head, as 10.0.0.1:6379.")] = "",
    dashboard: Annotated[str, typer.Option(help="Ray: HTTP address of its dashboard; nodes are then watched at less cost.")] = "",
    resource: Annotated[list[str] | None, typer.Option(help="Ray: RESOURCE=CHIP, as NPU=ascend-910b.")] = None,
    node_home: Annotated[str, typer.Option(help="Ray: a folder on every node. Default: the centre's own, which all see.")] = "",
    store: Annotated[str, typer.Option(help="Where code and data are kept besides, as s3://bucket/forebay.")] = "",
    wheels: Annotated[str, typer.Option(help="A folder of wheels on every node: pip asks nobody else.")] = "",
    python: Annotated[str, typer.Option(help="Python 3.11+ for Forebay's own part on the nodes. Default: this.")] = "",
    check: Annotated[str, typer.Option(help="Look at a card before a run if the last look is older: 1h, 30m; never.")] = "1h",
    pretend: Annotated[bool, typer.Option("--pretend", help="Processor cores stand in for the cards: a rehearsal.")] = False,
    trust_all: Annotated[
        bool, typer.Option("--trust-all", help="Not as root: let several organisations run as one user who trust each other.")
    ] = False,
    start: Annotated[bool, typer.Option(help="Start the agent. --no-start only writes the settings down.")] = True,
    foreground: Annotated[bool, typer.Option("--foreground", help="Be the agent, for systemd and the like.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Join this machine, Slurm site or Ray cluster to a cloud.

    Looks at what is here first, asks which chip a resource is where its name doesn't say, and remembers the answers in the
    file centre.toml. Nothing of the site's own configuration is changed, and no port is opened. Said again without a token, it
    takes the centre up where it was. Example:

    forebay centre join https://cloud.example:7373 --token fj_… --engine slurm
    """
    if engine not in ENGINES:
        raise BadInput("There is no such engine.", asked=engine, found=", ".join(ENGINES))
    folder = home_of(home, engine)
    if daemons.alive("agent", folder):
        raise Conflict("This centre's agent is at work already.", asked=str(folder), hint="forebay centre status; or leave first")
    told = said.merged(
        said.known(folder),
        cloud=cloud.rstrip("/"),
        engine=engine,
        bases=said.bases(base_ or []),
        gres=said.pairs(gres or [], "--gres", "gpu:h100=h100-sxm"),
        resources=said.pairs(resource or [], "--resource", "NPU=ascend-910b"),
        accounts=said.accounts(account or []),
        more={"store": store, "wheels": wheels, "python": python, "check": check, "pretend": pretend, "trust_all": trust_all},
        slurm={"partitions": tuple(partition or ()), "rest": rest, "cpus_per_card": cpus_per_card, "extra": tuple(extra or ())},
        ray={"address": address, "dashboard": dashboard, "node_home": node_home, "cpus_per_card": float(cpus_per_card)},
    )
    told, nodes = centre_look.looked_at(told, folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    name = _exchange(folder, told.cloud, token)
    settings.write(folder, replace(told, name=name or told.name))
    if foreground:
        os.execv(sys.executable, [sys.executable, *_agent(folder)])
    if start:
        _start(folder)
    _tell(folder, name or told.name, engine, nodes, started=start, as_json=as_json)


def leave(
    engine: Annotated[str, typer.Option(help="Whose default folder is meant.")] = "local",
    home: Home = None,
    forget: Annotated[bool, typer.Option("--forget", help="Drop the centre's key too: joining again needs a new token.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Stop this centre's agent. Runs go on, and the next join takes them up."""
    folder = home_of(home, engine)
    settings.read(folder)
    stopped = daemons.stop("agent", folder)
    if forget:
        (folder / settings.KEY).unlink(missing_ok=True)
    if as_json:
        out.as_json({"home": str(folder), "stopped": stopped, "forgotten": forget})
        return
    what = "Stopped the agent" if stopped else "No agent was at work"
    out.console.print(f"{what} in {folder}.{' Its key is gone.' if forget else ''}")


def status(
    engine: Annotated[str, typer.Option(help="Whose default folder is meant.")] = "local",
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Say how this centre's agent stands."""
    folder = home_of(home, engine)
    told = settings.read(folder)
    pid = daemons.alive("agent", folder)
    met = files.read_json(folder / "joined.json") or {}
    about = {
        "centre": told.name,
        "cloud": told.cloud,
        "engine": told.engine,
        "home": str(folder),
        "agent": pid,
        "joined_s_ago": round(time.time() - met["at_ns"] / 1e9, 1) if met else None,
        "nodes": met.get("nodes"),
        "cards": met.get("cards"),
        "runs": len(list((folder / "runs").glob("[!.]*"))) if (folder / "runs").is_dir() else 0,
        "log": str(folder / "agent.log"),
    }
    if as_json:
        out.as_json(about)
    else:
        cards = ", ".join(f"{count} x {chip}" for chip, count in sorted(met.get("cards", {}).items()))
        told_of = {**about, "cards": cards or None}
        out.facts((name.replace("_", " "), "–" if value is None else value) for name, value in told_of.items())
    raise typer.Exit(0 if pid else Unavailable.exit_code)


def home_of(asked: Path | None, engine: str) -> Path:
    """A centre's folder on this machine."""
    return asked.expanduser().absolute() if asked else reach.data_folder() / "centres" / engine


# Joining.


def _exchange(folder: Path, cloud: str, token: str) -> str:
    """Make the centre's key and have the cloud take it for the token. Returns the centre's name; empty: it had a key already."""
    from forebay.centre import link

    path = folder / settings.KEY
    if path.exists() and not token:
        return ""
    if not token:
        raise BadInput(
            "A centre that joins for the first time needs a token.", hint="ask the cloud's operator: forebay centre make NAME"
        )
    draft = (
        folder / f"{settings.KEY}.draft"
    )  # kept until the cloud has answered: asked again with the same key, it answers the same
    if not draft.exists():
        files.write_text(draft, "fc_" + secrets.token_urlsafe(24), durable=True)
    name = link.join(cloud, token, hashlib.sha256(draft.read_text().encode()).hexdigest())
    draft.rename(path)
    return name


def _start(folder: Path) -> None:
    """Start the agent and wait until the cloud knows its nodes."""
    marker = folder / "joined.json"
    marker.unlink(missing_ok=True)
    daemons.start("agent", folder, _agent(folder))
    until = time.monotonic() + PATIENCE_S
    with out.errors.status("the agent joins the cloud"):
        while not marker.exists():
            if not daemons.alive("agent", folder):
                raise daemons.why_it_ended("agent", folder)
            if time.monotonic() > until:
                raise Unavailable(
                    "The agent hasn't joined yet; it goes on trying.",
                    asked=str(folder),
                    found=_last_line(folder / "agent.log"),
                    hint="forebay centre status",
                )
            time.sleep(0.05)


def _agent(folder: Path) -> list[str]:
    return ["-m", "forebay.centre.agent", "--home", str(folder), "--shim", str(reach.cache_folder() / "shim")]


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1] if lines else "nothing in its log"


def _tell(folder: Path, name: str, engine: str, nodes: tuple[Node, ...], *, started: bool, as_json: bool) -> None:
    met = files.read_json(folder / "joined.json") or {}
    cards: dict[str, int] = {}
    for node in nodes:
        cards[node.chip] = cards.get(node.chip, 0) + len(node.cards)
    cards = cards or met.get("cards", {})
    if as_json:
        out.as_json({"centre": name, "engine": engine, "home": str(folder), "cards": cards, "started": started})
        return
    pretend = " (pretend)" if any(node.pretend for node in nodes) else ""
    pairs: list[tuple[str, object]] = [("centre", f"{name} ({engine})"), ("settings", folder / settings.FILE)]
    out.facts([*pairs, *((chip, f"{count} cards{pretend}") for chip, count in sorted(cards.items()))])
    out.console.print(
        "The agent is at work. `forebay pool` shows the cards."
        if started
        else f"Not started: forebay centre join … --home {folder}"
    )


COMMANDS: dict[str, Callable[..., None]] = {"join": join, "leave": leave, "status": status}
