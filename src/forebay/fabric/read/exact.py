"""A Wiring as JSON, array by array, and back: nothing is lost.

Asked:  how does a fabric of half a million cables go through a file that any language can read?
Answer: {"wiring": 1, "name": ..., "design": ..., and each array of the noun under its own name}. An array whose values are all
        the same is that one value; else a list. `null` is a speed without limit. "whole" says whether it was in one piece when
        it was written: one that failures have cut may be read again, but a file that claims to be whole, or doesn't say, is
        refused when it isn't.
Limits: version 1. What a newer Forebay adds is refused by name, as with all nouns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.fabric.design import Design
from forebay.fabric.read.whole import pieces, refuse_pieces
from forebay.fabric.wiring import Wiring

N, R, P, C = "cards", "routers", "ports", "cables"
ARRAYS = {
    "host_of": N, "rail_of": N, "domain_of": N, "unit_of": N,
    "router_tier": R, "router_plane": R, "router_group": R, "router_ports": R,
    "port_unit": P, "port_router": P, "port_bytes_per_s": P,
    "cable_a": C, "cable_b": C, "cable_bytes_per_s": C,
}  # fmt: skip
SPEEDS = ("port_bytes_per_s", "cable_bytes_per_s")
OTHERS = ("wiring", "name", "design", "whole", N, R, P, C, "scale_up_bytes_per_s", "router_names", "host_names", "nics")


def to_data(wiring: Wiring) -> dict[str, Any]:
    """Plain JSON data for a wiring."""
    sizes = {N: wiring.cards, R: wiring.routers, P: len(wiring.port_unit), C: len(wiring.cable_a)}
    return {
        "wiring": 1,
        "name": wiring.name,
        "design": encode(wiring.design),
        "whole": bool((pieces(wiring) == 0).all()),
        **sizes,
        "nics": wiring.nics,
        "scale_up_bytes_per_s": wiring.scale_up_bytes_per_s,
        **{name: _plain(getattr(wiring, name)) for name in ARRAYS},
        "router_names": list(wiring.router_names),
        "host_names": list(wiring.host_names),
    }


def from_data(data: Mapping[str, Any]) -> Wiring:
    """The wiring that the data tells of. Raises BadInput with the name of the first array that is wrong."""
    if data.get("wiring") != 1:
        raise BadInput("wiring: a version that I don't know.", found=repr(data.get("wiring")), hint="1")
    for key in data:
        if key not in ARRAYS and key not in OTHERS:
            raise BadInput("wiring: no field of that name.", found=key, hint=", ".join((*OTHERS, *ARRAYS)))
    sizes = {key: _count(data.get(key), key) for key in (N, R, P, C)}
    arrays = {name: _array(data.get(name), name, sizes[size]) for name, size in ARRAYS.items()}
    up = data.get("scale_up_bytes_per_s", 0.0)
    if type(up) not in (int, float) or not 0 <= up < np.inf:
        raise BadInput("scale_up_bytes_per_s: zero or more.", found=repr(up))
    _check(arrays, sizes)
    wiring = Wiring(
        name=decode(str, data.get("name", "a fabric"), at="name"),
        design=None if data.get("design") is None else decode(Design, data["design"], at="design"),
        scale_up_bytes_per_s=float(up),
        router_names=_names(data, "router_names", sizes[R]),
        host_names=_names(data, "host_names", int(arrays["host_of"].max(initial=-1)) + 1),
        nics=_count(data.get("nics", 0), "nics"),
        **arrays,
    )
    if data.get("whole", True):
        refuse_pieces(wiring)
    return wiring


def _plain(array: Any) -> Any:
    told = [None if x == np.inf else x for x in array.tolist()]
    return told[0] if told and all(x == told[0] for x in told) else told


def _count(x: Any, name: str) -> int:
    if type(x) is not int or x < 0:
        raise BadInput(f"{name}: a whole number, zero or more.", found=repr(x))
    return x


def _array(told: Any, name: str, size: int) -> Any:
    speed = name in SPEEDS
    allowed = (int, float, type(None)) if speed else (int,)
    for i, x in enumerate(told if isinstance(told, list) else [told] if size else []):
        if type(x) not in allowed:
            raise BadInput(f"{name}[{i}]: {'a speed in bytes per second' if speed else 'a whole number'}.", found=f"{x!r:.60}")
        if x is not None and (not x > 0 or x == np.inf if speed else not 0 <= x < 2**31):
            raise BadInput(f"{name}[{i}]: {'above zero' if speed else 'zero or more'}.", found=repr(x))
    if isinstance(told, list):
        if len(told) != size:
            raise BadInput(f"{name}: as many as there are.", asked=f"{size}", found=f"{len(told)}")
        filled = told
    else:
        filled = [told] * size
    return np.array([np.inf if x is None else x for x in filled], np.float64 if speed else np.int32)


def _names(data: Mapping[str, Any], key: str, size: int) -> tuple[str, ...]:
    told = decode(tuple[str, ...], data.get(key, []), at=key)
    if told and len(told) != size:
        raise BadInput(f"{key}: one each, or none.", asked=str(size), found=str(len(told)))
    if len(set(told)) != len(told):
        twice = next(name for name in told if told.count(name) > 1)
        raise BadInput(f"{key}: a name stands for one thing.", found=f"{twice!r} twice")
    return told


def _check(arrays: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Numbers name what is there; nothing is joined to itself; hosts and units are numbered without gaps, host by host."""
    if not sizes[N]:
        raise BadInput("cards: a fabric has a card at least.", found="0")
    for name in ("host_of", "unit_of"):
        steps = np.diff(arrays[name], prepend=np.int32(0))
        if arrays[name][0] or ((steps != 0) & (steps != 1)).any():
            raise BadInput(f"{name}: numbered from 0, host by host, without gaps.")
    units = int(arrays["unit_of"].max()) + 1
    for name, top in (("port_unit", units), ("port_router", sizes[R]), ("cable_a", sizes[R]), ("cable_b", sizes[R])):
        wrong = np.flatnonzero(arrays[name] >= top)
        if len(wrong):
            raise BadInput(
                f"{name}[{wrong[0]}]: a link to what isn't there.", found=str(arrays[name][wrong[0]]), hint=f"0 to {top - 1}"
            )
    same = np.flatnonzero(arrays["cable_a"] == arrays["cable_b"])
    if len(same):
        raise BadInput(f"cable {same[0]}: a link from a thing to itself.", found=f"router {arrays['cable_a'][same[0]]}")
