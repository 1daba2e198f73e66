"""A fabric that somebody wrote down: hosts, switches and links in TOML or JSON.

Asked:  how is a fabric said by hand, in a few lines, cable by cable where it must be?
Answer:     name = "two leaves"
            scale_up = "450 GB/s"            # of a card, each way; scale_up_cards: in one domain

            [[hosts]]
            name = "node[1-4]"               # cards, nics
            cards = 8

            [[switches]]
            name = "leaf[1-2]"               # tier, plane, group, ports
            ports = 64

            [[links]]                        # each of `from` with each of `to`, `count` cables
            from = "node[1-4]"               # "node1:3" is its NIC 3; without one its NICs take turns
            to = "leaf[1-2]"
            speed = "400 Gbit/s"
            count = 4

Limits: a link is as fast each way. Without scale_up there is none; without scale_up_cards a host is a domain.
        Between two hosts it is a direct cable: their cards pass traffic on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forebay.errors import BadInput, nearest
from forebay.fabric import quantity
from forebay.fabric.quantity import line_of, names, where, whole
from forebay.fabric.read.listing import Cable, Host, Listing, Switch

TOP = ("name", "scale_up", "scale_up_cards", "hosts", "switches", "links")
HOST = ("name", "cards", "nics")
SWITCH = ("name", "tier", "plane", "group", "ports")
LINK = ("from", "to", "speed", "count", "bytes_per_s")


def listing(data: Mapping[str, Any], text: str, name: str) -> Listing:
    """The listing in a TOML or JSON table. `text` is the file, to find lines in; `name` is for a fabric that has none."""
    _known(data, TOP, "", text)
    hosts, switches, cables = [], [], []
    for row in _rows(data, "hosts"):
        line = _known(row, HOST, "hosts", text)
        cards = whole(row.get("cards", 1), "cards", line_of(text, "cards", row.get("cards")), least=1)
        nics = whole(row["nics"], "nics", line_of(text, "nics", row["nics"]), least=1) if "nics" in row else 0
        hosts += [Host(one, cards, nics, line) for one in names(row.get("name"), "hosts: name", line)]
    for row in _rows(data, "switches"):
        line = _known(row, SWITCH, "switches", text)
        said = [whole(row.get(key, 0), key, line_of(text, key, row.get(key))) for key in SWITCH[1:]]
        switches += [
            Switch(one, said[0], said[1], said[2], said[3], line) for one in names(row.get("name"), "switches: name", line)
        ]
    for row in _rows(data, "links"):
        cables += _cables(row, text)
    up = data.get("scale_up")
    return Listing(
        name=str(data.get("name") or name),
        hosts=tuple(hosts),
        switches=tuple(switches),
        cables=tuple(cables),
        scale_up_bytes_per_s=0.0 if up is None else quantity.speed(up, "scale_up", line_of(text, "scale_up", up)),
        scale_up_cards=whole(
            data.get("scale_up_cards", 0), "scale_up_cards", line_of(text, "scale_up_cards", data.get("scale_up_cards"))
        ),
    )


def _cables(row: Mapping[str, Any], text: str) -> list[Cable]:
    line = _known(row, LINK, "links", text)
    count = whole(row.get("count", 1), "count", line_of(text, "count", row.get("count")), least=1)
    if "bytes_per_s" in row:
        said = row["bytes_per_s"]
        speed = quantity.speed(said, "bytes_per_s", line_of(text, "bytes_per_s", said), bare="B/s")
    elif "speed" in row:
        speed = quantity.speed(row["speed"], "speed", line_of(text, "speed", row["speed"]))
    else:
        raise BadInput(f"{where('links', line)}: no speed.", found=f"{dict(row)!r:.80}", hint=quantity.HINT)
    a, b = (names(row.get(end), f"links: {end}", line) for end in ("from", "to"))
    ends_a, ends_b = ([_nic(one, line) for one in side] for side in (a, b))
    return [Cable(x, y, speed, count, i, j, line) for x, i in ends_a for y, j in ends_b]


def _nic(end: str, line: int) -> tuple[str, int]:
    """ "node1:3" is NIC 3 of node1."""
    name, colon, nic = end.rpartition(":")
    return (name, whole(nic, "links: NIC", line)) if colon else (end, -1)


def _rows(data: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    rows = data.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadInput(f"{key}: a list of tables.", found=f"{rows!r:.80}")
    return rows


def _known(row: Mapping[str, Any], fields: tuple[str, ...], at: str, text: str) -> int:
    """The line on which a row stands, for errors. Raises BadInput for a field that isn't one."""
    for key in row:
        if key not in fields:
            line = line_of(text, key, row[key])
            raise BadInput(f"{where(at or 'fabric', line)}: no field of that name.", found=key,
                           hint=", ".join(nearest(key, list(fields)) or fields))  # fmt: skip
    key = "from" if "from" in row else "name"
    return line_of(text, key, row[key]) if key in row else 0
