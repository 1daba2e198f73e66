"""Open the engine that a centre's settings name. An engine's own packages are imported only where it is used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from forebay.centre import base
from forebay.centre.settings import Settings
from forebay.centre.spec import Engine
from forebay.chips import catalogue
from forebay.chips.node import Node
from forebay.codec import decode
from forebay.errors import BadInput

NAMES = ("local", "slurm", "ray")


def open_engine(home: Path, told: Settings, *, nodes: Path | None, shim: Path) -> Engine:
    """`nodes`: a file that names this machine's nodes, for the local engine; None: those that are found. `shim`: the folder of
    compiled carriers of CUDA's words.
    """
    match told.engine:
        case "local":
            from forebay.centre.local import Local
            from forebay.chips import detect

            found = detect.detect().nodes if nodes is None else _read(nodes)
            if told.pretend:
                found = tuple(replace(node, pretend=True) for node in found)
            return Local(
                home,
                nodes=found,
                base=bases(home, told, shim),
                trust_all=told.trust_all,
                shim=shim,
                build_env=build_env(told),
                check=told.check,
            )
        case "ray":
            from forebay.centre.ray.engine import Ray

            return Ray(home, told, shim=shim)
        case "slurm":
            from forebay.centre.slurm.engine import open_slurm

            images = {chip: image for chip, words in told.base.items() if (image := base.pyxis(words))}
            return open_slurm(home, settled(home, told, shim), shim=shim, images=images)
        case _:
            raise BadInput("There is no such engine.", asked=told.engine, found=", ".join(NAMES))


def bases(home: Path, told: Settings, shim: Path) -> dict[str, Path]:
    """The program of each chip's base environment."""
    visible = (str(home.absolute()), str(shim.absolute()), str(Path(__file__).resolve().parents[2]))
    found = {}
    for name, words in told.base.items():
        chip = None if name == base.ANY else catalogue.find(name)
        found[name] = base.program(
            words,
            home.absolute() / "bases",
            name,
            vendor=chip.vendor if chip else "",
            device_type=chip.device_type if chip else "cpu",
            visible=visible,
        )
    return found


def settled(home: Path, told: Settings, shim: Path) -> Settings:
    """The settings with each base as a program, and pip's variables whole."""
    programs = {chip: str(path) for chip, path in bases(home, told, shim).items()}
    return replace(told, base=programs, build_env=build_env(told))


def build_env(told: Settings) -> dict[str, str]:
    """What pip is told at this centre. Where there is a folder of wheels, it asks nobody else."""
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": told.wheels} if told.wheels else {}
    return {**offline, **told.build_env}


def _read(path: Path) -> tuple[Node, ...]:
    return tuple(decode(Node, node) for node in json.loads(path.read_bytes()))
