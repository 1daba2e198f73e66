"""Plans in the words of other frameworks: Megatron-LM, torchtitan, DeepSpeed, FlagScale, and torchrun's command lines.

Asked:  a plan is chosen, and the training code is another's. What do I tell it?
Answer: `export(workload, plan, target)`: files, command lines, and notes on what the target has no words for.
Limits: a framework may refuse what it has words for (a kernel that isn't built, a model class without pipelines); the notes say
        where that is known. Learning rates, data and tokenizers are no part of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from forebay.errors import BadInput, nearest
from forebay.plan.export import deepspeed, flagscale, megatron, torchrun, torchtitan
from forebay.plan.export.exported import NAMES, TARGETS, Cannot, Exported, checked
from forebay.plan.model import Workload
from forebay.plan.plan import Plan

__all__ = ["TARGETS", "Exported", "export"]

CARDS_A_HOST = 8
MAKERS: Mapping[str, Callable[..., Exported]] = {
    "megatron": megatron.export,
    "torchtitan": torchtitan.export,
    "deepspeed": deepspeed.export,
    "flagscale": flagscale.export,
    "torchrun": torchrun.export,
}


def export(
    work: Workload,
    plan: Plan,
    target: str,
    *,
    cards_a_host: int | Mapping[str, int] = CARDS_A_HOST,
    script: str = "",
) -> Exported:
    """The plan in the target's words. `cards_a_host`: one number, or one for each chip; `script`: what is run, with arguments.

    Raises BadInput where the target can't say the plan; the hint names the targets that can.
    """
    if target not in MAKERS:
        raise BadInput("Plans aren't exported to that.", asked=target, hint=", ".join(nearest(target, list(TARGETS)) or TARGETS))
    checked(work, plan)
    if plan.shards * plan.context == 1 and plan.replicas > 1 and target != "torchrun":
        plan = replace(plan, zero=0)  # copies only: ZeRO has nothing to cut
    chips = plan.need()
    hosts = dict.fromkeys(chips, cards_a_host) if isinstance(cards_a_host, int) else cards_a_host
    each = {chip: hosts.get(chip, CARDS_A_HOST) for chip in chips}
    try:
        return MAKERS[target](work, plan, hosts=each, script=script)
    except Cannot as no:
        able = [name for name in TARGETS[:-1] if name != target and _can(work, plan, name, each)]
        ways = [" or ".join(f"--to {name}" for name in able)] if able else []
        ways += [f"plan with {no.instead}"] if no.instead else []
        hint = "; or ".join(ways) or "--to torchrun, and a program of your own"
        raise BadInput(f"{NAMES[target]} can't say this plan.", asked=no.what, hint=hint) from None


def _can(work: Workload, plan: Plan, target: str, hosts: Mapping[str, int]) -> bool:
    try:
        MAKERS[target](work, plan, hosts=hosts)
    except (Cannot, BadInput):
        return False
    return True
