"""Time to first token and time per token of engines that are kept busy.

Asked:  so many requests are always at work; how long does each wait for its first token, and for each one after?
Answer: passes are priced by `serving_time`; here they share an engine. Continuous batching (Orca, OSDI 2022): in the time that a
        request makes its tokens, every other request of its rank has its prompt read once, and that time is taken from all:
            token = step + steals x (batch - 1) x prompt / tokens
            first = door + passes x prompt + together x (batch - 1) x prompt + held x step
        Data ranks step together, so a prompt on one holds up the others: with r of them that counts sqrt(r) times (as if half of
        the waits were shared).
        Requests that don't fit the cache wait for a place (Little's law). Disaggregated (DistServe, OSDI 2024): decode engines
        only step; prompts queue at the prefill engines, whose pace bounds the rate.
Units:  seconds, requests a second. Arrays of one length, an entry a plan.
Limits: means, not tails. Habits of engines are published defaults and what public measurements agree on (docs/plan-serving.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving_memory import memory, room
from forebay.plan.serving_time import Engine, Ints, ServingCuts, decode_parts, prefill_parts, total

CHUNK = 8192  # prompt tokens that a pass reads at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What an engine and its clients do besides kernels."""

    door_s: float = 20e-3  # HTTP, tokenising, scheduling, until the first pass starts
    passes: float = 1.35  # a prompt's way: its own pass, and part of one that is under way when it comes
    together: float = 0.08  # share of the batch's prompts that stand before a new one (bursts at the start of a run)
    held: float = 1.0  # steps until the client sees a token: half of the step under way, and the stream interval
    steals: float = 1.0  # share of the reading of prompts that falls between a request's own tokens


HABITS: Mapping[str, Habits] = {
    "": Habits(),
    "vllm": Habits(),
    "trtllm": Habits(door_s=60e-3, passes=1.2, together=0.07, held=6.0),  # its recipes send tokens ten at a time
    "sglang": Habits(passes=1.2, together=0.14, held=15.0),  # its recipes ten to thirty
}
# SGLang reads all waiting prompts before it goes on: requests of one length then come and go together.
WAVES = Habits(door_s=40e-3, passes=1.5, together=0.5, steals=0.5, held=15.0)


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
    alone, many = prompt_s(engine, cuts, inputs)
    others = np.maximum(held / cuts.data - 1.0, 0.0)
    parts["prompts of others"] = habits.steals * others * many / outputs
    token = step + parts["prompts of others"]
    waits = (cuts.batch - held) / held * token * outputs
    ahead = habits.together * others * many * np.sqrt(cuts.data)
    first = habits.door_s + habits.passes * alone + ahead + habits.held * step + waits
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


def prompt_s(engine: Engine, cuts: ServingCuts, inputs: Floats) -> tuple[Floats, Floats]:
    """Seconds to read one prompt alone, and the seconds a prompt when passes are filled to CHUNK tokens."""
    inputs = np.broadcast_to(np.asarray(inputs, dtype=np.float64), cuts.tensor.shape)
    alone = total(prefill_parts(engine, cuts, np.ones_like(inputs), inputs))
    filled = np.maximum(CHUNK / inputs, 1.0)
    many = np.minimum(total(prefill_parts(engine, cuts, filled, inputs)) / filled, alone)
    return alone, many


def first_apart(
    habits: Habits, prompt: tuple[Floats, Floats], at_work: Floats, data: Ints, workers: Ints, rest_s: Floats, step_s: Floats
) -> Floats:
    """Time to first token where prompts are read apart, by workers of `data` ranks each, for `at_work` requests in all.

    Where reading is the bottleneck the requests pile up before it: the time of all prompts less what is spent on tokens.
    """
    alone, many = prompt
    mine = at_work / (data * workers)
    ahead = habits.together * np.maximum(mine - 1.0, 0.0) * many
    flows = habits.door_s + habits.passes * alone + ahead + habits.held * step_s
    out: Floats = np.maximum(flows, mine * many - rest_s)
    return out


def _held(engine: Engine, cuts: ServingCuts, inputs: Floats, outputs: Floats, fits: Floats | None) -> Floats:
    found = room(engine, cuts, inputs + outputs) if fits is None else fits
    out: Floats = np.minimum(cuts.batch, np.maximum(found, 1.0))
    return out
