"""The pool as tables: a line for all nodes that are alike, so that a thousand nodes fit on a screen. Pure, up to the strings.

node_rows(pool)["h[1-480]" …]
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from forebay.units import NS_PER_S, show_seconds

NODE_COLUMNS = ["centre", "nodes", "chip", "cards", "free", "ours", "others", "unfit", "out of use", "held by"]
NODE_NUMBERS = ["cards", "free", "ours", "others", "unfit"]
CENTRE_COLUMNS = ["centre", "agent", "engine", "version", "nodes", "cards", "free", "queued", "drained"]
CENTRE_NUMBERS = ["nodes", "cards", "free", "queued"]
QUEUE_COLUMNS = ["waiting for", "jobs", "cards wanted", "cards kept for", "oldest waits", "where"]
QUEUE_NUMBERS = ["jobs", "cards wanted", "cards kept for", "oldest waits"]


def state_of(centre: Mapping[str, Any]) -> str:
    """ "here", "never heard", or "away, heard of 3 m 20 s ago"."""
    heard = centre["heard_s_ago"]
    if centre["state"] == "here" and heard is None:
        return "never heard"
    if centre["state"] != "away":
        return str(centre["state"])
    return "away" if heard is None else f"away, heard of {show_seconds(heard)} ago"


def centre_rows(pool: Mapping[str, Any]) -> list[list[object]]:
    return [
        [
            centre["name"],
            state_of(centre),
            centre["engine"],
            centre["version"],
            len(centre["nodes"]),
            sum(node["count"] for node in centre["nodes"]),
            sum(node["free"] for node in centre["nodes"]),
            centre["queued"],
            centre["drained"] or "",
        ]
        for centre in pool["centres"]
    ]


def columns(each: bool) -> list[str]:
    return [*NODE_COLUMNS, "switch"] if each else NODE_COLUMNS


def node_rows(pool: Mapping[str, Any], *, only: str = "", each: bool = False) -> list[list[object]]:
    """Nodes that are alike in one line, in the order of their first; `each`: every node by itself."""
    rows: list[list[object]] = []
    for centre in pool["centres"]:
        if only and centre["name"] != only:
            continue
        alike: dict[tuple[object, ...], list[Mapping[str, Any]]] = defaultdict(list)
        for node in centre["nodes"]:
            alike[(node["name"],) if each else _kind(node)].append(node)
        rows += [[*_row(centre["name"], nodes), *([nodes[0]["leaf"]] if each else [])] for nodes in alike.values()]
    return rows


def _kind(node: Mapping[str, Any]) -> tuple[object, ...]:
    figures = (node["count"], node["free"], node["ours"], node["others"], len(node["unfit"]))
    return (node["chip"], node["pretend"], node["out"], *figures)


def _row(centre: str, nodes: Sequence[Mapping[str, Any]]) -> list[object]:
    first = nodes[0]
    sums = [sum(node[figure] for node in nodes) for figure in ("count", "free", "ours", "others")]
    holders = list(dict.fromkeys(run for node in nodes for run in node["held_by"]))
    more = f" and {len(holders) - 3} more" if len(holders) > 3 else ""
    return [
        centre,
        folded([node["name"] for node in nodes]),
        first["chip"] + (" (pretend)" if first["pretend"] else ""),
        *sums,
        sum(len(node["unfit"]) for node in nodes),
        first["out"],
        ", ".join(holders[:3]) + more,
    ]


def unfit_lines(pool: Mapping[str, Any], *, only: str = "") -> list[str]:
    return [
        f"{centre['name']}/{node['name']}/{card}: {why}"
        for centre in pool["centres"]
        for node in centre["nodes"]
        for card, why in node["unfit"].items()
        if not only or centre["name"] == only
    ]


def window_lines(pool: Mapping[str, Any]) -> list[str]:
    return [
        f"maintenance of {window['centre']}{'/' + window['node'] if window['node'] else ''} from {_when(window['from_ns'])} "
        f"to {_when(window['to_ns'])}{': ' + window['reason'] if window['reason'] else ''} ({window['id']})"
        for window in pool["maintenance"]
    ]


def queue_rows(pool: Mapping[str, Any]) -> list[list[object]]:
    return [
        [
            line["chips"],
            line["jobs"],
            f"{line['cards']} of {line['of']}",
            f"{line['kept_for']} job{'s' if line['kept_for'] != 1 else ''}" if line["kept_for"] else "",
            show_seconds(line["oldest_s"]),
            f"in the queue of {line['centre']}" if line["centre"] else "here",
        ]
        for line in pool["queue"]
    ]


def folded(names: Iterable[str]) -> str:
    """ "h[1-3,7], login" for h1, h2, h3, h7 and login."""
    families: dict[tuple[str, str, int], list[int]] = defaultdict(list)  # in the order in which they come
    for name in names:
        found = re.fullmatch(r"(.*?)(\d{1,9})(\D*)", name)
        before, digits, behind = found.groups() if found else (name, "", "")
        family = families[(before, behind, len(digits) if digits.startswith("0") else 0)]
        family += [int(digits)] if digits else []
    return ", ".join(_range(*family, numbers) for family, numbers in families.items())


def _range(before: str, behind: str, width: int, numbers: list[int]) -> str:
    if not numbers:
        return before + behind
    if len(numbers) == 1:
        return f"{before}{numbers[0]:0{width}d}{behind}"
    runs = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        runs.append(f"{run[0]:0{width}d}" + (f"-{run[-1]:0{width}d}" if len(run) > 1 else ""))
    return f"{before}[{','.join(runs)}]{behind}"


def _when(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / NS_PER_S).strftime("%Y-%m-%d %H:%M")
