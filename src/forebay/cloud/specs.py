"""Turn what the core decided into what an engine may know: Run to Spec."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.centre.spec import Mount, Share, Spec
from forebay.cloud.core.health import checked_s_ago
from forebay.cloud.core.job import Run
from forebay.cloud.core.outputs import brings
from forebay.cloud.core.state import State


def spec_of(run: Run, state: State, now_ns: int, env: Mapping[str, str] | None = None) -> Spec:
    """The whole request for a run. Pure: what is sent can be printed and read before it is. `env`: the values of a job's
    environment, where the journal has only the names.
    """
    job = state.t.jobs[run.job].job
    assert job.script is not None, "recipes are refused at submission"
    script = job.script
    return Spec(
        name=run.id,
        job=job.id,
        organisation=job.organisation,
        chip=run.allocation.chip,
        shares=tuple(Share(node=part.node, cards=part.cards) for part in run.allocation.parts),
        bundle=script.bundle,
        entry=script.entry,
        argv=script.argv,
        env=script.env if env is None else env,
        mounts=tuple(_mount(at, source) for at, source in sorted(script.mounts.items())),
        output=script.output,
        brings=brings(state, run),
        requirements=script.requirements,
        pretend=run.allocation.pretend,
        grace_s=job.grace_s,
        time_limit_s=job.time_limit_s,
        checked_s_ago=checked_s_ago(state, run, now_ns),
    )


def _mount(at: str, source: str) -> Mount:
    kind, _, rest = source.partition(":")
    return Mount(kind=kind, source=rest, at=at)
