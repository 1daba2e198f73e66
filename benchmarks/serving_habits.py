"""How measured runs were set, and the two figures of serving that were chosen rather than looked up.

`of` says the options of a run, whose scripts are public:
- "drawn": SemiAnalysisAI/InferenceX, benchmarks/single_node: TensorRT-LLM's max_num_tokens grows with the prompt, and its
  attention-DP waits up to 60 steps until all ranks have a prompt (enable_balance, timeout_iters); SGLang reads 16,384 prompt
  tokens a pass, and on Blackwell looks for new requests each 10 steps, or 30 for 16 requests and more (scheduler-recv-interval;
  GLM-5's scripts don't). Where prompts are read apart SGLang sends 30 tokens at a time (srt-slurm-recipes, stream-interval).
  TensorRT-LLM's recipes of runs apart give a maker so many places (max_batch_size, the "batch32" of a recipe's name), often
  fewer than its share of the requests sent: serving_batches.csv has them, from InferenceX's configs/*nvidia*master.yaml at
  843c6254 and every third version before (Apache-2.0): image, conc-list, workers, degrees and CONFIG_FILE, of makers without
  attention-DP and without speculative decoding; of several recipes the one with most places.
- else: ai-dynamo/aiconfigurator, generator/rule_plugin/benchmark: passes hold the batch, a prompt and 1,500 tokens. "one length"
  has SGLang's own order, prompts aside; "thousands" is of later releases, whose rule is enable_mixed_chunk.

`refitted` chooses the door and the host's time a call anew for each model, by the *other* models' runs: how much does it flatter
to have chosen them with all runs in sight? Engines share both; vLLM's compiled layers keep their share of the call.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from serving_rows import Row

from forebay.plan.serving.wait import HABITS, Habits

DOORS_S = (5e-3, 10e-3, 15e-3, 20e-3, 30e-3)
SHARES = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5)
Array = NDArray[np.float64]


def of(row: Row) -> Habits:
    habits = HABITS[row.engine]
    if row.harness != "drawn":
        aside = habits.aside and row.harness == "one length"
        tokens = 16384.0 if aside else row.inputs + 1500 + row.at_work / row.plan.data
        return replace(habits, pass_tokens=tokens, aside=aside, alike=True)
    if row.engine == "trtllm":
        tokens = max(8192.0, row.inputs / 0.9 + row.at_work + 64)
        return replace(habits, pass_tokens=tokens, gather_steps=60.0 if row.plan.data > 1 else 0.0)
    if row.engine == "sglang":
        slow = 30.0 if row.at_work >= 16 else 10.0
        looked = row.chip.startswith(("b", "gb")) and not row.model.name.startswith("glm")
        return replace(habits, pass_tokens=16384.0, poll_steps=slow if looked else 1.0, stream_steps=30.0)
    return habits


def places(row: Row) -> float:
    """Sequences that a maker of the run takes at most, where its recipe is known; else as many as there are."""
    if row.harness != "drawn" or row.engine != "trtllm" or row.prefill is None or row.plan.data > 1:
        return float("inf")
    nominal = (str(round(tokens / 0.9)) for tokens in (row.inputs, row.outputs))
    cut = (str(row.at_work), str(row.plan.workers), str(row.plan.tensor))
    key = (row.model.name, row.chip, row.precision, row.release, *nominal, *cut)
    return recipes().get(key, float("inf"))


@cache
def recipes() -> dict[tuple[str, ...], float]:
    with (Path(__file__).parent / "serving_batches.csv").open(encoding="utf-8") as file:
        return {tuple(line[:-1]): float(line[-1]) for line in list(csv.reader(file))[1:]}


def refitted(rows: Sequence[Row], first: Callable[[float, float], Array], true: Array) -> Array:
    """Seconds to first token of each row, with figures that its model had no part in. `first` prices all rows with a door and the
    call's time as a share of what it is."""
    every = np.array([first(door, share) for door, share in product(DOORS_S, SHARES)])
    off = np.abs(every / true - 1)
    models = np.array([row.model.name for row in rows])
    known = np.array([row.described for row in rows])
    out = np.zeros(len(rows))
    for model in sorted(set(models)):
        mine = models == model
        best = int(np.argmin(np.median(off[:, ~mine & known], axis=1)))
        out[mine] = every[best, mine]
    return out
