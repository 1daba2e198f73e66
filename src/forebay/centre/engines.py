"""Open the engine that a centre's settings name. An engine's own packages are imported only where it is used."""

from __future__ import annotations

import json
from pathlib import Path

from forebay.centre.settings import Settings
from forebay.centre.spec import Engine
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
            base = {chip: Path(python) for chip, python in told.base.items()}
            return Local(home, nodes=found, base=base, trust_all=told.trust_all, shim=shim, build_env=told.build_env)
        case "slurm":
            from forebay.centre.slurm.engine import open_slurm

            return open_slurm(home, told, shim=shim)
        case _:
            raise BadInput("There is no such engine.", asked=told.engine, found=", ".join(NAMES))


def _read(path: Path) -> tuple[Node, ...]:
    return tuple(decode(Node, node) for node in json.loads(path.read_bytes()))
