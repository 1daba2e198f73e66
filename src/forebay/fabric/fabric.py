"""The nouns Fabric and Island: what joins the nodes of a centre."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.fabric.link import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """The interconnect of a centre: a graph of hosts, switches and links.

    It says what is wired, never what flows: that is Traffic.
    """

    name: str
    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Island:
    """Nodes of one chip over whose links the vendor's own collectives run."""

    name: str
    chip: str
    nodes: tuple[str, ...]
