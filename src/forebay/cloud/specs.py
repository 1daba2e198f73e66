"""Turn what the core decided into what an engine may know: Run to Spec."""

from __future__ import annotations

from forebay.centre.spec import Mount, Share, Spec
from forebay.cloud.core.job import Job, Run


def spec_of(run: Run, job: Job) -> Spec:
    """The whole request for a run. Pure: what is sent can be printed and read before it is."""
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
        env=script.env,
        mounts=tuple(_mount(at, source) for at, source in sorted(script.mounts.items())),
        output=script.output,
        requirements=script.requirements,
        pretend=run.allocation.pretend,
        grace_s=job.grace_s,
    )


def _mount(at: str, source: str) -> Mount:
    kind, _, rest = source.partition(":")
    return Mount(kind=kind, source=rest, at=at)
