"""What the engine knows of one run beside its folder, and what it reads out of that folder.

Asked:  which job is a run, what did Slurm last say of it, and what did its supervisors?
Answer: `Run`. It is made anew from the folder when an agent comes back; nothing in it is the only copy of anything.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files, isolation, layout
from forebay.centre import home as homes
from forebay.centre.lock import Beat
from forebay.centre.order import Order
from forebay.centre.slurm import step, survey
from forebay.centre.slurm.accounts import User, acting_as
from forebay.centre.slurm.facts import Job
from forebay.centre.slurm.request import Request
from forebay.centre.spec import Phase, Seen
from forebay.errors import BadInput

# In the run's folder, and the engine's alone.
REQUEST = "request.json"  # what was about to be submitted
JOB = "job.json"  # the number that Slurm gave it
REFUSED = "refused.json"  # why Slurm, or we, won't have it
OVERDUE_S = 5.0  # over a run's grace, before its job is cancelled


@dataclass(slots=True)
class Run:
    """One run, as its engine knows it. The thread that watches the site writes, others read."""

    folder: Path
    order: Order
    user: User | None  # the account that its job runs as, where it isn't ours
    job_id: str = ""
    is_doubtful: bool = False  # it may have been submitted, and its job hasn't been looked for yet
    job: Job | None = None  # as last heard
    gone: bool = False  # slurmctld has forgotten it
    quiet_since_s: float = 0.0
    beats: tuple[int, ...] = ()
    problem: str = ""  # why it isn't submitted yet
    refused: str = ""  # why Slurm, or we, won't have it
    requeued: bool = False  # its job waits again, although it had begun
    stop_asked: bool = False
    stop_by_s: float | None = None  # then its job is cancelled, whatever its supervisors say
    cancelled: bool = False
    ended: Seen | None = None
    statuses: dict[int, tuple[tuple[int, int], Seen]] = field(default_factory=dict)  # share -> (file's time, inode), content
    bound: dict[str, tuple[int, ...]] = field(default_factory=dict)  # node -> the cards that Slurm gave; empty: not known yet
    shares: tuple[Path, ...] = ()  # their folders

    def __post_init__(self) -> None:
        self.shares = tuple(layout.share(self.folder, number) for number in range(len(self.order.spec.shares)))

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def exchange(self) -> Path:
        return layout.exchange(self.folder)

    def owner(self) -> str:
        """The job that carries it out; empty as long as none has begun."""
        with acting_as(self.user):
            return str((read(self.exchange / step.OWNER) or {}).get("job", ""))

    def has_begun(self) -> bool:
        with acting_as(self.user):
            return os.path.lexists(self.exchange / step.OWNER)

    def beat(self) -> tuple[int, ...]:
        """When its supervisors last gave a sign of life, by their files."""
        with acting_as(self.user):
            return tuple(_time_of(layout.lock(folder)) for folder in self.shares)

    def status(self, number: int) -> Seen | None:
        """What a share's supervisor last said; read again only when the file is another. Call it as the run's user."""
        folder = self.shares[number]
        try:
            about = os.stat(f"{folder}/status.json", follow_symlinks=False)
        except OSError:
            return None
        key = (about.st_mtime_ns, about.st_ino)
        kept = self.statuses.get(number)
        if kept is not None and kept[0] == key:
            return kept[1]
        try:
            seen = homes.status(folder)
        except (OSError, ValueError, BadInput):  # whoever writes there is no friend of ours
            return kept[1] if kept is not None else None
        if seen is not None:
            self.statuses[number] = (key, seen)
        return seen

    def last_sign(self, number: int, seen: Seen | None) -> Seen | None:
        """What to say of a share whose supervisor is dead: it held its cards up to its last sign of life."""
        body = read(layout.lock(self.shares[number]))
        try:
            beat = codec.decode(Beat, body, strict=False) if body is not None else None
        except BadInput:
            beat = None
        if beat is None:
            return seen
        return replace(seen or Seen(name=self.name, phase=Phase.PREPARING), held_ns=beat.last_ns - beat.taken_ns)

    def last_words(self) -> str:
        """The last line that the job itself printed: ours, srun's or Slurm's, never the tenant's."""
        try:
            with (self.exchange / "log").open("rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - 4096, 0))
                lines = file.read(4096).decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def find_bound(self) -> None:
        """Read which cards Slurm gave. Where it only counts, those that the cloud chose."""
        found = read(self.exchange / step.BOUND) or {}
        self.bound = {
            share.node: tuple(found[machine])[: len(share.cards)] or share.cards
            for share in self.order.spec.shares
            if (machine := survey.machine_of(share.node)) in found
        }

    def lay_out(self, asked: Request, container: Mapping[str, str]) -> None:
        """Make the run's folder, which is ours, and in it those that the job writes to, as whoever it runs as. `container`: the
        image and the mounts that Pyxis is told; empty: none.
        """
        isolation.own_folder(self.folder, 0o711)
        whose = (self.user.uid, self.user.gid) if self.user is not None else (None, None)
        isolation.own_folder(self.exchange, 0o700, *whose)
        for folder in self.shares:
            isolation.own_folder(folder, 0o711, *whose)
        body = {
            "order": codec.encode(self.order),
            "machines": list(asked.machines),
            "gres": asked.gres.rpartition(":")[0],
            "minutes": asked.minutes,
            "warn_s": asked.warn_s,
            "container": dict(container),
            "grace_s": self.order.spec.grace_s,
        }
        with acting_as(self.user):
            files.write_json(self.exchange / step.ORDER, body)
            (self.exchange / "log").touch()
        files.write_json(layout.spec(self.folder), codec.encode(self.order), durable=True)
        files.sync_folder(self.folder.parent)


def read(path: Path) -> dict[str, Any] | None:
    """A small JSON file that a job wrote."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
