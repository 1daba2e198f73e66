"""Small traces for the tests of replay."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.cloud.core import events as e
from forebay.cloud.replay import site
from forebay.cloud.replay.run import POLICIES
from forebay.cloud.replay.trace import Line, Settings, Trace, Traced, on_pool
from forebay.cloud.replay.world import History, World


def job(id: str, arrival_s: float, cards: int, seconds: float, **more: object) -> Traced:
    return Traced(id=id, arrival_s=arrival_s, lines=(Line(chip="h", cards=cards, seconds=seconds),), **more)  # type: ignore[arg-type]


def go(policy: str, jobs: Sequence[Traced], cards: str = "1x4:h", *, known: bool = False, **settings: object) -> History:
    nodes = site.parse(cards)
    how = Settings(**settings)  # type: ignore[arg-type]
    good, never = on_pool(Trace(name="t", format="test", jobs=tuple(jobs)), site.cards(nodes), how)
    assert not never
    return World(good, nodes, POLICIES[policy](), how, known=known).run()


def jct_s(history: History) -> dict[str, float]:
    return {life.traced.id: life.jct_ns / 1e9 for life in history.lives}


class Scripted:
    """A policy that launches and stops as it is told: (seconds since the beginning, what, job, line of the menu)."""

    def __init__(self, script: Sequence[tuple[float, str, str, int]]) -> None:
        from forebay.cloud.replay.baselines.plain import Plain

        class Hands(Plain):
            def arrive(self, known):
                pass

            def schedule(self, now_ns, ticked):
                return []

        self.hands = Hands()
        self.script = sorted(script)

    def due_ns(self):
        return int(self.script[0][0] * 1e9) + 10**9 if self.script else None

    def tell(self, fact):
        decisions = self.hands.tell(fact)
        while isinstance(fact, e.Tick) and self.script and self.due_ns() <= fact.at_ns:
            _, what, job_id, line = self.script.pop(0)
            known = self.hands.jobs[job_id]
            if what == "launch":
                decisions.append(self.hands.launch(known, known.job.menu[line], fact.at_ns))
            else:
                decisions.append(
                    e.StopAsked(at_ns=fact.at_ns, by="forebay", run=known.run, reason="script", grace_s=0.0, requeue=True)
                )
        return decisions
