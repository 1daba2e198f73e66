"""Which layers each piece of the model has.

Asked:  a plan says so many layers a stage, or "as even as can be"; a framework wants them piece by piece. Which are they?
Answer: counts in the order of the model: piece 0 has the embedding, the last one the loss. Where a stage's layers aren't given,
        each has as many, and what is left over goes to the stages after the first, one each; with `ends` the embedding and the
        loss take a layer's place (Llama 3, arXiv 2407.21783, section 3.3.2). A stage spreads its own evenly over its pieces.
        Layers that predict further tokens lie with the loss, count as its stage's, and aren't told.
        On one chip all pieces of interleaved stages whose layers are given have as many, but at the model's ends
        (`plan/divide.py`).
Limits: else, of a stage's pieces the first ones get what is left over.
"""

from __future__ import annotations

from forebay.errors import BadInput
from forebay.plan.plan import Plan

IN_A_V = ("zb-v", "v-half", "v-min")


def stage_of(plan: Plan, piece: int) -> int:
    """The stage that holds a piece: round and round, or down and up again in a V."""
    stages = len(plan.stages)
    if plan.schedule in IN_A_V and (piece // stages) % 2:
        return stages - 1 - piece % stages
    return piece % stages


def pieces(plan: Plan, layers: int, predicted: int = 0) -> tuple[int, ...]:
    """Layers of each piece, in the order of the model."""
    count = len(plan.stages) * plan.chunks
    found = [0] * count
    for stage, n in enumerate(stage_layers(plan, layers, predicted)):
        mine = [piece for piece in range(count) if stage_of(plan, piece) == stage]
        ahead, behind = plan.ends, 0 if plan.layers else predicted
        ends = [ahead * (piece == 0) + (ahead + behind) * (piece == count - 1) for piece in mine]
        cut = even(n + sum(ends), plan.chunks)
        if plan.layers and plan.chunks > 1 and not plan.ends and plan.schedule not in IN_A_V and len(set(plan.stages)) == 1:
            cut = _filled(n, plan.chunks, -(-max(plan.layers) // plan.chunks), stage == 0)
        for piece, places, taken in zip(mine, cut, ends, strict=True):
            found[piece] = places - taken
    if min(found) < 0:
        raise BadInput("There are more pieces than layers.", asked=f"{count} pieces", found=f"{layers} layers")
    return tuple(found)


def _filled(layers: int, chunks: int, each: int, first: bool) -> tuple[int, ...]:
    """So many layers a piece; what is lacking is lacking in the first pieces of the first stage, in the last ones of others."""
    found = tuple(min(each, max(0, layers - place * each)) for place in range(chunks))
    return found[::-1] if first else found


def stage_layers(plan: Plan, layers: int, predicted: int = 0) -> tuple[int, ...]:
    """Layers of each stage, all its pieces together."""
    stages = len(plan.stages)
    if plan.layers:
        if len(plan.layers) != stages or sum(plan.layers) != layers or min(plan.layers) < 0:
            raise BadInput(
                "The stages' layers don't add up to the model's.",
                asked=" + ".join(str(one) for one in plan.layers),
                found=f"{layers} layers, {stages} stages",
            )
        return plan.layers
    places, count = layers + predicted + 2 * plan.ends, stages * plan.chunks
    if places < count:
        hint = f"at most {places} pieces" + (", with the ends counted" if plan.ends else "")
        raise BadInput("There are more pieces than layers.", asked=f"{count} pieces", found=f"{layers} layers", hint=hint)
    each, rest = divmod(places, stages)
    cut = [each + (1 <= stage <= rest) for stage in range(stages)]
    cut[0] -= plan.ends
    cut[-1] -= plan.ends + predicted
    return tuple(cut)


def even(things: int, parts: int) -> tuple[int, ...]:
    """So many things in so many parts, as even as can be: the first ones get one more."""
    return tuple(things // parts + (place < things % parts) for place in range(parts))
