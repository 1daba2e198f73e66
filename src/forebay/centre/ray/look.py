"""One look at a Ray cluster, for somebody who is about to join it. Changes nothing.

Asked:  which nodes would Forebay have, and of which resources must a person say what they are?
Answer: the nodes as the dashboard lists them, or as a driver does that connects, asks and leaves. A resource whose name can be
        only one chip is that chip; of the others a person is asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from forebay import codec
from forebay.centre.ray import view
from forebay.centre.ray.dashboard import Dashboard
from forebay.centre.ray.view import Host
from forebay.centre.settings import Settings
from forebay.chips.node import Node
from forebay.errors import Unavailable

CONNECT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """A resource that may be cards of more than one chip, or none."""

    resource: str
    candidates: tuple[str, ...]
    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a cluster would be as a centre."""

    chips: Mapping[str, str]  # resource -> chip: what `centre.toml` says, and what the names say
    nodes: tuple[Node, ...]
    unsure: tuple[Unsure, ...]


def look(told: Settings) -> Found:
    """Raises Unavailable where Ray doesn't answer."""
    hosts = Dashboard(told.ray.dashboard).ask() if told.ray.dashboard else _by_driver(told)
    return found(hosts, told)


def found(hosts: tuple[Host, ...], told: Settings) -> Found:
    table, unsure = view.suggest(hosts)
    chips = {**{name: chip for name, chip in table.items() if chip}, **told.ray.chips}
    known = {key.partition(":")[0] for key in told.ray.chips}
    open_ = [name for name in unsure if name not in chips and name.partition(":")[0] not in known]
    places = view.places(hosts, replace(told.ray, chips=chips), pretend=told.pretend)
    return Found(chips=chips, nodes=view.nodes(places), unsure=tuple(_ask(name, hosts) for name in open_))


def _ask(name: str, hosts: tuple[Host, ...]) -> Unsure:
    resource = name.partition(":")[0]
    on = ", ".join(sorted(host.name for host in hosts if host.alive and host.resources.get(resource))[:4])
    return Unsure(resource=name, candidates=view.candidates(name), question=f"Which chip is Ray's resource {name} (on {on})?")


def _by_driver(told: Settings) -> tuple[Host, ...]:
    from forebay.centre.ray.engine import hand_command, hand_environment

    command = [*hand_command(told.python or sys.executable, entry="look_once"), json.dumps(codec.encode(told))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CONNECT_S, check=False, env=hand_environment(), cwd="/"
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("The Ray cluster doesn't answer.", asked=told.ray.address) from None
    if done.returncode != 0:
        raise Unavailable("The Ray cluster could not be joined.", asked=told.ray.address, found=done.stderr.strip()[-300:])
    return tuple(codec.decode(Host, host) for host in json.loads(done.stdout.splitlines()[-1]))
