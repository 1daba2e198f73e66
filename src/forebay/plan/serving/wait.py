"""How long does a request wait for its first token, where others are at work?

Asked:  a step, the passes that read prompts, and so many places that are always taken; when does the first token come?
Answer: first = door + look + queue + own pass + step, and the start of the run.
        - look: an engine takes new requests between steps, some only every so many, some only when all data ranks have one;
        - queue: a closed loop's (`queued`), by mean values. Each place makes tokens, comes back, and is served in turn;
        - own pass: with the prompts that came during the last such pass. It takes at least what the host needs for its calls;
        - start: a measured run starts with all places at once, and that is one of ROUNDS requests of a place.
        An engine that reads prompts within steps (vLLM, TensorRT-LLM) reads the weights once for both; others wait ("aside").
        Requests of exactly one length never leave each other: `alike`.
Units:  seconds, steps, prompts. Arrays of one length, an entry a plan.
Limits: means. No figure here was fitted to single runs: options are the published ones. How long the door and a call of the host
        take was chosen with public runs in sight; chosen anew without a model's runs, both come out the same
        (docs/plan-serving.md). Tokenisers and streams that can't keep up with an engine aren't modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forebay.plan.kernels.grid import Floats
from forebay.plan.serving.time import Ints

ROUNDS = 10  # requests of a place in a run (InferenceX, run_benchmark_serving: num-prompts is ten times max-concurrency)
ITERATIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How an engine is set: options by their published defaults, and what its host and its door take."""

    pass_tokens: float = 8192.0  # prompt tokens that a pass reads at most
    aside: bool = False  # prompts are read in passes of their own while tokens wait, else both share a pass
    poll_steps: float = 1.0  # steps between looks for new requests
    gather_steps: float = 0.0  # with data ranks: steps that prompts wait at most until every rank has one
    stream_steps: float = 1.0  # steps between sendings of tokens, where prompts are read apart
    alike: bool = False  # all requests have exactly one length
    door_s: float = 15e-3  # HTTP and tokenising, and the answer's way back
    call_s: float = 10e-6  # of the host, for a call outside of a CUDA graph
    hand_s: float = 0.0  # where prompts are read apart: from reader to maker, besides the cache's way and a step


# vLLM's makers fetch a cache once the router has told them, between steps, block by block, and are told between steps that it is
# there: 263 ms from the reader's token to the client's with blocks as they come (16 tokens), of which 29 for the bytes and 58 for
# a token that is made anew, which is the step counted here (vllm-project/vllm RFC 50913 and PR 51919: eight L20, Qwen3 32B).
HANDED_S = 0.263 - 0.029 - 0.058

# Tokens of a pass are the defaults on cards of 80 GB and more: vLLM's max_num_batched_tokens, SGLang's chunked_prefill_size,
# TensorRT-LLM's max_num_tokens. vLLM compiles its layers (torch.compile); the others call
# their operations one by one from Python.
HABITS: Mapping[str, Habits] = {
    "": Habits(),
    "vllm": Habits(hand_s=HANDED_S),
    "trtllm": Habits(call_s=35e-6),
    "sglang": Habits(call_s=35e-6, aside=True),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """Seconds to read prompts."""

    lone: Floats  # one, on one rank, while the other ranks read none
    alone: Floats  # one on every rank
    many: Floats  # a prompt of a rank, when passes are filled to CHUNK tokens on all ranks
    host: Floats  # at least, of any pass


def queued(places: Floats, served: Floats, rest: Floats) -> Floats:
    """Seconds that a request waits before a server of even work, in a closed loop of so many places.

    A place comes back `rest` seconds after it was served in `served`. The mean-value argument (Reiser and Lavenberg, JACM 27(2),
    1980) with Schweitzer's share (n - 1) / n of the others and half of the work under way left (even work):
        wait = busy x (served / 2 + wait),  busy = (n - 1) x served / (rest + served + wait)
    is a quadratic; its root goes to (n - 1) x served - rest where the server is the bottleneck.
    """
    others = (places - 1.0) * served
    slack = rest + served - others
    out: Floats = (np.sqrt(slack * slack + 2.0 * others * served) - slack) / 2.0
    return out


def apart(
    habits: Habits, prompt: Prompt, inputs: Floats, at_work: Floats, data: Ints, workers: Ints, rest_s: Floats, step_s: Floats
) -> Floats:
    """Time to first token where prompts are read apart, by workers of `data` ranks each, for `at_work` requests in all."""
    places = np.maximum(at_work / (data * workers), 1.0)
    together = np.clip(habits.pass_tokens / inputs, 1.0, places)
    own, read = _pass(prompt, places, data, together, rest_s, np.inf, 1.0)
    queue = queued(np.maximum(places * data / read, 1.0), own, rest_s)
    sent = np.maximum(habits.stream_steps / 2.0, 1.0) * step_s
    share = np.maximum(prompt.many, prompt.host / together)
    out: Floats = habits.door_s + queue + own + habits.hand_s + _start(places, share, together) + sent
    return out


def flow(
    habits: Habits,
    prompt: Prompt,
    places: Floats,
    inputs: Floats,
    outputs: Floats,
    step: Floats,
    both: Floats,
    data: Ints,
) -> tuple[Floats, Floats]:
    """Of requests of differing length, which come one by one: seconds to first token, and those that others' prompts take.

    `both` is what of a step a pass saves that reads prompts too: weights are read once, all-reduces are one.
    """
    together = np.clip(habits.pass_tokens / inputs, 1.0, places)
    saved = np.zeros_like(step) if habits.aside else both
    least = data if habits.gather_steps > 0 else 1.0
    own, read = _pass(prompt, places, data, together, outputs * step, saved, least)
    stolen = np.maximum(places * data - 1.0, 0.0) / read * np.maximum(own - saved, 0.0)
    rate = (places - 1.0) / (outputs + stolen / step)  # prompts of others, a step
    shut, shutters = _gathered(habits, rate, data)
    looks = np.where(habits.poll_steps > 1, habits.poll_steps / 2.0, 0.5)
    # The engine itself reads: the longer it does, the longer the others' tokens take, and it never is a bottleneck.
    queue = queued(np.maximum(places * data / read, 1.0), own, outputs * step + stolen)
    mixed, pieces = 0.0 if habits.aside else 1.0, np.maximum(inputs / habits.pass_tokens, 1.0)
    first = habits.door_s + (looks + shut + 1.0) * step + queue + own + mixed * (step - saved) * pieces + shutters * prompt.many
    share = np.maximum(prompt.many, prompt.host / together) + mixed * (step - saved) / 2.0 / together
    return first + _start(places, share, together), stolen


def _pass(
    prompt: Prompt, places: Floats, data: Ints, together: Floats, rest: Floats, saved: Any, least: Any
) -> tuple[Floats, Floats]:
    """Seconds of a pass that reads prompts, and how many it reads over all ranks: one, and those that came in the last such pass.

    Found in a few rounds: a longer pass gathers more. A turn of the loop is `rest`, the own pass, and those of others, less what
    of each is `saved`: all of it where others make their tokens elsewhere. With `least` > 1 all ranks wait for each other.
    """
    ranks = data.astype(np.float64)
    own, read = np.maximum(prompt.lone, prompt.host), np.ones_like(places) * least
    for _ in range(ITERATIONS):
        cycle = rest + (places * ranks - 1.0) / read * np.maximum(own - saved, 0.0) + own
        read = np.clip(1.0 + (places * ranks - 1.0) * own / cycle, least, together * ranks)
        others = np.where(ranks > 1, np.minimum((read - 1.0) / np.maximum(ranks - 1.0, 1.0), 1.0), 0.0)
        more = np.maximum(read / ranks - 1.0, 0.0) * prompt.many
        own = np.maximum(prompt.lone + (prompt.alone - prompt.lone) * others + more, prompt.host)
    return own, read


def alike(habits: Habits, prompt: Prompt, places: Floats, inputs: Floats, step: Floats) -> tuple[Floats, Floats]:
    """Of requests of exactly one length: those that start together end together, and ask again together.

    Where prompts are read aside, all places do so as one wave. Else a convoy goes round: as many passes' prompts stand before a
    request as ended while the first of them came through the door.
    """
    together = np.clip(habits.pass_tokens / inputs, 1.0, places)
    if habits.aside:
        first = habits.door_s + prompt.many * (places + together) / 2.0 + np.maximum(prompt.alone - prompt.many, 0.0) + step
        return first, prompt.many * (places - together) / 2.0
    each = step + np.maximum(together * prompt.many, np.maximum(prompt.host, prompt.alone))
    convoy = np.minimum(1.0 + habits.door_s / 2.0 / step, places / together) * each  # in, not out again
    start = _start(places, np.maximum(prompt.many, prompt.host / together) + step / 2.0 / together, together)
    return habits.door_s + convoy + step + start, (places - 1.0) * prompt.many


def _start(places: Floats, share: Floats, together: Floats) -> Floats:
    """What the start of a run adds to the mean: all prompts stand before the engine at once, and leave it pass by pass."""
    out: Floats = ((places + together) / 2.0 - 1.0) * share / ROUNDS
    return out


def _gathered(habits: Habits, rate: Floats, data: Ints) -> tuple[Floats, Floats]:
    """Steps that a prompt waits until every data rank has one, and how many of its own rank gather in the meantime.

    At most `gather_steps`. Each rank gets `rate` prompts a step, by chance: all have one after k steps with the probability
    (1 - exp(-rate k)) ^ (ranks - 1), counted from the first. Those that come later wait for half as long.
    """
    if habits.gather_steps <= 0:
        polled = np.where(habits.poll_steps > 1, habits.poll_steps, 0.0)
        return np.zeros_like(rate), rate * polled
    at = habits.gather_steps * (np.arange(32)[:, None] + 0.5) / 32
    wait = np.mean(1.0 - (1.0 - np.exp(-rate * at)) ** (data - 1), axis=0) * habits.gather_steps
    later = rate * data * wait
    return wait * (1.0 + later / 2.0) / (1.0 + later), rate * wait
