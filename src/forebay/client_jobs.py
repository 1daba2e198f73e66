"""The SDK's calls about jobs: submit one or many, list, show, cancel. A part of `Client`."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from forebay.client_tenants import quoted, split_project
from forebay.data.bundle import pack
from forebay.errors import BadInput, ForebayError
from forebay.units import MIB, NS_PER_S, parse_bytes, parse_money, parse_seconds

CODE_LIMIT_BYTES = 256 * MIB
MOST_AT_ONCE = 1_000  # jobs in one request

Body = dict[str, Any]
Said = Callable[[str, int, int], None]
"""Told of long work: what, how much is done, how much there is."""


def silent(what: str, done: int, of: int) -> None:
    pass


class Jobs:
    """What `Client` can say of jobs. It has the first methods of it."""

    def _get(self, path: str, **params: str | int) -> Body:
        raise NotImplementedError

    def _list(self, path: str, name: str, **params: str | int) -> list[Body]:
        raise NotImplementedError

    def _write(self, method: str, path: str, body: Any = None, params: Mapping[str, str] | None = None) -> Body:
        raise NotImplementedError

    def _send(self, path: str, content: bytes, params: Mapping[str, str]) -> Body:
        raise NotImplementedError

    def _has_bundle(self, sha256: str, params: Mapping[str, str]) -> bool:
        raise NotImplementedError

    def run(
        self,
        code: Path | str,
        argv: Sequence[str] = (),
        *,
        entry: str | None = None,
        project: str | None = None,
        limit: str | int = CODE_LIMIT_BYTES,
        along: Mapping[str, Path] | None = None,
        said: Said = silent,
        **needs: Any,
    ) -> Body:
        """Submit a script, or a folder of code with `entry`. Returns as soon as the job is safe in the journal. `along`: files
        to pack beside the code, by the names that they get. `needs`: as `asked` takes them.
        """
        sent = self.send_code(code, entry=entry, project=project, limit=limit, along=along, said=said)
        return self._write("POST", "/jobs", sent | asked(argv=argv, project=project, **needs))

    def submit_many(self, jobs: Sequence[Mapping[str, Any]], *, project: str | None = None, said: Said = silent) -> list[Body]:
        """Submit jobs, each with the API's fields (`asked` makes them; `send_code` makes "bundle" and "entry"), a thousand a
        request; returns {"id", "name"} of each. A request is taken as a whole or not at all: when one is refused, those before
        it were taken, and the error says how many.
        """
        home, taken = _home(project), list[Body]()
        for first in range(0, len(jobs), MOST_AT_ONCE):
            part = [home | dict(job) for job in jobs[first : first + MOST_AT_ONCE]]
            said("submitting", first, len(jobs))
            try:
                taken += self._write("POST", "/jobs/batch", {"jobs": part})["jobs"]
            except ForebayError as error:
                error.text, error.found = _counted(error.text, first), _counted(error.found, first)
                if first:
                    error.found += f"{'; ' if error.found else ''}the first {first} of {len(jobs)} were taken before"
                raise
        said("submitting", len(jobs), len(jobs))
        return taken

    def send_code(
        self,
        code: Path | str,
        *,
        entry: str | None = None,
        project: str | None = None,
        limit: str | int = CODE_LIMIT_BYTES,
        along: Mapping[str, Path] | None = None,
        said: Said = silent,
    ) -> Body:
        """Pack a script, or a folder of code, and send it unless the cloud has it: {"bundle", "entry"} of a job that runs it."""
        source = Path(code)
        where = {"organisation": split_project(project)[0]} if project else {}
        with tempfile.TemporaryDirectory(prefix="forebay-") as folder:
            archive = Path(folder) / "code.tar.gz"
            most = parse_bytes(limit) if isinstance(limit, str) else limit
            bundle = pack(source, entry, limit_bytes=most, to=archive, along=along)
            if not self._has_bundle(bundle.sha256, where):
                said("sending code", 0, bundle.size_bytes)
                self._send(f"/bundles/{bundle.sha256}", archive.read_bytes(), where)
                said("sending code", bundle.size_bytes, bundle.size_bytes)
        return {"bundle": bundle.sha256, "entry": entry or source.name}

    def jobs(self, *, phase: str = "", project: str = "", before: int = 0, most: int = 100) -> list[Body]:
        organisation, own = split_project(project) if "/" in project else ("", project)
        return self._list("/jobs", "jobs", phase=phase, before=before, most=most, organisation=organisation, project=own)

    def job(self, job: str) -> Body:
        return self._get(f"/jobs/{quoted(job)}")

    def cancel(self, job: str) -> Body:
        return self._write("POST", f"/jobs/{quoted(job)}/cancel", {})

    def story(self, job: str) -> list[Body]:
        return self._list(f"/jobs/{quoted(job)}/story", "events")


def asked(
    *,
    argv: Sequence[str] = (),
    cards: int | Sequence[int] = 1,
    chips: Sequence[str] = (),
    name: str = "",
    env: Mapping[str, str] | None = None,
    data: Mapping[str, str] | None = None,
    inputs: Mapping[str, str] | None = None,
    output: str = "out",
    requirements: str | None = None,
    takes: Mapping[str, float] | None = None,
    time_limit: str | float | None = None,
    retries: int = 3,
    grace_s: float = 10.0,
    priority: int = 0,
    resumable: bool | None = None,
    elastic: bool = False,
    prefer: str = "balanced",
    deadline: str | float | datetime | None = None,
    budget: str | int | float | None = None,
    restart_cost: str | float = 60.0,
    project: str | None = None,
) -> Body:
    """What a job needs and wishes, as the API wants it; with a "bundle" and an "entry" it is a whole job.

    `data` maps a data set (or a version of one) to the folder where the script finds it; `inputs` maps an earlier job to the
    folder where the script finds what that job left. `takes` says how many seconds the job takes on a chip ("h100-sxm"), or on
    so many cards of it ("h100-sxm:8"): then it goes where it ends first, or where `prefer` says: "fastest", "cheapest",
    "balanced".

    `priority`, from -100 to 100, orders the jobs of one organisation. `resumable`: started again, the job goes on from a
    checkpoint of its own, so it may be stopped for others, which costs it `restart_cost` (seconds, or "60s"). `elastic`: it may
    also go over to another count of cards while it runs. `deadline`: by when it is to have ended, "2h" from now or a time.
    `budget`: what all of its runs may cost, in the cloud's money.
    """
    return {
        "argv": list(argv),
        "env": dict(env or {}),
        "mounts": [{"kind": "data", "source": s, "at": at} for s, at in (data or {}).items()]
        + [{"kind": "output", "source": s, "at": at} for s, at in (inputs or {}).items()],
        "output": output,
        "requirements": requirements,
        "name": name,
        "cards": [cards] if isinstance(cards, int) else list(cards),
        "chips": list(chips),
        "takes": dict(takes or {}),
        "time_limit_s": parse_seconds(time_limit) if isinstance(time_limit, str) else time_limit,
        "retries": retries,
        "grace_s": grace_s,
        "priority": priority,
        "resumable": resumable,
        "elastic": elastic,
        "restart_s": parse_seconds(restart_cost) if isinstance(restart_cost, str) else restart_cost,
        "prefer": prefer,
        "deadline_ns": 0 if deadline is None else deadline_ns(deadline, time.time_ns()),
        "budget_micro": None if budget is None else parse_money(str(budget)),
        **_home(project),
    }


def deadline_ns(said: str | float | datetime, now_ns: int) -> int:
    """Nanoseconds since 1970 of "2h" or 7200.0 from now, or of "2026-12-01 08:00" or a datetime, by this machine's zone unless it
    says another.
    """
    if isinstance(said, str):
        text = said
        try:
            said = datetime.fromisoformat(text) if "-" in text else parse_seconds(text.removeprefix("+"))
        except (ValueError, ForebayError):
            raise BadInput("That is no deadline.", asked=text, hint="2h (from now), or 2026-12-01T08:00") from None
    if isinstance(said, datetime):
        return int(said.timestamp()) * NS_PER_S
    return now_ns + int(said * NS_PER_S)


def _counted(text: str, first: int) -> str:
    """An error of a request's jobs, with their numbers among all."""
    return re.sub(r"\bjobs[.\[](\d+)\]?", lambda found: f"jobs[{int(found[1]) + first}]", text)


def _home(project: str | None) -> Body:
    organisation, own = split_project(project) if project else (None, None)
    return {"organisation": organisation, "project": own}
