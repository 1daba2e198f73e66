"""Time to first token and time per token of engines that are kept busy.

Asked:  so many requests are always at work; how long does each wait for its first token, and for each one after?
Answer: passes are priced by `time`; here they share an engine. Continuous batching (Orca, OSDI 2022): in the time that a
        request makes its tokens, every other request of its rank has its prompt read once, and that time is taken from all:
            token = step + prompts of others / tokens
        `wait` says how many are read in one pass, and when the first token comes. Requests that don't fit the cache wait
        for a place (Little's law). Disaggregated (DistServe, OSDI 2024): decode engines only step.
Units:  seconds, requests a second. Arrays of one length, an entry a plan.
Limits: means, not tails.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving.memory import memory, room
from forebay.plan.serving.time import Engine, ServingCuts, calls, decode_parts, prefill_parts, total
from forebay.plan.serving.wait import Habits, Prompt, alike, flow

CHUNK = 8192  # prompt tokens of a filled pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """What is expected of each plan."""

    first_s: Floats
    token_s: Floats
    requests_per_s: Floats
    at_once: Floats  # requests in the engine, without those that wait for a place
    memory_bytes: Floats
    parts: dict[str, Floats]  # of token_s


def aggregated(
    engine: Engine, cuts: ServingCuts, inputs: Floats, outputs: Floats, habits: Habits, fits: Floats | None = None
) -> Served:
    """Engines that read prompts and make tokens, each with its batch of requests always at work.

    `fits` is how many sequences the cache holds; None: what `room` says.
    """
    held = _held(engine, cuts, inputs, outputs, fits)
    here = np.maximum(held / cuts.data / cuts.stages, 1.0)  # a pass of a rank; stages work on a batch of their own each
    parts = decode_parts(engine, cuts, here, inputs + outputs / 2)
    step = total(parts)
    prompt = prompt_s(engine, cuts, inputs, habits.call_s)
    places = np.maximum(held / cuts.data, 1.0)  # of a rank
    first, stolen = (
        alike(habits, prompt, places, inputs, step)
        if habits.alike
        else flow(habits, prompt, places, inputs, outputs, step, step - parts["attention"] - parts["pass"], cuts.data)
    )
    parts["prompts of others"] = stolen / outputs
    token = step + parts["prompts of others"]
    waits = (cuts.batch - held) / held * token * outputs
    first = first + waits
    return Served(
        first_s=first,
        token_s=token,
        requests_per_s=cuts.batch / (first + token * np.maximum(outputs - 1, 1)),
        at_once=held,
        memory_bytes=memory(engine, cuts, inputs + outputs),
        parts=parts,
    )


def decoding(engine: Engine, cuts: ServingCuts, inputs: Floats, outputs: Floats, fits: Floats | None = None) -> Served:
    """Engines that only make tokens; `first_s` is what is added to the prompt's: nothing but a place's wait."""
    held = _held(engine, cuts, inputs, outputs, fits)
    parts = decode_parts(engine, cuts, np.maximum(held / cuts.data / cuts.stages, 1.0), inputs + outputs / 2)
    token = total(parts)
    waits = (cuts.batch - held) / held * token * outputs
    return Served(
        first_s=waits,
        token_s=token,
        requests_per_s=cuts.batch / (waits + token * np.maximum(outputs - 1, 1)),
        at_once=held,
        memory_bytes=memory(engine, cuts, inputs + outputs),
        parts=parts,
    )


def prompt_s(engine: Engine, cuts: ServingCuts, inputs: Floats, call_s: float) -> Prompt:
    """What reading a prompt of so many tokens takes; `call_s` is of the host, for a call."""
    inputs = np.broadcast_to(np.asarray(inputs, dtype=np.float64), cuts.tensor.shape)
    alone = total(prefill_parts(engine, cuts, np.ones_like(inputs), inputs))
    lone, some = alone.copy(), np.flatnonzero(cuts.data > 1)
    if len(some):
        lone[some] = total(prefill_parts(engine, cuts[some], np.ones(len(some)), inputs[some], 1.0 / cuts.data[some]))
    filled = np.maximum(CHUNK / inputs, 1.0)
    many = np.minimum(total(prefill_parts(engine, cuts, filled, inputs)) / filled, alone)
    return Prompt(lone=lone, alone=alone, many=many, host=np.full(len(cuts), calls(engine) * call_s))


def _held(engine: Engine, cuts: ServingCuts, inputs: Floats, outputs: Floats, fits: Floats | None) -> Floats:
    found = room(engine, cuts, inputs + outputs) if fits is None else fits
    out: Floats = np.minimum(cuts.batch, np.maximum(found, 1.0))
    return out
