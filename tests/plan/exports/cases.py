"""Random workloads and plans, and what two plans that mean the same have in common."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from forebay.plan.export.pieces import stage_layers
from forebay.plan.model import Experts, Latent, Model, Window, Workload
from forebay.plan.plan import Plan

NAMES = st.sampled_from(["llama3-8b", "ours: 'a' \"b\" # no", "模型-72b", 'x"""\\n', "1e3", "null", "a\tb"])
POWERS = st.sampled_from([1, 2, 4, 8])
SMALL = st.sampled_from([1, 2])
STAGES = st.sampled_from([1, 1, 2, 3, 4, 8])


@st.composite
def models(draw, layers: int, mixture: bool):
    heads = draw(st.sampled_from([8, 16, 64]))
    experts = None
    if mixture:
        dense = draw(st.integers(0, min(3, layers - 1)))
        experts = Experts(
            count=draw(st.sampled_from([8, 64])),
            chosen=draw(st.integers(1, 8)),
            width=draw(st.sampled_from([1408, 2048])),
            shared_width=draw(st.sampled_from([0, 2048])),
            dense_layers=dense,
        )
    latent = None
    if draw(st.booleans()):
        latent = Latent(query_rank=draw(st.sampled_from([0, 1536])), kv_rank=512, plain=128, rotary=64, value=128)
    return Model(
        name=draw(NAMES),
        layers=layers,
        width=draw(st.sampled_from([1024, 4096, 8192])),
        heads=heads,
        kv_heads=heads if latent else draw(st.sampled_from([heads, heads // 8, 4])),
        mlp_width=0 if experts and not experts.dense_layers else draw(st.sampled_from([11008, 28672])),
        vocabulary=draw(st.sampled_from([50257, 128256])),
        gated_mlp=draw(st.booleans()),
        tied_embeddings=draw(st.booleans()),
        head_width=0 if latent else draw(st.sampled_from([0, 128, 256])),
        positions=draw(st.sampled_from([0, 8192])),
        latent=latent,
        experts=experts,
        window=draw(st.none() | st.builds(Window, tokens=st.sampled_from([512, 4096]), full_every=st.sampled_from([0, 4]))),
        predicted=draw(st.sampled_from([0, 1])),
    )


@st.composite
def jobs(
    draw,
    *,
    schedules=("1f1b", "interleaved"),
    zero=(0, 1, 2, 3),
    kinds=("ring", "ulysses"),
    recompute=("none", "selective", "full"),
    uneven_recompute=False,
    formats=("bf16", "fp16", "fp32", "fp8", "mxfp8", "fp4"),
    offload=("none", "optimizer"),
    uneven=True,
    mixed=True,
    context=POWERS,
    tensor=POWERS,
    stages=STAGES,
    expert_tensor=SMALL,
):
    """(workload, plan): each valid, each said by the target that these words are for."""
    n_stages = draw(stages)
    schedule = draw(st.sampled_from(schedules)) if n_stages > 1 else "1f1b"
    chunks = 1 if schedule in ("1f1b", "zb-1p") else 2 if schedule in ("zb-v",) else draw(st.integers(2, 4))
    layers = draw(st.integers(n_stages * chunks + chunks, 100))
    cut = ()
    if uneven and draw(st.booleans()):
        weights = [draw(st.integers(1, 9)) for _ in range(n_stages)]
        cut = [w * layers // sum(weights) for w in weights]
        cut[-1] += layers - sum(cut)
    chips = ["h100-sxm"] * n_stages
    if mixed and draw(st.booleans()):
        chips = sorted(draw(st.sampled_from(["h100-sxm", "mi300x", "ascend-910b"])) for _ in range(n_stages))
    a, c = draw(tensor), draw(context)
    replicas, shards = draw(SMALL), draw(POWERS)
    mixture = draw(st.booleans())
    expert = draw(st.sampled_from([n for n in (1, 2, 4, 8) if (a * c * replicas * shards) % n == 0])) if mixture else 1
    inside = draw(expert_tensor) if (a * c * replicas * shards) % (2 * expert) == 0 and mixture else 1
    micro = draw(SMALL)
    plan = Plan(
        replicas=replicas,
        shards=shards,
        tensor=a,
        stages=tuple(chips),
        context=c,
        expert=expert,
        expert_tensor=inside,
        layers=tuple(cut),
        ends=draw(st.booleans()) if uneven else False,
        chunks=chunks,
        schedule=schedule,
        micro_batch=micro,
        zero=draw(st.sampled_from(zero)),
        sequence_parallel=draw(st.booleans()),
        context_kind=draw(st.sampled_from(kinds)),
        recompute=tuple(draw(st.sampled_from(recompute)) for _ in range(n_stages if uneven_recompute else 1)),
        offload=draw(st.sampled_from(offload)),
    )
    return Workload(
        model=draw(models(layers, mixture)),
        sequences=replicas
        * shards
        * micro
        * draw(st.sampled_from([1, 3, 8, 16]))
        * (n_stages if schedule == "interleaved" else 1),
        tokens=draw(st.sampled_from([1024, 8192])),
        number_format=draw(st.sampled_from(formats)),
    ), plan


def same(plan: Plan, work: Workload, *, chips: bool = False) -> Plan:
    """One plan for all that mean the same: layers are told stage by stage, what has no effect is as it is by default."""
    one = len(plan.stages) == 1
    return uncut(
        replace(
            plan,
            layers=stage_layers(plan, work.model.layers, work.model.predicted),
            ends=False,
            stages=plan.stages if chips else ("any",) * len(plan.stages),
            schedule="1f1b" if one else plan.schedule,
            chunks=1 if one else plan.chunks,
            sequence_parallel=plan.sequence_parallel or plan.tensor == 1,
            context_kind=plan.context_kind if plan.context > 1 else "ring",
            recompute=plan.recompute[:1] if len(set(plan.recompute)) == 1 else plan.recompute,
        )
    )


def uncut(plan: Plan) -> Plan:
    """One stage of ZeRO for all that cut nothing."""
    zero = plan.zero if plan.shards * plan.context > 1 else 0
    return replace(plan, zero=zero, replicas=plan.replicas if zero else plan.data, shards=plan.shards if zero else 1)
