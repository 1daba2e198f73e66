"""The space of plans against plain loops, and what each of its plans keeps to."""

from dataclasses import replace
from itertools import product

import pytest

from forebay.plan.abilities import ABILITIES, abilities
from forebay.plan.export import export
from forebay.plan.framework import FRAMEWORKS, framework
from forebay.plan.model import Experts, Model, Workload
from forebay.plan.orders import group
from forebay.plan.plan import SCHEDULES
from forebay.plan.pool_read import pool
from forebay.plan.presets import preset
from forebay.plan.space import space
from forebay.plan.wishes import Wishes

DENSE = Model(name="dense", layers=6, width=512, heads=4, kv_heads=2, mlp_width=1024, vocabulary=1000)
MIXED = Model(
    name="mixed",
    layers=4,
    width=512,
    heads=4,
    kv_heads=4,
    mlp_width=0,
    vocabulary=1000,
    experts=Experts(count=4, chosen=2, width=256),
)
MEGATRON = framework("megatron")
MEGATRON_CAN = abilities("megatron")


def looped(work, cards, can=MEGATRON_CAN):
    """Every plan by trying every number for every degree. The software has the schedules of Megatron-LM."""
    m, n, found = work.model, cards.count, set()
    up_to = range(1, n + 1)
    for tensor, context, stages, data in product(up_to, up_to, up_to, up_to):
        if tensor * context * stages * data != n or tensor > cards.island or m.heads % tensor:
            continue
        if m.kv_heads % tensor and tensor % m.kv_heads:
            continue
        if context & (context - 1) or (context > 1 and (work.tokens // context < 2048 or work.tokens % (2 * context))):
            continue
        if work.sequences % data or stages > m.layers + 2:
            continue
        above = {name for name, n in (("tensor", tensor), ("context", context), ("stages", stages)) if n > 1}
        if above & can.lacks or any(pair <= above for pair in can.apart):
            continue
        pairs = [(1, 1)]
        if m.experts and "expert" not in can.lacks:
            pairs = [
                (e, i)
                for e in range(1, m.experts.count + 1)
                for i in ({1} if "expert_tensor" in can.lacks else {1, tensor})
                if m.experts.count % e == 0 and (tensor * context * data) % (e * i) == 0 and m.experts.width % i == 0
            ]
        for (expert, inner), micro in product(pairs, range(1, 17)):
            if (work.sequences // data) % micro:
                continue
            rounds = work.sequences // data // micro
            pipes = [(0, 1, False)] if stages == 1 else []
            for chunks in range(1, m.layers + 2) if stages > 1 else ():
                even, ended = m.layers % (stages * chunks) == 0, (m.layers + 2) % (stages * chunks) == 0
                if chunks == 1 and (even or ended or (stages <= m.layers and "uneven" not in can.lacks)):
                    pipes.append((0, 1, ended and not even))
                if (
                    chunks > 1
                    and not can.lacks & {"uneven"}
                    and group(stages, rounds)
                    and (even or ended)
                    and chunks <= m.layers // stages + 1
                ):
                    pipes.append((1, chunks, ended and not even))
            near, have, zeros = cards.island // (tensor * context), can.zero if stages == 1 else can.piped, []
            copies = data > 1 and inner > 1 and frozenset({"copies", "expert_tensor"}) in can.apart
            if 0 in have and 1 not in have and context == 1 and not copies:
                zeros.append((0, data))
            if 1 in have:
                zeros.append((1, data))
            if 2 in have and data * context > 1:
                zeros.append((2, data))
            if 3 in have and data * context > 1 and not (tensor > 1 and frozenset({"tensor", "zero 3"}) in can.apart):
                zeros.append((3, data))
                alone = context > 1 and frozenset({"hybrid", "context"}) in can.apart
                if 1 <= near < data and data % near == 0 and near * context > 1 and not alone:
                    zeros.append((3, near))
            if m.experts and expert == 1 and tensor > 1 and frozenset({"tensor", "experts at home"}) in can.apart:
                continue
            rings = [] if context > 1 and "ring" in can.lacks else [False]
            if context > 1 and m.heads % (tensor * context) == 0 and "ulysses" not in can.lacks:
                rings.append(True)
            differs = stages > 1 and data > 1 and tensor * context * stages <= cards.island < n and not m.experts
            orders = [False, True] if differs and "inner" not in can.lacks else [False]
            for (kind, chunks, ended), (zero, shards), ulysses, nearer in product(pipes, zeros, rings, orders):
                if nearer and shards < data:
                    continue
                if shards < data and tensor * context * shards % (expert * inner):
                    continue
                degrees = (data // shards, shards, tensor, stages, context, expert, inner, chunks, kind, micro, zero)
                found.add((*degrees, ulysses, ended, nearer))
    return found


def rows(cuts):
    names = ("replicas", "shards", "tensor", "stages", "context", "expert", "expert_tensor", "chunks", "schedule", "micro_batch")
    names += ("zero", "ulysses", "ends", "stages_inner")
    return [tuple(getattr(cuts, name)[i].item() for name in names) for i in range(len(cuts))]


@pytest.mark.parametrize("model", [DENSE, MIXED], ids=lambda m: m.name)
@pytest.mark.parametrize("count, sequences, tokens", [(1, 4, 2048), (8, 16, 2048), (12, 12, 4096), (16, 32, 8192)])
@pytest.mark.parametrize("name", ABILITIES)
def test_the_space_is_what_plain_loops_find(model, count, sequences, tokens, name):
    work, cards = Workload(model=model, sequences=sequences, tokens=tokens), pool(f"h100-sxm:{count}").cards[0]
    software = replace(framework(name), schedules=("1f1b",) if name == "deepspeed" else MEGATRON.schedules)
    found = rows(space(work, cards, Wishes(), software))
    assert len(found) == len(set(found))
    assert set(found) == looped(work, cards, abilities(name))


def test_zero_goes_with_a_pipeline_where_the_software_has_it():
    work, cards = Workload(model=DENSE, sequences=32, tokens=2048), pool("h100-sxm:16").cards[0]
    piped = {}
    for name in ABILITIES:
        cut = space(work, cards, Wishes(), framework(name))
        piped[name] = set(cut.zero[(cut.stages > 1) & (cut.data > 1)].tolist())
    assert piped["megatron"] == piped["deepspeed"] == {1} and piped["torchtitan"] == {0, 2, 3} and piped["fsdp"] == set()
    titan = space(work, cards, Wishes(), framework("torchtitan"))
    assert (titan.replicas[titan.zero == 3] > 1).any() and not (titan.zero == 1).any()


@pytest.mark.parametrize("model", [DENSE, MIXED], ids=lambda m: m.name)
@pytest.mark.parametrize("name", ["megatron", "torchtitan", "deepspeed", "flagscale"])
def test_each_plan_of_a_software_can_be_said_to_it(model, name):
    """Exports refuse what a software can't run: nothing of its space, and none of the ways to make it fit."""
    work, cards = Workload(model=model, sequences=32, tokens=4096), pool("h100-sxm:16").cards[0]
    cut = space(work, cards, Wishes(), framework(name))
    for i in range(0, len(cut), 1 + len(cut) // 400):
        export(work, cut.plan(i, "h100-sxm"), name)


def test_the_degrees_of_each_plan_multiply_to_the_cards_and_divide_what_they_must():
    work = Workload(model=preset("deepseek-v3"), sequences=1024, tokens=4096)
    cut = space(work, pool("h100-sxm:256").cards[0], Wishes(), MEGATRON)
    assert len(cut) > 1000
    assert (cut.cards == 256).all()
    assert (1024 % (cut.data * cut.micro_batch) == 0).all()
    assert (128 % cut.tensor == 0).all() and (256 % cut.expert == 0).all()
    assert (cut.tensor * cut.context * cut.data % (cut.expert * cut.expert_tensor) == 0).all()


def test_a_framework_runs_only_its_own_schedules_unless_they_are_wished():
    work, cards = Workload(model=DENSE, sequences=32, tokens=2048), pool("h100-sxm:8").cards[0]
    assert set(space(work, cards, Wishes(), MEGATRON).schedule) == {0, 1}
    wished = space(work, cards, Wishes(schedules=("zb-1p",), least={"stages": 2}), MEGATRON)
    assert {SCHEDULES[i] for i in wished.schedule} == {"zb-1p"}


@pytest.mark.parametrize(
    "wishes, kept",
    [
        (Wishes(most={"tensor": 2}), lambda c: c.tensor <= 2),
        (Wishes(least={"stages": 2}), lambda c: c.stages >= 2),
        (Wishes(exactly={"micro_batch": 2}), lambda c: c.micro_batch == 2),
        (Wishes(exactly={"zero": 3}), lambda c: c.zero == 3),
    ],
)
def test_wishes_leave_exactly_the_plans_that_keep_to_them(wishes, kept):
    work, cards = Workload(model=DENSE, sequences=32, tokens=2048), pool("h100-sxm:8").cards[0]
    every = space(work, cards, Wishes(), MEGATRON)
    assert set(rows(space(work, cards, wishes, MEGATRON))) == set(rows(every[kept(every)])) != set()


def test_each_framework_says_what_it_can_run():
    assert set(ABILITIES) == set(FRAMEWORKS)
