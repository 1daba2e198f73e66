"""Jobs: submit, list, show, cancel, and their stories."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

from forebay.cloud.access import Who
from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, Desk, OnceKey, ReadsJobs, WritesJobs, write
from forebay.cloud.audit import shown
from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.idle import idle_words
from forebay.cloud.core.job import Job, Run, Script, Standing
from forebay.cloud.core.state import State
from forebay.cloud.loop import Body
from forebay.cloud.menu import menu
from forebay.cloud.story import tell
from forebay.codec import encode
from forebay.errors import BadInput, ForebayError, Unknown

RESERVED_VARIABLES = ("FOREBAY_", "TORCHELASTIC_", "MASTER_", "LD_")
RESERVED_NAMES = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "PYTHONPATH", "PYTHONHOME"})

router = APIRouter(prefix="/api/v1")


@router.post("/jobs", tags=["jobs"], status_code=201)
async def submit(asked: wire.JobAsked, desk: At, by: WritesJobs, once: OnceKey = None) -> Body:
    """Ask for a script to be run. Acknowledged means journaled: it will run, whatever crashes."""
    organisation, project = by.place(desk.state, asked.organisation, asked.project)
    _refuse_reserved(asked.env)
    bundles = desk.store.bundles(organisation)
    if not bundles.has(asked.bundle):
        raise Unknown("The cloud doesn't have that code archive.", asked=asked.bundle, hint="send it first: PUT /bundles/…")
    judged = await desk.reader.verdicts(bundles.path(asked.bundle), asked.entry)
    job_id = "j" + "".join(secrets.choice("23456789abcdefghjkmnpqrstuvwxyz") for _ in range(7))

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        job = Job(
            id=job_id,
            organisation=organisation,
            project=project,
            name=asked.name or Path(asked.entry).stem,
            menu=menu(state, judged, asked.chips, asked.cards, asked.takes),
            time_limit_s=asked.time_limit_s,
            retries=asked.retries,
            grace_s=asked.grace_s,
            script=Script(
                bundle=asked.bundle,
                entry=asked.entry,
                argv=tuple(asked.argv),
                env=dict.fromkeys(asked.env, ""),
                sealed=bool(asked.env),
                output=asked.output,
                requirements=asked.requirements,
                mounts={mount.at: _mount(state, organisation, mount) for mount in asked.mounts},
            ),
        )
        admit(state, job)
        return e.Submitted(at_ns=now_ns, by=by.key.id, job=job), {"id": job_id, "name": job.name, "menu": encode(job.menu)}

    await desk.sealed.keep(job_id, asked.env)
    try:
        answer = await write(desk, by, once, "job", asked.model_dump(), make)
    except ForebayError:
        desk.sealed.drop(job_id)
        raise
    if answer["id"] != job_id:  # it was asked for before
        desk.sealed.drop(job_id)
    return answer


@router.get("/jobs", tags=["jobs"])
def jobs(
    desk: At,
    by: ReadsJobs,
    organisation: str = "",
    project: str = "",
    phase: str = "",
    before: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    most: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Body:
    """Jobs, newest first; the next page starts `before` the `place` of the last."""
    mine = by.organisation(organisation)
    return {"jobs": desk.loop.journal.jobs(organisation=mine, project=project, phase=phase, before=before, most=most)}


@router.get("/jobs/{job_id}", tags=["jobs"])
async def job(job_id: str, desk: At, by: ReadsJobs) -> Body:
    standing = by.job(desk.state, job_id)
    return shown_job(desk, standing)


@router.post("/jobs/{job_id}/cancel", tags=["jobs"])
async def cancel(job_id: str, desk: At, by: WritesJobs, once: OnceKey = None) -> Body:
    """Cancel a job. Asking twice, or for one that is over, changes nothing."""

    def make(state: State, now_ns: int) -> tuple[e.Event | None, Body]:
        standing = by.job(state, job_id)
        live = state.live_run(standing.job.id)
        asked_before = live is not None and bool(live.stop) and not live.requeue
        idle = standing.phase.over or (asked_before and live is not None and not _given_up(state, live))
        fact = None if idle else e.Cancelled(at_ns=now_ns, by=by.key.id, job=standing.job.id)
        return fact, {"id": standing.job.id, "was": standing.phase.value}

    return await write(desk, by, once, "cancel", job_id, make)


@router.get("/jobs/{job_id}/story", tags=["jobs"])
def story(job_id: str, desk: At, by: ReadsJobs) -> Body:
    """A job's whole life, or one run's of it: each event, who caused it, and the numbers."""
    standing = by.job(desk.state, job_id)
    run = job_id if job_id in desk.state.t.runs else ""
    lines = [shown_event(desk.state, by, seq, event) for seq, event in desk.loop.journal.story(standing.job.id)]
    return {"job": standing.job.id, "events": [line for line in lines if not run or line["body"].get("run") in (run, None)]}


def _given_up(state: State, run: Run) -> bool:
    """Whether nobody will ever tell of a run: cancelling its job is how an operator gives it up."""
    return state.t.centres[run.allocation.centre].revoked


def shown_job(desk: Desk, standing: Standing) -> Body:
    """A job as its owner sees it. Of the environment only the names: values may be secrets."""
    state = desk.state
    body: Body = encode(standing.job)
    if body["script"]:
        body["script"]["env"] = sorted(body["script"]["env"])
    runs = [{**encode(state.t.runs[run]), **_used(state, run)} for run in standing.runs]
    last = standing.runs[-1] if standing.runs else ""
    progress = desk.store.progress.get(last)
    return {
        **body,
        "phase": standing.phase.value,
        "reason": standing.reason,
        "submitted_at_ns": standing.submitted_at_ns,
        "submitted_by": standing.submitted_by,
        "ended_at_ns": standing.ended_at_ns,
        "runs": runs,
        "progress": encode(progress) if progress else None,
        "artefacts": encode(desk.store.artefacts(last)) if last else [],
    }


def _used(state: State, run: str) -> Body:
    """How busy its cards were, as far as anybody measured it; why a warning stands; what was credited."""
    used, credit = state.t.uses.get(run), state.t.credits.get(run)
    live = not state.t.runs[run].outcome
    return {
        "use": encode(used) if used and used.told_at_ns else None,
        "idle": idle_words(state, run) if live else "",
        "credit": encode(credit) if credit else None,
    }


def shown_event(state: State, by: Who, seq: int, event: e.Event) -> Body:
    return {
        "seq": seq,
        "at_ns": event.at_ns,
        "by": event.by,
        "kind": type(event).__name__,
        "text": tell(event, state),
        "body": shown(event, state, by.sees),
    }


def _mount(state: State, organisation: str, mount: wire.MountAsked) -> str:
    """What a mount means, checked. A data set without a version is its newest."""
    if mount.kind == "output":
        standing = state.standing(mount.source)
        if standing is None or standing.job.organisation != organisation:
            raise Unknown("There is no such job.", asked=mount.source, hint="`forebay jobs` lists yours")
        return f"output:{standing.job.id}"
    versions = [v for v in state.t.versions.values() if v.organisation == organisation and mount.source in (v.version, v.dataset)]
    if not versions:
        raise Unknown("There is no such data set or version.", asked=mount.source, hint="`forebay data list`")
    return f"data:{max(versions, key=lambda v: v.made_at_ns).version}"


def _refuse_reserved(env: dict[str, str]) -> None:
    for name in env:
        if name in RESERVED_NAMES or name.startswith(RESERVED_VARIABLES):
            raise BadInput("That variable is set by the launcher.", asked=name, hint="choose another name")
