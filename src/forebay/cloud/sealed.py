"""The values of jobs' environments: secrets as often as not, so they don't stand in the journal, which is for ever.

Asked:  a job is given HF_TOKEN=... Where is that, and for how long?
Answer: in a file of its own beside the journal, written before the job is acknowledged, read by nobody but the agent that
        launches a run of it, and removed once the job is over. The journal has the names.
Limits: while the job isn't over, who can read the cloud's data folder can read it; so can the centre that it runs at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from forebay.cloud.core.job import Job
from forebay.cloud.core.state import State
from forebay.cloud.store import Store

log = logging.getLogger("forebay.cloud")

UNKNOWN_S = 600.0  # after which the values of a job that never came to be are removed


class Sealed:
    """The values, in memory as on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._values = store.environments()
        self._since = dict.fromkeys(self._values, time.monotonic())

    async def keep(self, job: str, env: Mapping[str, str]) -> None:
        """Keep the values of a job that is about to be submitted. Safe on disk when it returns."""
        if env:
            await asyncio.to_thread(self._store.keep_environment, job, env)
            self._values[job] = dict(env)
            self._since[job] = time.monotonic()

    def drop(self, job: str) -> None:
        if self._values.pop(job, None) is not None:
            del self._since[job]
            self._store.drop_environment(job)

    def of(self, job: Job) -> dict[str, str] | None:
        """The values of a job; None: they stand in the journal, as before there was this file, or there are none."""
        if job.script is None or not job.script.sealed:
            return None
        if job.id not in self._values:
            log.error("the environment of %s isn't in the data folder: it runs without", job.id)
        return self._values.get(job.id, {})

    def sweep(self, state: State) -> None:
        """Remove the values of jobs that are over, or that never came to be."""
        for job in list(self._values):
            standing = state.t.jobs.get(job)
            if standing.phase.over if standing else time.monotonic() - self._since[job] > UNKNOWN_S:
                self.drop(job)
