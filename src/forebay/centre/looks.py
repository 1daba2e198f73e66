"""What a look at the cards (`job/check.py`) says of a run, as nouns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from forebay.centre import order
from forebay.centre.order import Order
from forebay.centre.spec import Check
from forebay.errors import ForebayError


def check_of(node: str, cards: tuple[int, ...], when: str, found: Mapping[str, Any]) -> Check:
    return Check(
        node=node,
        cards=cards,
        when=when,
        took_s=float(found.get("took_s", 0.0)),
        bad=dict(found.get("bad", {})),
        skipped=str(found.get("skipped", "")),
    )


def skipped(wanted: Order, when: str, error: ForebayError) -> list[Check]:
    why = {"skipped": error.text if not error.found else f"{error.text} ({error.found})"}
    return [check_of(node, cards, when, why) for node, cards in order.cards_by_node(wanted).items()]


def complaint(checks: Iterable[Check]) -> str:
    """What is wrong with which card; empty: nothing is."""
    return "; ".join(f"card {card} of {check.node}: {why}" for check in checks for card, why in check.bad.items())
