"""Whether certify notices the faults that are planted in the fake chip.

Asked:  does the measure see a chip that is wrong in one way, and leave alone what isn't wrong?
Answer: for each fault, the operators of torch's database that it touches and a few that it doesn't are certified by certify's own
        workers, which plant the fault when they open the chip. `complaints` says what should have been seen and wasn't: an
        operator that is touched and has no verdict with a word of this kind's, a control that isn't strict.
        As a process under the fake chip's carrier:  python -m forebay.porting.certify.planted [--part 0/3] [FAULT ...]
        prints a line of JSON for each fault as it is done.
Limits: what a fault touches is told by names (ENTRIES for torch's inner ones). One format and one direction are tried, not all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from forebay.porting.certify.database import cases_of
from forebay.porting.certify.verdict import ORDER, Case, Verdict, Word

CONTROLS = ("erfc", "lerp")
PATIENCE_S = 12.0  # for one case: the slowest takes a second when it is alone
NOW = "forebay.porting.shim.chip.fakechip.faults.now"  # imported by each worker, it plants the fault

UNLIKE = (Word.BASIC, Word.NONDETERMINISTIC, Word.WRONG)
EXPECTED = {  # words by kind of fault; of the others, UNLIKE
    "host fallback": (Word.HOST_FALLBACK,),
    "nondeterminism": (Word.NONDETERMINISTIC, Word.WRONG),
    "crash": (Word.CRASH,),
    "hang": (Word.TIMEOUT,),
    "refused": (Word.ERROR,),
}

# The formats in which a fault must be seen, by its name or its kind, where that isn't float32. A gradient's is seen backward.
FORMATS = {
    "halves-add-up-in-halves": ("bfloat16",),
    "products-of-halves-add-up-in-halves": ("bfloat16",),
    "halves-have-float32-means": ("bfloat16",),
    "bfloat16-is-computed-on-the-host": ("bfloat16",),
    "bfloat16-is-refused": ("bfloat16",),
    "integers": ("float32", "int64"),
}

# Where torch's inner operators are heard of in its database.
ENTRIES = {
    "_softmax": ("softmax",),
    "_log_softmax": ("log_softmax",),
    "_softmax_backward_data": ("softmax",),
    "_log_softmax_backward_data": ("log_softmax",),
    "_index_put_impl_": ("index_put",),
    "__ilshift__": (),
    "__irshift__": (),
    "__lshift__": (),
    "__rshift__": (),
    "convolution": ("nn.functional.conv1d", "nn.functional.conv2d"),
    "convolution_backward": ("nn.functional.conv2d",),
    "copy_": ("bfloat16", "int"),
    "embedding": ("nn.functional.embedding",),
    "embedding_dense_backward": ("nn.functional.embedding",),
    "elu_backward": ("nn.functional.elu",),
    "gelu": ("nn.functional.gelu",),
    "gelu_backward": ("nn.functional.gelu",),
    "leaky_relu_backward": ("nn.functional.leaky_relu",),
    "max_pool2d_with_indices": ("nn.functional.max_pool2d",),
    "mse_loss_backward": ("nn.functional.mse_loss",),
    "native_batch_norm_backward": ("nn.functional.batch_norm",),
    "native_batch_norm": ("nn.functional.batch_norm", "native_batch_norm"),
    "native_dropout": ("nn.functional.dropout",),
    "native_group_norm": ("nn.functional.group_norm",),
    "native_layer_norm_backward": ("nn.functional.layer_norm",),
    "nll_loss_forward": ("nn.functional.nll_loss",),
    "nll_loss2d_forward": ("nn.functional.nll_loss",),
    "nll_loss_backward": ("nn.functional.nll_loss",),
    "nll_loss2d_backward": ("nn.functional.nll_loss",),
    "random_": ("randint",),
    "normal_": ("normal.in_place", "randn"),
    "uniform_": ("uniform",),
    "bernoulli_": ("bernoulli",),
    "reflection_pad1d": ("nn.functional.pad.reflect",),
    "reflection_pad2d": ("nn.functional.pad.reflect",),
    "replication_pad1d": ("nn.functional.pad.replicate",),
    "replication_pad2d": ("nn.functional.pad.replicate",),
    "sigmoid_backward": ("sigmoid",),
    "tanh_backward": ("tanh",),
    "threshold_backward": ("nn.functional.relu",),
    "upsample_bilinear2d": ("nn.functional.interpolate.bilinear",),
    "_adaptive_avg_pool2d": ("nn.functional.adaptive_avg_pool2d",),
    "_cdist_forward": ("cdist",),
    "glu": ("nn.functional.glu",),
    "index": ("__getitem__",),
    "pixel_shuffle": ("nn.functional.pixel_shuffle",),
    "grid_sampler_2d": ("nn.functional.grid_sample",),
    "hardswish_backward": ("nn.functional.hardswish",),
    "silu_backward": ("nn.functional.silu",),
    "unfold_backward": ("unfold",),
    "upsample_nearest2d": ("nn.functional.interpolate.nearest",),
    "upsample_linear1d": ("nn.functional.interpolate.linear",),
}


# By fault: where it is seen, when its operator is called by others.
ELSEWHERE = {
    "broadcast-gradients-arent-summed": ("add", "mul"),
    "transposed-convolutions-in-float16": ("conv_transpose1d", "conv_transpose2d"),
}


@dataclass(frozen=True)
class Seen:
    """What certify said of the fake chip with one fault. It isn't a certification: few operators, few formats."""

    fault: str
    kind: str
    touched: Mapping[str, tuple[str, ...]]  # the fault's operators: entries of the database
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def found_as(self) -> Word:
        """The worst word of this kind that it was given; the worst of all where it got none."""
        words = {one.word for one in _of(self, {name for names in self.touched.values() for name in names})}
        return max(words & set(EXPECTED.get(self.kind, UNLIKE)) or words or {Word.UNTESTED}, key=ORDER.index)

    @property
    def false_alarms(self) -> list[Verdict]:
        """What was said of operators that the fault doesn't touch."""
        controls = set(CONTROLS) - {one for entries in self.touched.values() for one in entries}
        return [one for one in _of(self, controls) if one.word is not Word.STRICT]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdicts": [one.to_json() for one in self.verdicts]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Seen:
        touched = {name: tuple(entries) for name, entries in body["touched"].items()}
        return cls(**{**body, "touched": touched, "verdicts": tuple(Verdict.from_json(one) for one in body["verdicts"])})


def complaints(seen: Seen) -> list[str]:
    """What a measure that is any good would have said otherwise. Nothing, when the fault was found where it is and only there."""
    said = [] if any(seen.touched.values()) else [f"{seen.fault}: the database has none of {', '.join(seen.touched)}"]
    for operator, entries in seen.touched.items():
        if entries and not _notices(seen, entries):
            said.append(f"{seen.fault}: {operator} is {', '.join(sorted({one.word.value for one in _of(seen, entries)}))}")
    for one in seen.false_alarms:
        said.append(f"{seen.fault}: {one.operator}, which it doesn't touch, is {one.word.value}: {one.detail}")
    return said


def _notices(seen: Seen, entries: Iterable[str]) -> bool:
    return any(one.word in EXPECTED.get(seen.kind, UNLIKE) for one in _of(seen, entries))


def _of(seen: Seen, entries: Iterable[str]) -> list[Verdict]:
    wanted = set(entries)
    return [one for one in seen.verdicts if one.operator in wanted]


def touched(operators: Sequence[str], database: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The entries of the database in which each of these operators is heard of."""
    found = {}
    for operator in operators:
        name = operator.rstrip("_") if not operator.startswith("_") else operator
        same = tuple(entry for entry, op in database.items() if entry.partition(".")[0] == name or op.aten_name == name)
        found[operator] = tuple(
            one for one in ENTRIES.get(operator, same[:3] or tuple(_layer(name, database))) if one in database
        )
    return found


def _layer(name: str, database: Mapping[str, Any]) -> list[str]:
    return [entry for entry in database if entry.rpartition(".")[2] == name]


def look(fault: Any, database: Mapping[str, Any]) -> Seen:
    """Certify what the fault touches and the controls, on the fake chip with this fault."""
    from forebay.porting.certify.crew import Hiring, Work, run
    from forebay.porting.shim.chip.fakechip.faults import VARIABLE

    touches = touched(ELSEWHERE.get(fault.name, fault.operators), database)
    cases: dict[str, list[Case]] = {}
    for operator, names in touches.items():
        for name in names:
            cases.setdefault(name, []).extend(shown_in(fault, operator, name, database[name]))
    works = [Work(name, tuple(dict.fromkeys(asked))) for name, asked in cases.items()]
    works += [Work(name, (_first(name, database[name]),)) for name in CONTROLS if name not in fault.operators]
    found: list[Verdict] = []
    began = time.monotonic()
    os.environ[VARIABLE] = fault.name
    try:
        with tempfile.TemporaryFile() as log:
            run(
                works,
                Hiring(entries=database, device="fakechip", imports=(NOW,), mode="full", fork=True, log=log),
                jobs=1,
                patience_s=PATIENCE_S,
                keep=found.extend,
            )
    finally:
        del os.environ[VARIABLE]
    return Seen(fault.name, fault.kind, touches, tuple(found), time.monotonic() - began)


def shown_in(fault: Any, operator: str, entry: str, op: Any) -> list[Case]:
    """The cases of an entry in which a fault of this operator must be seen."""
    back = fault.kind == "gradients" or "gradient" in fault.name or "backward" in operator
    direction = "backward" if back else "forward"
    formats = FORMATS.get(fault.name, FORMATS.get(fault.kind, ("float32",)))
    found = [one for one in cases_of(entry, op, formats) if one.direction == direction]
    return found or [_first(entry, op)]


def _first(entry: str, op: Any) -> Case:
    return cases_of(entry, op, ("float32", "int64"))[0]


def main(words: Sequence[str]) -> None:
    import torch  # first: it brings the fake chip

    from forebay.porting.certify.database import load
    from forebay.porting.shim.chip.fakechip.faults import FAULTS, named

    parser = argparse.ArgumentParser(prog="python -m forebay.porting.certify.planted")
    parser.add_argument("faults", nargs="*", help="(default: all)")
    parser.add_argument("--part", default="0/1", help="of the faults, such as 1/3: the second third (default: all)")
    asked = parser.parse_args(words)
    part, of = map(int, asked.part.split("/"))
    torch.set_num_threads(1)
    database = load()
    faults = list(named(",".join(asked.faults)) or FAULTS.values())
    for fault in faults[part::of]:
        print(json.dumps(look(fault, database).to_json()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
