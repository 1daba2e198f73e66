"""A choice's pipeline as a timeline, to be drawn.

Asked:  a choice says how long a step is and where its seconds go. What does each stage do meanwhile?
Answer: what the slowest stage computes in a step, divided by its micro-batches, is its pass; other stages' passes are as long as
        their layers are many. Forward takes a third of a pass, the two backwards a third each; a pass that computes forward again
        before backward has four parts. The schedule's order does the rest (`plan/timeline.py`).
Units:  seconds.
Limits: a picture, not a price: sends are left out, the embedding and the loss aren't told apart from layers, and stages whose
        layers were chosen by their seconds are drawn as long as the slowest. The step's own seconds are the choice's.
"""

from __future__ import annotations

from forebay.errors import BadInput
from forebay.plan.export.pieces import pieces, stage_of
from forebay.plan.model import Workload
from forebay.plan.plan import Choice
from forebay.plan.timeline import Timeline, timeline

# "micro-batches" is all of it, where kinds share the data ranks (`mixed`).
COMPUTING = ("products", "attention", "traffic", "launch", "tensor", "context", "expert", "micro-batches")


def charted(work: Workload, choice: Choice) -> Timeline:
    """The timeline of the choice's pipeline. Raises BadInput where it has none."""
    plan = choice.plan
    if len(plan.stages) < 2:
        raise BadInput("A plan of one stage has no pipeline to draw.", asked="1 stage", hint="a choice with stages")
    micro = plan.micro_batches(work.sequences)
    busy = sum(choice.parts.get(name, 0.0) for name in COMPUTING) or choice.seconds_a_step
    cut = pieces(plan, work.model.layers, work.model.predicted)
    rows: list[list[float]] = [[] for _ in plan.stages]
    for piece, n in enumerate(cut):
        rows[stage_of(plan, piece)].append(float(n))
    if plan.layers:
        # A stage without layers has the embedding or the loss.
        rows = [row if sum(row) else [1.0] * len(row) for row in rows]
        rows = [[one * max(map(sum, rows)) / sum(row) for one in row] for row in rows]
    a_layer = busy / micro / max(map(sum, rows))
    again = [plan.recomputed(stage) == "full" for stage in range(len(rows))]
    forward = [[n * a_layer / (4 if full else 3) for n in row] for row, full in zip(rows, again, strict=True)]
    backward = [[n * (2 if full else 1) for n in row] for row, full in zip(forward, again, strict=True)]
    return timeline(plan.schedule, micro, forward, backward, forward)
