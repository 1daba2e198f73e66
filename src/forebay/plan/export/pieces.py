"""Which layers each piece of the model has.

Asked:  a plan says so many layers a stage, or "as even as can be"; a framework wants them piece by piece. Which are they?
Answer: counts in the order of the model: piece 0 has the embedding, the last one the loss. Where they aren't given, each piece
        has as many, the first ones one more; with `ends` the embedding and the loss take a layer's place each (Llama 3,
        arXiv 2407.21783, section 3.3.2; so counts torchtitan's pipeline_parallel.py, too).
Limits: a given stage's layers are spread over its pieces evenly, the first pieces one more.
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


def pieces(plan: Plan, layers: int) -> tuple[int, ...]:
    """Layers of each piece, in the order of the model."""
    stages, count = len(plan.stages), len(plan.stages) * plan.chunks
    if plan.layers:
        if len(plan.layers) != stages or sum(plan.layers) != layers or min(plan.layers) < 0:
            raise BadInput(
                "The stages' layers don't add up to the model's.",
                asked=" + ".join(str(one) for one in plan.layers),
                found=f"{layers} layers, {stages} stages",
            )
        found = [0] * count
        for stage, of_stage in enumerate(plan.layers):
            mine = [piece for piece in range(count) if stage_of(plan, piece) == stage]
            for piece, n in zip(mine, even(of_stage, plan.chunks), strict=True):
                found[piece] = n
        return tuple(found)
    places = layers + 2 * plan.ends
    if places < count:
        hint = f"at most {places} pieces" + (", with the ends counted" if plan.ends else "")
        raise BadInput("There are more pieces than layers.", asked=f"{count} pieces", found=f"{layers} layers", hint=hint)
    cut = list(even(places, count))
    cut[0] -= plan.ends
    cut[-1] -= plan.ends
    return tuple(cut)


def stage_layers(plan: Plan, layers: int) -> tuple[int, ...]:
    """Layers of each stage, all its pieces together."""
    found = [0] * len(plan.stages)
    for piece, n in enumerate(pieces(plan, layers)):
        found[stage_of(plan, piece)] += n
    return tuple(found)


def even(things: int, parts: int) -> tuple[int, ...]:
    """So many things in so many parts, as even as can be: the first ones get one more."""
    return tuple(things // parts + (place < things % parts) for place in range(parts))
