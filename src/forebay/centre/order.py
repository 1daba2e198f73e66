"""The noun Order: a Spec and what the local engine has decided about it; and what follows from it for each rank.

Asked:  which process gets which number, core, card and variable?
Answer: pure functions of the order. The supervisor reads them out to the parent of the ranks (`job/wire.py` names the fields).
        A run over several machines has an order for each share; all but the ranks in it is the same (`for_share`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from forebay.centre import isolation
from forebay.centre.spec import Spec
from forebay.chips.node import Node
from forebay.errors import BadInput
from forebay.units import parse_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one rank sits."""

    rank: int
    local_rank: int  # within its share
    local_ranks: int
    group: int  # which share
    groups: int
    cores: tuple[int, ...]  # bound to these; empty: not bound
    cards: tuple[int, ...]  # of its share: the rank sees them all, as under torchrun


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a supervisor has to carry out. Written to disk before anything starts."""

    spec: Spec
    home: str
    base: str  # the Python of the chip's base environment
    places: tuple[Place, ...]  # the ranks that are started here
    visible_env: str | None  # the chip's visible-devices variable
    torch: str  # "import": ranks come out of a parent that has imported torch; "carry": they may import it themselves; "none"
    shim: str  # folder of the compiled carrier of CUDA's words
    can_fork: bool  # the chip's driver is untouched by the import
    cookie: str  # in the environment of every process of the run, to find what is left of it
    uid: int | None = None  # None: the engine isn't root, and everything runs as its own user
    gid: int | None = None
    run_gid: int | None = None  # a group of this run alone, to find what is left of it
    build_env: Mapping[str, str] = field(default_factory=dict)  # for pip, set by the operator
    world: int = 0  # ranks of the whole run; 0: those that are started here
    address: str = "127.0.0.1"  # where the ranks of the first share are reached
    check_before: bool = False  # look at the health of the cards before the ranks are started
    check_after: bool = False  # and after they failed
    device: str = "cpu"  # torch's type of the cards, for that look
    backend: str = "gloo"  # of torch.distributed, for the same
    monitor: str = ""  # the vendor's, which tells how busy the cards are; empty: nobody does
    meeting: str = ""  # file in which the first share's supervisor leaves the port of the rendezvous; empty: one share is all

    @property
    def ranks(self) -> int:
        """Of the whole run."""
        return self.world or len(self.places)

    @property
    def first(self) -> bool:
        """Whether rank 0 is started here, and with it the rendezvous."""
        return self.places[0].rank == 0


def for_share(whole: Order, share: int, *, cards: tuple[int, ...] = (), meeting: str = "") -> Order:
    """The part of an order that one machine carries out. `cards`: those that its engine really gave, if it picks them itself."""
    mine = tuple(replace(place, cards=cards or place.cards) for place in whole.places if place.group == share)
    if len({place.group for place in whole.places}) == 1:
        return replace(whole, places=mine, world=whole.ranks, meeting="")
    return replace(
        whole,
        places=mine,
        world=whole.ranks,
        meeting=meeting,
        # Two shares may be on one machine after all, and what is left of the one must not be taken for the other's.
        cookie=f"{whole.cookie}-{share}",
        run_gid=None if whole.run_gid is None else isolation.next_run_gid(whole.run_gid, share),
    )


def places(spec: Spec, nodes: tuple[Node, ...]) -> tuple[Place, ...]:
    """A place a card, in the order of the shares. Raises BadInput for a node or card that isn't there."""
    by_name = {node.name: node for node in nodes}
    found: list[Place] = []
    for group, share in enumerate(spec.shares):
        node = by_name.get(share.node)
        if node is None or node.chip != spec.chip:
            known = ", ".join(f"{node.name} ({node.chip})" for node in nodes)
            raise BadInput(
                "The spec names a node that this engine doesn't have.", asked=f"{share.node} ({spec.chip})", found=known
            )
        cards = {card.index: card for card in node.cards}
        for local_rank, index in enumerate(share.cards):
            if index not in cards:
                raise BadInput(f"Node {node.name} has no such card.", asked=str(index), found=", ".join(map(str, cards)))
            found.append(
                Place(
                    rank=len(found),
                    local_rank=local_rank,
                    local_ranks=len(share.cards),
                    group=group,
                    groups=len(spec.shares),
                    cores=() if spec.pretend else cards[index].cores,
                    cards=share.cards,
                )
            )
    if not found:
        raise BadInput("A run has at least one card.", asked=spec.name)
    return tuple(found)


def cards_by_node(order: Order) -> dict[str, tuple[int, ...]]:
    """The cards on which ranks are started here."""
    return {order.spec.shares[place.group].node: place.cards for place in order.places}


def check_packet(order: Order, cards: tuple[int, ...]) -> dict[str, Any]:
    """The packet that has cards looked at; `job/check.py` says what its fields mean."""
    return {
        "say": "check",
        "cards": list(cards),
        "device": "cpu" if order.spec.pretend else order.device,
        "visible": None if order.spec.pretend else order.visible_env,
        "backend": order.backend,
        "fork": order.can_fork,
    }


def check_due(checked_s_ago: float | None, every: str) -> bool:
    """Whether cards want a look before a run. `every`: how old a good one may be, or "never"."""
    if every == "never":
        return False
    return checked_s_ago is None or checked_s_ago > parse_seconds(every)


def attempt(run: str) -> int:
    """The attempt in a run's name: 2 in "j4k7q2-2"; 1 where it doesn't say."""
    found = re.search(r"-(\d+)$", run)
    return max(int(found[1]), 1) if found else 1


# What the launcher alone may say. A tenant's variable of such a name is dropped.
_OURS = re.compile(
    r"FOREBAY_.*|TORCHELASTIC_.*|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|ROLE_)?RANK|(LOCAL_|GROUP_|ROLE_)?WORLD_SIZE|ROLE_NAME|HOME|USER|LOGNAME"
)


def tenants_own(env: Mapping[str, str]) -> dict[str, str]:
    """The tenant's variables, without those that the launcher alone may say."""
    return {name: value for name, value in env.items() if not _OURS.fullmatch(name)}


def shared_environment(order: Order, run_dir: str, output: str, python: str, overlay: str | None) -> dict[str, str]:
    """The variables of all ranks, from nothing: nothing of the engine's own environment gets in."""
    spec = order.spec
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    restarts = str(attempt(spec.name) - 1)
    env = {
        "PATH": f"{os.path.dirname(python)}:{path}",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # a line is a line as soon as it is printed, in subprocesses too
    }
    env.update(tenants_own(spec.env))
    if "PATH" in spec.env:
        env["PATH"] = f"{os.path.dirname(python)}:{spec.env['PATH']}"
    env.update(
        HOME=f"{run_dir}/work",
        USER=f"org-{spec.organisation}",
        LOGNAME=f"org-{spec.organisation}",
        TMPDIR=f"{run_dir}/tmp",
        WORLD_SIZE=str(order.ranks),
        ROLE_NAME="default",
        ROLE_WORLD_SIZE=str(order.ranks),
        TORCHELASTIC_RUN_ID=spec.name,
        TORCHELASTIC_RESTART_COUNT=restarts,
        TORCHELASTIC_MAX_RESTARTS=restarts,
        TORCH_NCCL_ASYNC_ERROR_HANDLING="1",
        FOREBAY_JOB=spec.job,
        FOREBAY_RUN=spec.name,
        FOREBAY_ATTEMPT=str(attempt(spec.name)),
        FOREBAY_OUTPUT=output,
        FOREBAY_DATA=data_folder(spec, f"{run_dir}/work"),
        FOREBAY_COOKIE=order.cookie,
        FOREBAY_SHIM_REPORT=f"{run_dir}/tmp/shim-report.json",  # `forebay chips gaps --runs` reads it
    )
    if spec.pretend:
        env["FOREBAY_PRETEND"] = "1"
    if overlay is not None:
        env["VIRTUAL_ENV"] = overlay
    return env


def data_folder(spec: Spec, work: str) -> str:
    """The folder that holds the data mounts: their common parent, or the working folder where there is none."""
    parents = [os.path.dirname(mount.at.rstrip("/")) for mount in spec.mounts if mount.kind == "data"]
    common = os.path.commonpath(parents) if parents else ""
    return os.path.join(work, common) if common else work


def rank_environment(order: Order, place: Place) -> dict[str, str]:
    """The variables of one rank: what torchrun sets, and the cards it may see."""
    env = {
        "RANK": str(place.rank),
        "LOCAL_RANK": str(place.local_rank),
        "LOCAL_WORLD_SIZE": str(place.local_ranks),
        "GROUP_RANK": str(place.group),
        "GROUP_WORLD_SIZE": str(place.groups),
        "ROLE_RANK": str(place.rank),
    }
    threads = str(threads_of(order, place))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = order.spec.env.get(name, threads)
    if order.visible_env is not None and not order.spec.pretend:
        env[order.visible_env] = ",".join(map(str, place.cards))
    return env


def threads_of(order: Order, place: Place) -> int:
    """As many as the card has cores; one where it has none of its own, as torchrun does."""
    asked = order.spec.env.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else max(len(place.cores), 1)


# Variables that Python, the loader, torch or its libraries read once, while they are started or imported.
_READ_AT_IMPORT = re.compile(
    r"PYTHON(?!UNBUFFERED).*|LD_.*|MALLOC_.*|KMP_.*|GOMP_.*|OMP_(?!NUM_THREADS).*|MKL_(?!NUM_THREADS).*|TORCH_(?!NCCL|DISTRIBUTED|CPP_LOG).*|PYTORCH_.*"
)


def needs_fresh(order: Order) -> bool:
    """True where a rank has to be a new interpreter, because a fork would come too late for what the tenant or the chip asks."""
    return not order.can_fork or any(_READ_AT_IMPORT.fullmatch(name) for name in order.spec.env)


def begin(
    order: Order,
    *,
    start: str,
    work: str,
    argv: list[str],
    python: str,
    env: dict[str, str],
    view: dict[str, Any],
    packages: str | None,
    port: int | None = None,
) -> dict[str, Any]:
    """The packet that begins a run; `job/wire.py` says what its fields mean. `port`: of a rendezvous that is kept elsewhere."""
    return {
        "say": "begin",
        "ranks": len(order.places),
        "start": start,
        "work": work,
        "entry": order.spec.entry,
        "argv": argv,
        "python": python,
        "env": env,
        "store": start != "exec",
        "address": order.address,
        "port": port,
        "view": view,
        "uid": order.uid,
        "gid": order.gid,
        "groups": [number for number in (order.gid, order.run_gid) if number is not None],
        "packages": packages,
    }


def rank_packet(order: Order, place: Place) -> dict[str, Any]:
    return {
        "say": "rank",
        "rank": place.rank,
        "env": rank_environment(order, place),
        "cores": list(place.cores),
        "threads": threads_of(order, place),
        "cards": place.local_ranks,
    }
