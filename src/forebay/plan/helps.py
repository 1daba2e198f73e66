"""What would help most?

Asked:  the best plan is found. By how much would its step shorten with a better network, more memory, another batch?
Answer: the same search again with one thing changed. Steps of another batch are put at the same number of tokens.
Units:  seconds a step, of the tokens that were asked for.
Limits: each change alone; two together may do more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from forebay.errors import ForebayError
from forebay.plan.model import Workload
from forebay.plan.plan import Help
from forebay.plan.pool import Cards, Pool

Again = Callable[[Workload, Pool], float]  # seconds of the best plan


def helps(work: Workload, pool: Pool, again: Again) -> tuple[Help, ...]:
    """Changes that shorten the step, best first."""

    def every(**factors: float) -> Pool:
        return replace(pool, cards=tuple(_scaled(one, **factors) for one in pool.cards))

    changes = {
        "twice the network between islands": (work, every(out=2.0)),
        "twice the network inside islands": (work, every(up=2.0)),
        "half as much memory again": (work, every(memory=1.5)),
        "twice the batch": (replace(work, sequences=2 * work.sequences), pool),
        "half the batch": (replace(work, sequences=work.sequences // 2), pool),
    }
    found = []
    for change, (other, elsewhere) in changes.items():
        if other.sequences < 1:
            continue
        try:
            seconds = again(other, elsewhere) * work.sequences / other.sequences
        except ForebayError:
            continue  # half a batch that nothing divides
        found.append(Help(change=change, seconds_a_step=seconds))
    return tuple(sorted(found, key=lambda one: one.seconds_a_step))


def _scaled(cards: Cards, out: float = 1.0, up: float = 1.0, memory: float = 1.0) -> Cards:
    from forebay.plan.kernels.known import device_of

    has = device_of(cards).memory_bytes
    return replace(
        cards,
        out_bytes_per_s=cards.out_bytes_per_s * out,
        up_bytes_per_s=cards.up_bytes_per_s * up,
        memory_bytes=int(has * memory),
    )
