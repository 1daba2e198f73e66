"""`forebay up`: start a cloud and a local centre on this machine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forebay.chips.node import Card, Node
from forebay.cli import daemons, out, reach
from forebay.codec import encode
from forebay.errors import BadInput, Conflict, Unavailable

app = typer.Typer(add_completion=False)
PATIENCE_S = 30.0


@app.command()
def up(
    data: Annotated[
        Path | None, typer.Option(help="Data folder: journal, code, logs, runs. Default: FOREBAY_DATA or ~/.forebay.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on. Beyond this machine only with TLS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 7373,
    pretend: Annotated[
        str, typer.Option(help="Pretend cards to rehearse a mixed pool: CHIP:CARDSxNODES,… as ascend-910b:8x2,h100-sxm:8.")
    ] = "",
    cpu_cards: Annotated[int | None, typer.Option(help="How many CPU cards, where there is no accelerator.", min=1)] = None,
    database: Annotated[
        str,
        typer.Option(
            help="The journal's PostgreSQL, postgresql://user@host/name. A password belongs into FOREBAY_DATABASE. "
            "Default: a file in the data folder."
        ),
    ] = "",
    base: Annotated[
        list[str] | None,
        typer.Option(help="CHIP=PYTHON: the Python whose torch drives that chip; a PYTHON alone serves all. Default: this one."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of a new cloud's prices.")] = "CNY",
    trust_all: Annotated[
        bool, typer.Option("--trust-all", help="Not as root: let several organisations run as one user who trust each other.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate to serve TLS with.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key.")] = None,
    trusted_network: Annotated[
        bool, typer.Option("--trusted-network", help="Listen beyond this machine without TLS. Keys travel in the clear.")
    ] = False,
    log_format: Annotated[str, typer.Option(help="How cloud.log is written: text, or json, an object a line.")] = "text",
    metrics: Annotated[str, typer.Option(help="Who may read /metrics: key (an operator's), or loopback (this machine).")] = "key",
    key_rate: Annotated[float | None, typer.Option(help="Requests a second of a key; 0: no limit.", min=0)] = None,
    agent_rate: Annotated[float | None, typer.Option(help="Requests a second of a centre's agent.", min=0)] = None,
    stranger_rate: Annotated[
        float | None, typer.Option(help="Requests a second of an address without a good key.", min=0)
    ] = None,
    job_rate: Annotated[float | None, typer.Option(help="Jobs a second that a key submits, alone or in batches.", min=0)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=out.JSON_HELP)] = False,
) -> None:
    """Start a cloud and a local centre on this machine.

    The cloud keeps its journal in the data folder and answers on 127.0.0.1; the centre has this machine's cards: every GPU,
    or CPU cards where there is none.
    """
    folder = reach.data_folder(data)
    pretended = pretend_nodes(pretend)
    bases = base_environments(base or [])
    tls = tls_files(tls_cert, tls_key)
    told = [
        *watching(log_format, metrics),
        *limiting({"--key-rate": key_rate, "--agent-rate": agent_rate, "--stranger-rate": stranger_rate, "--job-rate": job_rate}),
    ]
    where = reach.database(database)
    if daemons.alive("cloud", folder) and daemons.alive("agent", folder):
        raise Conflict(
            "A cloud runs on this data folder already.",
            asked=str(folder),
            found=(folder / "address").read_text().strip(),
            hint="`forebay down` first, or another --data",
        )
    start(
        folder,
        host=host,
        port=port,
        nodes=(*real_nodes(cpu_cards), *pretended),
        bases=bases,
        currency=currency,
        trust_all=trust_all,
        tls=tls,
        trusted_network=trusted_network,
        told=told,
        database=where,
    )
    address = (folder / "address").read_text().strip()
    nodes: list[dict[str, Any]] = [node for centre in _pool(folder)["centres"] for node in centre["nodes"]]
    if as_json:
        out.as_json({"url": address, "data": str(folder), "operator_key_file": str(folder / "operator.key"), "nodes": nodes})
        return
    out.facts(
        [
            ("cloud", address),
            ("data", folder),
            ("operator's key", f"{folder / 'operator.key'} (used by itself on this machine)"),
            *(
                (str(node["name"]), f"{len(node['cards'])} x {node['chip']}" + (" (pretend)" if node["pretend"] else ""))
                for node in nodes
            ),
        ]
    )
    if not any((reach.cache_folder() / "shim").glob("*.so")):
        out.console.print(
            "CUDA's stand-in for CPU cards is compiled in the background, once: scripts that use torch wait a minute for it."
        )
    out.console.print("Next: forebay org make acme --project research, then forebay key make acme/research --use")


def start(
    folder: Path,
    *,
    host: str,
    port: int,
    nodes: tuple[Node, ...],
    bases: dict[str, Path],
    currency: str,
    trust_all: bool,
    tls: tuple[Path, Path] | None,
    trusted_network: bool,
    told: Sequence[str] = (),
    database: str = "",
) -> None:
    """Start both processes, or the one that is missing, and wait until the cloud knows the centre's cards. `told`: options of the
    cloud's process that it is to hear as they are.

    On failure nothing that was started here is left running.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    except OSError as error:
        raise Unavailable(
            "The data folder can't be made.", asked=str(folder), found=error.strerror or str(error), hint="another --data"
        ) from error
    home = folder / "centre"
    home.mkdir(exist_ok=True, mode=0o711)
    started = []
    if not daemons.alive("cloud", folder):
        (folder / "address").unlink(missing_ok=True)
        serve = ["-m", "forebay.cloud.serve", "--data", str(folder), "--host", host, "--port", str(port), "--currency", currency]
        serve += ["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])] if tls else []
        serve += [*(["--trusted-network"] if trusted_network else []), *told]
        daemons.start("cloud", folder, serve, {"FOREBAY_DATABASE": database})  # a variable: other users can't read it
        started.append("cloud")
    if not daemons.alive("agent", folder):
        (home / "nodes.json").write_text(json.dumps(encode(nodes)))
        start_agent(folder, bases, trust_all=trust_all)
        started.append("agent")
    until = time.monotonic() + PATIENCE_S
    try:
        while not (daemons.alive("cloud", folder) and (folder / "address").exists() and _centre_has_joined(folder)):
            for name in ("cloud", "agent"):
                if not daemons.alive(name, folder):
                    raise daemons.why_it_ended(name, folder)
            if time.monotonic() > until:
                raise Unavailable(
                    "The cloud didn't come up in time.", found=f"see {folder}/cloud.log and agent.log", hint="forebay doctor"
                )
            time.sleep(0.03)
    except BaseException:
        for name in reversed(started):
            daemons.stop(name, folder)
        raise


def start_agent(folder: Path, bases: dict[str, Path], *, trust_all: bool) -> None:
    home = folder / "centre"
    agent = [
        "-m",
        "forebay.centre.agent",
        "--home",
        str(home),
        "--cloud",
        str(folder / "address"),
        "--key-file",
        str(folder / "centre.token"),
    ]
    agent += ["--nodes", str(home / "nodes.json")]
    agent += ["--shim", str(reach.cache_folder() / "shim")]
    for chip, python in bases.items():
        agent += ["--base", f"{chip}={python}"]
    agent += ["--trust-all"] if trust_all else []
    daemons.start("agent", folder, agent)


def _centre_has_joined(folder: Path) -> bool:
    return any(centre["nodes"] for centre in _pool(folder)["centres"])


def _pool(folder: Path) -> dict[str, Any]:
    from forebay.client import Client

    address = (folder / "address").read_text().strip()
    with Client(address, (folder / "operator.key").read_text().strip(), patience_s=1.0) as cloud:
        return cloud.pool()


def watching(log_format: str, metrics: str) -> list[str]:
    """The cloud's own options for whoever watches it."""
    for option, told, known in (("--log-format", log_format, ("text", "json")), ("--metrics", metrics, ("key", "loopback"))):
        if told not in known:
            raise BadInput(f"{option} is {' or '.join(known)}.", asked=told)
    return ["--log-format", log_format, "--metrics", metrics]


def limiting(rates: Mapping[str, float | None]) -> list[str]:
    """The cloud's own options for how much anybody may ask; of those that nobody named it knows the defaults."""
    return [word for option, rate in rates.items() if rate is not None for word in (option, str(rate))]


def real_nodes(cpu_cards: int | None) -> tuple[Node, ...]:
    """This machine's cards."""
    from forebay.chips import detect

    found = detect.detect()
    for note in found.notes:
        out.errors.print(f"note: {note}", style="dim")
    if not cpu_cards:
        return found.nodes
    if any(node.chip != "cpu" for node in found.nodes):
        raise BadInput(
            "This machine has accelerators, so it has no CPU cards.", asked=f"--cpu-cards {cpu_cards}", hint="leave it out"
        )
    return tuple(replace(node, cards=detect.cpu_cards(cpu_cards)) for node in found.nodes)


def tls_files(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    """Certificate and private key: both, or neither."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "--tls-cert" if cert is None else "--tls-key"
        raise BadInput("TLS needs a certificate and its private key.", found=f"no {missing}", hint=f"{missing} FILE")
    for path in (cert, key):
        if not path.is_file():
            raise BadInput("There is no such file.", asked=str(path), hint="a PEM file")
    return cert.absolute(), key.absolute()


def pretend_nodes(text: str) -> tuple[Node, ...]:
    """The nodes of "ascend-910b:8x2,h100-sxm:8": eight cards on each of two nodes, and eight on one."""
    from forebay.chips.catalogue import find

    nodes: list[Node] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        shape = re.fullmatch(r"([a-z0-9.-]+):([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", item)
        if not shape:
            raise BadInput(
                "That is no list of pretend cards.", asked=item, hint="CHIP:CARDS or CHIP:CARDSxNODES, as ascend-910b:8x2"
            )
        chip, cards, hosts = find(shape[1]).name, int(shape[2]), int(shape[3] or 1)
        for number in range(1, hosts + 1):
            name = f"pretend-{chip}-{number}"
            nodes.append(
                Node(
                    name=name, chip=chip, cards=tuple(Card(index=i) for i in range(cards)), island=f"pretend-{chip}", pretend=True
                )
            )
    return tuple(nodes)


def base_environments(asked: list[str]) -> dict[str, Path]:
    """Python of the base environment by chip."""
    import sys

    bases = {"*": Path(sys.executable)}
    for item in asked:
        chip, equals, python = item.partition("=")
        path = Path(python if equals else chip).expanduser().absolute()
        if not path.is_file():
            raise BadInput(
                "There is no Python there.", asked=item, found=f"{path} is no file", hint="--base cpu=/opt/torch/bin/python"
            )
        bases[chip if equals else "*"] = path
    return bases
