"""How the engine talks to a site: the Protocol that `commands.py` and `rest.py` obey.

A transport does what it is asked, once: it doesn't choose, retry or wait beyond its time-out. Every method may raise Unavailable
(nobody knows whether it was done) or BadInput (Slurm understood, and refused, in its own words).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from forebay.centre.slurm.facts import Job, Machine, Site
from forebay.centre.slurm.request import Request


class Transport(Protocol):
    def site(self) -> Site:
        """Everything that changes rarely. Several calls."""

    def machines(self) -> tuple[Machine, ...]:
        """All machines as they stand: one call, however many there are."""

    def jobs(self, names: Collection[str]) -> tuple[Job, ...]:
        """Every job of one of these names that slurmctld remembers: one call."""

    def past(self, names: Collection[str]) -> tuple[Job, ...]:
        """The same of the accounting, where the site has one; it remembers longer."""

    def submit(self, request: Request) -> str:
        """Hand it over; the job's id."""

    def cancel(self, job: Job) -> None:
        """End it, by the site's own way: SIGTERM, then SIGKILL after KillWait. A job that is over is no error; one that has this
        number and another name isn't touched: a slurmctld that lost its memory gives numbers out again.
        """
