"""The plans beside a plan: one degree changed, the rest only where it must be.

Asked:  what is this plan with twice the tensor degree?
Answer: the data degree takes up the cards (where it has none to give, context, stages or tensor halve); a micro-batch, chunks or
        experts that no longer divide become the largest that do and are no larger than before. A neighbour is half, twice, and
        the next possible value on either side.
Limits: the rules of `space`; beyond them only tensor degrees wider than an island, which show what the island is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from forebay.errors import BadInput
from forebay.plan.model import Model, Workload
from forebay.plan.orders import BLOCKS, group
from forebay.plan.plan import INNER, OFFLOAD, RECOMPUTE, SCHEDULES, Plan
from forebay.plan.space import MICRO, PIECE, divisors

DEGREES = ("tensor", "stages", "context", "expert", "micro_batch", "chunks", "recompute", "zero", "schedule", "offload", "inner")
WORDS: Mapping[str, tuple[str, ...]] = {
    "recompute": RECOMPUTE,
    "zero": ("0", "1", "2", "3"),
    "schedule": SCHEDULES,
    "offload": OFFLOAD,
    "inner": INNER,
}
NUMBERS = ("tensor", "stages", "context", "expert", "micro_batch", "chunks")


def neighbours(work: Workload, plan: Plan, degree: str) -> list[tuple[str, Plan]]:
    """The values beside this one, each with its plan."""
    if degree not in NUMBERS:
        return [(one, found) for one in WORDS[degree] if (found := _with(work, plan, degree, one)) is not None and found != plan]
    here = len(plan.stages) if degree == "stages" else int(getattr(plan, degree))
    could = {n: found for n in _values(work, plan, degree) if n != here and (found := _with(work, plan, degree, str(n)))}
    near = {here * 2, here // 2 if here % 2 == 0 else 0}
    near |= {max((n for n in could if n < here), default=0), min((n for n in could if n > here), default=0)}
    return [(str(n), could[n]) for n in sorted(near) if n in could]


def neighbour(work: Workload, plan: Plan, degree: str, value: str) -> Plan:
    """The plan with this value. Raises BadInput where there is none, with what could be."""
    found = _with(work, plan, degree, value)
    if found is None or found == plan:
        here = len(plan.stages) if degree == "stages" else getattr(plan, degree)
        could = ", ".join(one for one, _ in neighbours(work, plan, degree))
        why = "That is the plan itself." if found is not None else "No plan beside this one has that degree."
        raise BadInput(why, asked=f"{degree}={value}", found=f"{degree} {here}", hint=could or "another degree")
    return found


def changed(plan: Plan, other: Plan) -> list[str]:
    """What differs, in words: "data 8"."""
    found = [] if plan.data == other.data else [f"data {other.data}"]
    for one in fields(Plan):
        a, b = getattr(plan, one.name), getattr(other, one.name)
        if a != b and one.name not in ("replicas", "shards", "sequence_parallel", "ends", "layers"):
            shown = len(b) if one.name == "stages" else b[0] if isinstance(b, tuple) else b
            found.append(f"{one.name} {shown}")
    return found


def _values(work: Workload, plan: Plan, degree: str) -> list[int]:
    m = work.model
    if degree == "tensor":
        return divisors(m.heads)
    if degree == "stages":
        return divisors(plan.cards // (plan.tensor * plan.context))
    if degree == "context":
        return [1 << i for i in range(20)]
    if degree == "expert":
        return divisors(m.experts.count) if m.experts else []
    if degree == "micro_batch":
        return divisors(work.sequences // plan.data)
    return list(range(1, (m.layers + m.predicted) // len(plan.stages) + 2))


def _with(work: Workload, plan: Plan, degree: str, value: str) -> Plan | None:
    """The plan with one degree changed. None: there is no such plan."""
    if degree == "recompute":
        return replace(plan, recompute=(value,)) if value in RECOMPUTE else None
    if degree == "offload":
        return replace(plan, offload=value) if value in OFFLOAD else None
    if degree == "inner":
        dense = len(plan.stages) > 1 < plan.data and work.model.experts is None and plan.replicas == 1
        return replace(plan, inner=value) if value in INNER and dense else None
    if degree == "schedule":
        return _scheduled(work, plan, value) if value in SCHEDULES and len(plan.stages) > 1 else None
    if not value.isdigit():
        return None
    number = int(value)
    if degree == "zero":
        cut = number < 2 or plan.data * plan.context > 1
        return replace(plan, zero=number, replicas=1, shards=plan.data) if number <= 3 and cut else None
    if number < 1:
        return None
    if degree == "chunks":
        name = "1f1b" if number == 1 else plan.schedule if plan.chunks > 1 else "interleaved"
        found = replace(plan, chunks=number, schedule=name)
        return _piped(work, found) if len(plan.stages) > 1 else None
    return _fitted(work, plan, degree, number)


def _fitted(work: Workload, plan: Plan, degree: str, number: int) -> Plan | None:
    """The data degree gives or takes the cards; where it has none to give, context does, then stages, then tensor."""
    could = {
        name: [number] if degree == name else [here >> i for i in range(here.bit_length()) if here % (1 << i) == 0]
        for name, here in (("tensor", plan.tensor), ("stages", len(plan.stages)), ("context", plan.context))
    }
    tried = (
        _cut(work, plan, degree, number, t, p, c) for t in could["tensor"] for p in could["stages"] for c in could["context"]
    )
    return next((one for one in tried if one is not None), None)


def _cut(work: Workload, plan: Plan, degree: str, number: int, tensor: int, stages: int, context: int) -> Plan | None:
    m = work.model
    group_ = tensor * context * stages
    if m.heads % tensor or (m.kv_heads % tensor and tensor % m.kv_heads) or stages > m.layers + 2 or plan.cards % group_:
        return None
    if work.tokens % (2 * context) or (context > 1 and work.tokens // context < PIECE):
        return None
    data = plan.cards // group_
    if work.sequences % data:
        return None
    share = work.sequences // data
    micro = number if degree == "micro_batch" else max(n for n in divisors(share) if n <= plan.micro_batch)
    if share % micro or micro > max(MICRO, plan.micro_batch):
        return None
    shards = plan.shards if plan.replicas > 1 and data % plan.shards == 0 else data
    found = replace(
        plan,
        tensor=tensor,
        context=context,
        stages=(plan.stages[0],) * stages,
        replicas=data // shards,
        shards=shards,
        micro_batch=micro,
        sequence_parallel=tensor > 1 and (plan.sequence_parallel or plan.tensor == 1),
        context_kind="ring" if m.heads % (tensor * context) else plan.context_kind,
        zero=1 if plan.zero == 3 and stages > 1 == len(plan.stages) else plan.zero,
    )
    laid = _experts(m, found, plan, number if degree == "expert" else 0)
    if laid is None:
        return None
    return _piped(work, laid) if stages > 1 else replace(laid, chunks=1, schedule="1f1b", ends=False)


def _experts(m: Model, found: Plan, plan: Plan, asked: int) -> Plan | None:
    if m.experts is None:
        return None if asked else found
    ranks = found.tensor * found.context * found.data
    inner = found.tensor if plan.expert_tensor == plan.tensor > 1 else plan.expert_tensor
    inner = inner if m.experts.width % inner == 0 and ranks % inner == 0 else 1
    could = [n for n in divisors(m.experts.count) if ranks % (n * inner) == 0 and n <= (asked or plan.expert)]
    if not could or (asked and could[-1] != asked):
        return None
    return replace(found, expert=could[-1], expert_tensor=inner)


def _scheduled(work: Workload, plan: Plan, name: str) -> Plan | None:
    chunks = 2 if name in BLOCKS else 1
    if name == "interleaved":
        chunks = plan.chunks if plan.chunks > 1 else 2
    return _piped(work, replace(plan, schedule=name, chunks=chunks), exact=name)


def _piped(work: Workload, plan: Plan, exact: str = "") -> Plan | None:
    """With the most chunks, no more than said, that the layers and the micro-batches allow."""
    stages, layers = len(plan.stages), work.model.layers + work.model.predicted
    rounds = plan.micro_batches(work.sequences)
    for chunks, name in _pieces(plan):
        if name == "interleaved" and (chunks < 2 or not group(stages, rounds)):
            continue
        even, ends = layers % (stages * chunks) == 0, (layers + 2) % (stages * chunks) == 0
        if (even or ends or (chunks == 1 and stages <= layers)) and exact in ("", name):
            return replace(plan, chunks=chunks, schedule=name, ends=ends and not even)
    return None


def _pieces(plan: Plan) -> Iterator[tuple[int, str]]:
    if plan.schedule == "interleaved":
        yield from ((n, "interleaved") for n in range(plan.chunks, 1, -1))
    else:
        yield plan.chunks, plan.schedule
    yield 1, "1f1b"
