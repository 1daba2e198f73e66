"""A small pool and the facts that happen to it, for the core's tests."""

from __future__ import annotations

from forebay.chips.node import Card, Node
from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Job, Option, Script
from forebay.cloud.core.state import State

S = 10**9


def node(name: str, chip: str, cards: int, *, island: str = "", pretend: bool = False) -> Node:
    return Node(name=name, chip=chip, cards=tuple(Card(index=i) for i in range(cards)), island=island, pretend=pretend)


def pool(*nodes: Node) -> State:
    state = State()
    decide(state, e.CloudMade(at_ns=0, by="forebay", currency="CNY", version="0"))
    decide(state, e.CentreMade(at_ns=0, by="forebay", name="here", token_sha256="t"))
    decide(state, e.NodesSeen(at_ns=0, by="centre here", centre="here", nodes=nodes))
    return state


def job(
    name: str, *menu: tuple[str, int], organisation: str = "acme", retries: int = 3, time_limit_s: float | None = None
) -> Job:
    options = tuple(Option(chip=chip, cards=cards) for chip, cards in menu)
    script = Script(bundle="b", entry="train.py")
    return Job(
        id=name,
        organisation=organisation,
        project="p",
        name=name,
        menu=options,
        script=script,
        retries=retries,
        time_limit_s=time_limit_s,
    )


def submitted(at_s: float, asked: Job) -> e.Submitted:
    return e.Submitted(at_ns=int(at_s * S), by="k1", job=asked)


def ended(at_s: float, run: str, outcome: str = "succeeded", **more: object) -> e.Ended:
    return e.Ended(
        at_ns=int(at_s * S), by="centre here", run=run, outcome=outcome, held_ns=int(more.pop("held_s", 1) * S), **more
    )  # type: ignore[arg-type, call-overload, operator]


def replay(state: State, *facts: e.Event) -> list[e.Event]:
    return [decision for fact in facts for decision in decide(state, fact)]


def launches(decisions: list[e.Event]) -> list[str]:
    return [decision.run for decision in decisions if isinstance(decision, e.Launched)]
