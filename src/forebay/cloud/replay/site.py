"""The pool of a replay, from a few words or a list of nodes.

    nodes = parse("64x8:h100-sxm")
    nodes = parse("9x4:v100,9x4:p100,9x4:k80")

Asked:  which nodes with how many cards of what?
Answer: nodes x cards : chip, as often as there are kinds of nodes; or a file with a line a node (`sn`, `gpu`, `model`). A chip
        may have any name: what is known of a job's speed on it stands in the trace, not in the catalogue.
Limits: one centre, all nodes of a chip in one island, no failures.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from forebay.chips.node import Card, Node
from forebay.errors import BadInput

_KIND = re.compile(r"(?:(\d+)x)?(\d+):([A-Za-z0-9_.-]+)")


def parse(text: str) -> tuple[Node, ...]:
    """The nodes that a person described, or those of a file."""
    if text.endswith((".csv", ".csv.gz")):
        return read(Path(text))
    nodes: list[Node] = []
    for kind in text.split(","):
        found = _KIND.fullmatch(kind.strip())
        if not found or not int(found[1] or 1) or not int(found[2]):
            raise BadInput(
                "That is no description of a pool.",
                asked=repr(kind),
                hint="nodes x cards : chip, as 64x8:h100-sxm or 9x4:v100,9x4:p100; or a CSV file with a line a node",
            )
        nodes += _some(int(found[1] or 1), int(found[2]), found[3], len(nodes))
    return tuple(nodes)


def read(path: Path) -> tuple[Node, ...]:
    """Nodes listed as Alibaba's cluster trace of 2023 lists them: `sn`, `gpu` (how many) and `model`."""
    from forebay.cloud.replay.readers.files import open_text

    with open_text(path) as lines:
        rows = csv.DictReader(lines)
        if not {"sn", "gpu", "model"} <= set(rows.fieldnames or ()):
            raise BadInput(
                "That file lists no nodes.", asked=str(path), found=f"the columns {', '.join(rows.fieldnames or ())}",
                hint="the columns sn, gpu and model",
            )  # fmt: skip
        return tuple(_node(row["sn"], int(row["gpu"]), row["model"]) for row in rows if int(row["gpu"] or 0))


def cards(nodes: tuple[Node, ...]) -> Counter[str]:
    """How many cards of each chip there are."""
    total: Counter[str] = Counter()
    for node in nodes:
        total[node.chip] += len(node.cards)
    return total


def _some(count: int, size: int, chip: str, first: int) -> list[Node]:
    return [_node(f"n{number:05}", size, chip) for number in range(first, first + count)]


def _node(name: str, size: int, chip: str) -> Node:
    return Node(name=name, chip=chip, cards=tuple(Card(index=i) for i in range(size)))
