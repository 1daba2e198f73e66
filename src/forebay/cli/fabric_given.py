"""What the commands of `forebay fabric` share: a fabric from a file or a family, a model's traffic, a centre's physics.

Asked:  which wiring, traffic and routing does this command line mean?
Answer: `fabric_options` and `job_options` give a command their options and hand it what was said; `wiring`, `traffic` and `at`
        make the nouns of it.
Limits: a design from a file may be changed by options; a wiring can't.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, overload

import typer

from forebay.chips import catalogue
from forebay.cli import out
from forebay.cli.figures import following as following
from forebay.cli.figures import line as line
from forebay.cli.figures import plain as plain
from forebay.cli.figures import seconds as seconds
from forebay.codec import decode
from forebay.errors import BadInput, Unknown, nearest
from forebay.fabric import calibrate, read
from forebay.fabric.build import FAMILIES, build, fill
from forebay.fabric.build.direct import MOST_MESHED
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.mesh import Mesh, MeshPlace, mesh, place_mesh
from forebay.fabric.physics import DEFAULTS, Physics
from forebay.fabric.presets import PRESETS, preset
from forebay.fabric.quantity import speed
from forebay.fabric.routes import Routing
from forebay.fabric.timing import Place, place
from forebay.fabric.traffic import Traffic, checked
from forebay.fabric.wiring import Wiring

FABRIC = "A file, or a family: " + ", ".join(FAMILIES) + "."
FabricArg = Annotated[str, typer.Argument(metavar="FABRIC", help=FABRIC)]
Json = Annotated[bool, typer.Option("--json", help=out.JSON_HELP)]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE", help="Traffic: " + ", ".join(PRESETS) + "; or a file, also of forebay plan.", show_default=False
    ),
]
NO_LIMIT = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says of a family. None, or empty: nothing was said."""

    hosts: Annotated[int | None, typer.Option(help="Hosts.", show_default=False)] = None
    cards_per_host: Annotated[int | None, typer.Option(help="Cards in a host; 8.", show_default=False)] = None
    nics_per_host: Annotated[int | None, typer.Option(help="NICs in a host; 8.", show_default=False)] = None
    switch_ports: Annotated[int | None, typer.Option(help="Ports of a switch; 64.", show_default=False)] = None
    port: Annotated[str, typer.Option(help='Speed of a port, with its unit; "400 Gbit/s".', show_default=False)] = ""
    planes: Annotated[int | None, typer.Option(help="Planes.", show_default=False)] = None
    oversubscription: Annotated[float | None, typer.Option(help="Down over up at the leaves; 1.", show_default=False)] = None
    tiers: Annotated[int | None, typer.Option(help="Tiers of switches; as few as reach.", show_default=False)] = None
    shape: Annotated[str, typer.Option(help="Sides or parameters of the family: 16x8x8.", show_default=False)] = ""
    concentration: Annotated[int | None, typer.Option(help="NICs a router.", show_default=False)] = None
    parallel: Annotated[int | None, typer.Option(help="Cables between neighbouring routers.", show_default=False)] = None
    scale_up: Annotated[
        str, typer.Option(help='Speed of a card to its domain, each way; a family has "450 GB/s", or none.', show_default=False)
    ] = ""
    scale_up_cards: Annotated[int | None, typer.Option(help="Cards of a scale-up domain; a host's.", show_default=False)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the command line says of the machine that the traffic meets."""

    chip: Annotated[str, typer.Option(help="Whose peak a model preset computes with.")] = "h100-sxm"
    efficiency: Annotated[float, typer.Option(help="Share of that peak that is reached; an assumption.")] = 0.5
    physics: Annotated[str, typer.Option(help="infiniband, roce, nvlink, ideal, or a calibration's file.")] = "infiniband"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How traffic finds its way, and who sits where."""

    routing: Annotated[str, typer.Option(help="spray, ecmp, valiant or ugal.")] = "spray"
    subflows: Annotated[int, typer.Option(help="Of ecmp: queue pairs that share a flow.")] = 1
    seed: Annotated[int, typer.Option(help="Of ecmp's hashes and of shuffled hosts.")] = 0
    placement: Annotated[str, typer.Option(help="in-order, shuffled (whole hosts) or unaligned (rails).")] = "in-order"


def options(**groups: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these groups; it gets one value a group: `@options(given=Given)`."""

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        shared = {name: inspect.signature(cls, eval_str=True).parameters for name, cls in groups.items()}

        def run(**said: Any) -> None:
            made = {name: groups[name](**{key: said.pop(key) for key in keys}) for name, keys in shared.items()}
            command(**said, **made)

        kept = [own[name] for name in own if name not in groups]
        told = [*kept, *(one for keys in shared.values() for one in keys.values())]
        told = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in told]
        run.__signature__ = inspect.Signature(told)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in told}
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        return run

    return wrap


def noun(fabric: str, given: Given) -> Wiring | Design:
    """The design, filled in, or the wiring, that a FABRIC is."""
    changed = _changed(given)
    if fabric in FAMILIES:
        if given.hosts is None:
            raise BadInput("A family is built for so many hosts.", asked=fabric, hint=f"forebay fabric show {fabric} --hosts 128")
        return fill(Design(kind=fabric, **changed))
    if not Path(fabric).exists() and not re.search(r"[./\\]", fabric):
        near = nearest(fabric, list(FAMILIES)) or list(FAMILIES)
        raise BadInput("No family of fabrics has that name, and no file.", asked=fabric, hint=", ".join(near))
    found = read.load(fabric)
    if isinstance(found, Design):
        return fill(replace(found, **changed))
    if changed:
        raise BadInput("A wiring from a file is as it is: options are for families and designs.", asked=fabric,
                       found=", ".join(changed))  # fmt: skip
    return found


def wiring(fabric: str, given: Given) -> Wiring:
    found = noun(fabric, given)
    return build(found) if isinstance(found, Design) else found


def wired(fabric: str, given: Given) -> Wiring | Mesh:
    """As `wiring`; a full mesh too large to be laid goes by its rule, for who only times it."""
    found = noun(fabric, given)
    if isinstance(found, Design) and found.kind == "full-mesh" and found.cards > MOST_MESHED:
        return mesh(found)
    return build(found) if isinstance(found, Design) else found


def scale_up(given: Given, cards_per_host: int, *, assumed: bool) -> ScaleUp | None:
    """The scale-up that was said, or hosts of NVLink where nothing was and it is `assumed`."""
    if given.scale_up == NO_LIMIT:
        return None
    if not given.scale_up and given.scale_up_cards is None and not assumed:
        return None
    cards = given.scale_up_cards or cards_per_host
    if cards < 2:
        return None
    return ScaleUp(cards=cards, bytes_per_s=speed(given.scale_up or "450 GB/s", "--scale-up"))


def _changed(given: Given) -> dict[str, Any]:
    told = {field.name: getattr(given, field.name) for field in fields(given)}
    port, shape, up, up_cards = (told.pop(key) for key in ("port", "shape", "scale_up", "scale_up_cards"))
    changed = {key: value for key, value in told.items() if value is not None}
    for key, value in changed.items():
        if value < 0 or (
            value == 0 and key in ("hosts", "cards_per_host", "nics_per_host", "switch_ports", "planes", "parallel")
        ):
            raise BadInput("There is at least one.", asked=f"--{key.replace('_', '-')} {value}")
    if port:
        changed["port_bytes_per_s"] = speed(port, "--port")
    if shape:
        if not re.fullmatch(r"\d+(x\d+)*", shape):
            raise BadInput("A shape is whole numbers with x between.", asked=shape, hint="--shape 16x8x8")
        changed["shape"] = tuple(int(side) for side in shape.split("x"))
    if up or up_cards is not None or given.hosts is not None:
        changed["scale_up"] = scale_up(given, given.cards_per_host or 8, assumed=True)
    return changed


def box(text: str) -> tuple[int, float]:
    """ "64x400 Gbit/s": ports, and the speed of one."""
    found = re.fullmatch(r"\s*(\d+)\s*x\s*(.+)", text)
    if not found or int(found[1]) < 2:
        raise BadInput("A switch is its ports and their speed.", asked=text, hint='--box "64x400 Gbit/s"')
    return int(found[1]), speed(found[2], "--box")


def share(text: str, option: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text)
    if not found:
        raise BadInput("A share in per cent.", asked=f"{option} {text}", hint=f"{option} 5%")
    return float(found[1]) / 100


def traffic(model: str, cards: int, job: Job) -> Traffic:
    """A preset's traffic on at most so many cards, the Traffic in a file, or that of a plan in a file: FILE:2 a menu's second."""
    file, _, number = model.rpartition(":") if re.fullmatch(r".+:\d+", model) and not Path(model).exists() else (model, "", "")
    if model not in PRESETS and Path(file).is_file():
        data = read.table(Path(file).read_text(encoding="utf-8", errors="replace"))
        if number or not {"exchanges", "grid"} & data.keys():
            return _of_plan(model)
        return checked(decode(Traffic, data))
    return preset(model, cards, catalogue.find(job.chip), job.efficiency)


def _of_plan(file: str) -> Traffic:
    """What a plan sends, on the cards of its menu, or its chip's usual build. A menu's first, if no number is said."""
    from forebay.cli.plan_files import HINT, chosen, opened, wishes_of
    from forebay.cli.plan_kept import kept_calibrations
    from forebay.plan.explain import held
    from forebay.plan.framework import framework
    from forebay.plan.knowledge import known
    from forebay.plan.pool_read import pool
    from forebay.plan.traffic import of_one_kind
    from forebay.plan.traffic import traffic as of_plan

    found = opened(file)
    plan = chosen(found, 1).plan
    if found.workload is None:
        raise BadInput("A plan is sent with its workload: model, batch and tokens.", asked=file, found="a plan alone", hint=HINT)
    given = held(found.menu.pool or pool(f"{of_one_kind(plan)}:{plan.cards}"), plan)
    wishes = wishes_of(found)
    software = framework(wishes.framework)
    knows = known(given, found.workload.number_format, software, kept_calibrations(), wishes.imbalance)
    return of_plan(found.workload, plan, knows.site)


def physics(word: str) -> Physics:
    if word == "ideal":
        return Physics(source="no latency, all of the rate")
    if word in DEFAULTS:
        return DEFAULTS[word]
    if not Path(word).exists():
        raise Unknown("No physics has that name, and no file.", asked=word, hint=", ".join([*DEFAULTS, "ideal, or a file"]))
    return calibrate.read(word).physics


@overload
def at(w: Wiring, job: Job, ways: Ways) -> Place: ...
@overload
def at(w: Wiring | Mesh, job: Job, ways: Ways) -> Place | MeshPlace: ...
def at(w: Wiring | Mesh, job: Job, ways: Ways) -> Place | MeshPlace:
    routing = Routing(kind=ways.routing, seed=ways.seed, subflows=ways.subflows)
    said = physics(job.physics)
    return place_mesh(w, routing, said) if isinstance(w, Mesh) else place(w, routing, said)


def again(fabric: str, given: Given) -> str:
    """The fabric as it was said, for the next command."""
    words = [fabric]
    for field in fields(given):
        value = getattr(given, field.name)
        if value not in (None, ""):
            words.append(f"--{field.name.replace('_', '-')} " + (f'"{value}"' if " " in str(value) else str(value)))
    return " ".join(words)
