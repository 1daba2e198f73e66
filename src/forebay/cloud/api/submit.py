"""Submit jobs: one, or up to a thousand together.

Asked:  somebody wants scripts to be run. What is checked, and when is it acknowledged?
Answer: each job's needs are read, its program is judged (once for all jobs of a batch that run the same), its menu is made and
        it is admitted; then it is journaled, and only then answered. A batch is one transaction with one idempotency key: all of
        its jobs are taken or none is, and an error says which job is wrong, and why.
Limits: of a batch with many wrong jobs the first few are told.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fastapi import APIRouter, Request

from forebay.cloud.access import Who
from forebay.cloud.api import wire
from forebay.cloud.api.desk import At, Desk, OnceKey, WritesJobs, write
from forebay.cloud.api.front import must
from forebay.cloud.core import events as e
from forebay.cloud.core.admit import admit
from forebay.cloud.core.job import Job, Option, Script, Standing
from forebay.cloud.core.state import State
from forebay.cloud.core.why import rest_micro
from forebay.cloud.loop import Body
from forebay.cloud.loop import Request as Once
from forebay.cloud.menu import menu
from forebay.codec import encode
from forebay.errors import BadInput, DoesNotFit, ForebayError, Unknown
from forebay.porting.findings import Verdict
from forebay.units import NS_PER_S, show_money, show_seconds

RESERVED_VARIABLES = ("FOREBAY_", "TORCHELASTIC_", "MASTER_", "LD_")
RESERVED_NAMES = frozenset({"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "PYTHONPATH", "PYTHONHOME"})
LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
MOST_TOLD = 5  # of the wrong jobs of a batch

router = APIRouter(prefix="/api/v1")

_Judged = dict[str, Verdict]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A job that was asked for, with what had to be looked up outside the loop."""

    id: str
    organisation: str
    project: str
    asked: wire.JobAsked
    judged: _Judged


@router.post("/jobs", tags=["jobs"], status_code=201)
async def submit(asked: wire.JobAsked, desk: At, by: WritesJobs, once: OnceKey = None) -> Body:
    """Ask for a script to be run. Acknowledged means journaled: it will run, whatever crashes."""
    must(desk.jobs.take(by.key.id), "jobs")
    wanted = (await _look_up(desk, by, [asked]))[0]

    def make(state: State, now_ns: int) -> tuple[e.Event, Body]:
        job = _Maker(state, now_ns).job(wanted)
        return e.Submitted(at_ns=now_ns, by=by.key.id, job=job), {"id": job.id, "name": job.name, "menu": encode(job.menu)}

    await desk.sealed.keep(wanted.id, asked.env)
    try:
        answer = await write(desk, by, once, "job", asked.model_dump(), make)
    except ForebayError:
        desk.sealed.drop(wanted.id)
        raise
    if answer["id"] != wanted.id:  # it was asked for before
        desk.sealed.drop(wanted.id)
    return answer


@router.post("/jobs/batch", tags=["jobs"], status_code=201)
async def submit_many(asked: wire.JobsAsked, request: Request, desk: At, by: WritesJobs, once: OnceKey = None) -> Body:
    """Ask for up to a thousand scripts to be run: all of them, or none, with one idempotency key for all. The answer names them
    in the order asked.
    """
    must(desk.jobs.take(by.key.id, len(asked.jobs)), "jobs")
    all_wanted = await _look_up(desk, by, asked.jobs)

    def make(state: State, now_ns: int) -> tuple[Sequence[e.Event], Body]:
        maker, facts, problems = _Maker(state, now_ns), list[e.Event](), list[tuple[int, ForebayError]]()
        for index, wanted in enumerate(all_wanted):
            try:
                facts.append(e.Submitted(at_ns=now_ns, by=by.key.id, job=maker.job(wanted)))
            except ForebayError as error:
                problems.append((index, error))
        _refuse_all(problems, len(all_wanted))
        return facts, {"jobs": [{"id": w.id, "name": _name(w.asked)} for w in all_wanted]}

    ours = [wanted.id for wanted in all_wanted if wanted.asked.env]
    try:
        for wanted in all_wanted:
            await desk.sealed.keep(wanted.id, wanted.asked.env)
        body = hashlib.sha256(await request.body()).hexdigest()
        answer = await desk.loop.tell(make, Once.of(by.key.id, once, "jobs", body) if once else None, size=len(all_wanted))
    except ForebayError:
        for job_id in ours:
            desk.sealed.drop(job_id)
        raise
    if answer["jobs"][0]["id"] != all_wanted[0].id:  # they were asked for before
        for job_id in ours:
            desk.sealed.drop(job_id)
    return answer


async def _look_up(desk: Desk, by: Who, asked: Sequence[wire.JobAsked]) -> list[_Wanted]:
    """Where each job belongs, and what its program needs. Raises what is wrong with them."""
    known: dict[tuple[str, str, str], _Judged | ForebayError] = {}
    taken: set[str] = set()
    found, problems = list[_Wanted](), list[tuple[int, ForebayError]]()
    for index, one in enumerate(asked):
        try:
            organisation, project = by.place(desk.state, one.organisation, one.project)
            _refuse_reserved(one.env)
            key = (organisation, one.bundle, one.entry)
            if key not in known:
                known[key] = await _judge(desk, *key)
            judged = known[key]
            if isinstance(judged, ForebayError):
                raise judged
        except ForebayError as error:
            problems.append((index, error))
            continue
        found.append(_Wanted(_new_id(desk.state, taken), organisation, project, one, judged))
    if len(asked) == 1 and problems:
        raise problems[0][1]
    _refuse_all(problems, len(asked))
    return found


async def _judge(desk: Desk, organisation: str, bundle: str, entry: str) -> _Judged | ForebayError:
    bundles = desk.store.bundles(organisation)
    if not bundles.has(bundle):
        return Unknown("The cloud doesn't have that code archive.", asked=bundle, hint="send it first: PUT /bundles/…")
    try:
        return await desk.reader.verdicts(bundles.path(bundle), entry)
    except ForebayError as error:
        return error


class _Maker:
    """Makes jobs out of what was asked, at one moment. Jobs of a batch that ask for the same have one menu."""

    def __init__(self, state: State, now_ns: int) -> None:
        self._state = state
        self._now_ns = now_ns
        self._menus: dict[object, tuple[Option, ...]] = {}
        self._admitted: set[object] = set()

    def job(self, wanted: _Wanted) -> Job:
        """Raises ForebayError for a job that makes no sense, or that can never run."""
        asked, organisation = wanted.asked, wanted.organisation
        if asked.deadline_ns and asked.deadline_ns <= self._now_ns:
            ago = show_seconds((self._now_ns - asked.deadline_ns) / NS_PER_S)
            raise BadInput("The deadline has passed already.", asked=str(asked.deadline_ns), found=f"it was {ago} ago")
        needs = (id(wanted.judged), tuple(asked.chips), tuple(asked.cards), tuple(asked.takes.items()))
        options = self._menus.get(needs)
        if options is None:
            options = self._menus[needs] = menu(self._state, wanted.judged, asked.chips, asked.cards, asked.takes)
        if asked.elastic:
            _refuse_stiff(asked, options)
        job = Job(
            id=wanted.id,
            organisation=organisation,
            project=wanted.project,
            name=_name(asked),
            menu=options,
            time_limit_s=asked.time_limit_s,
            retries=asked.retries,
            grace_s=asked.grace_s,
            priority=asked.priority,
            resumable=asked.elastic if asked.resumable is None else asked.resumable,
            elastic=asked.elastic,
            restart_s=asked.restart_s,
            prefer=asked.prefer,
            deadline_ns=asked.deadline_ns,
            budget_micro=asked.budget_micro,
            script=Script(
                bundle=asked.bundle,
                entry=asked.entry,
                argv=tuple(asked.argv),
                env=dict.fromkeys(asked.env, ""),
                sealed=bool(asked.env),
                output=asked.output,
                requirements=asked.requirements,
                mounts={mount.at: _mount(self._state, organisation, mount) for mount in asked.mounts},
            ),
        )
        if (organisation, needs) not in self._admitted:  # what admits a job is its organisation and its menu
            admit(self._state, job)
            self._admitted.add((organisation, needs))
        if asked.budget_micro is not None:
            _refuse_dear(self._state, job, self._now_ns, asked.budget_micro)
        return job


def _name(asked: wire.JobAsked) -> str:
    return asked.name or PurePosixPath(asked.entry).stem


def _new_id(state: State, taken: set[str]) -> str:
    """A name that no job has. `taken`: by others of the same batch; the new one is added."""
    while True:
        number, letters = secrets.randbelow(len(LETTERS) ** 7), "j"
        for _ in range(7):
            number, letter = divmod(number, len(LETTERS))
            letters += LETTERS[letter]
        if letters not in taken and letters not in state.t.jobs:
            taken.add(letters)
            return letters


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


def _refuse_reserved(env: Iterable[str]) -> None:
    for name in env:
        if name in RESERVED_NAMES or name.startswith(RESERVED_VARIABLES):
            raise BadInput("That variable is set by the launcher.", asked=name, hint="choose another name")


def _refuse_stiff(asked: wire.JobAsked, options: Sequence[Option]) -> None:
    """An elastic job needs lines to choose from, and to say how long it takes on each."""
    unknown = [f"{option.chip}:{option.cards}" for option in options if option.expected_s is None]
    if len(options) > 1 and not unknown:
        return
    raise BadInput(
        "An elastic job says several counts of cards, and how long it takes on each.",
        asked="elastic, cards " + ", ".join(map(str, asked.cards)),
        found=f"nothing is said of {', '.join(unknown)}" if unknown else f"only {options[0].cards} x {options[0].chip}",
        hint="--cards 8,4,2 --takes CHIP:8=10m,CHIP:4=18m,CHIP:2=35m",
    )


def _refuse_dear(state: State, job: Job, now_ns: int, budget_micro: int) -> None:
    """By what its owner says of its time, and today's prices."""
    new = Standing(job=job, order=0, submitted_at_ns=now_ns, submitted_by="")
    least = min(rest_micro(state, new, option) for option in job.menu)
    if least > budget_micro:
        raise DoesNotFit(
            "The job costs more than its budget.",
            asked=f"a budget of {show_money(budget_micro, state.t.currency)}",
            found=f"by what it is said to take it costs at least {show_money(least)}",
            hint="a larger budget, or `forebay price list` for a cheaper chip",
        )


def _refuse_all(problems: Sequence[tuple[int, ForebayError]], of: int) -> None:
    """One error for all that is wrong with a batch; of the kind of the first."""
    if not problems:
        return
    index, first = problems[0]
    if len(problems) == 1:
        text = f"jobs[{index}]: {first.text.rstrip('.')}; none of the {of} was taken."
        raise type(first)(text, asked=first.asked, found=first.found, hint=first.hint)
    told = [
        f"jobs[{i}]: {error.text.rstrip('.')}{f' ({error.asked})' if error.asked else ''}" for i, error in problems[:MOST_TOLD]
    ]
    more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
    raise type(first)(
        f"{len(problems)} of the {of} jobs are wrong, so none was taken.", found="; ".join([*told, *more]), hint=first.hint
    )
