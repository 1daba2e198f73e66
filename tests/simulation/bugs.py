"""Ten bugs and two more, planted by hand in a copy of the code, each of which the simulation must find.

Asked:  would the simulation notice?
Answer: each bug is an exact piece of the source and what stands in its place in the copy. `plant` makes the copy; a piece that
        isn't there (the code has changed) is an error, so that no bug is planted in vain. A bug of the journal is looked for in
        the lives on SQLite, a tenth of all.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bug:
    breaks: str
    changes: tuple[tuple[str, str, str], ...]  # (file, what stands there, what is to stand there)
    on: str = "memory"  # in which lives it is looked for


CORE = "cloud/core/"
BUGS = {
    "reserved-cards-are-not-kept": Bug(
        "cards that are kept for one job are given to another",
        (
            (CORE + "state.py", "            self._kept[card] = reservation.job\n", "            pass\n"),
            (CORE + "state.py", "            del self._kept[card]\n", "            self._kept.pop(card, None)\n"),
        ),
    ),
    "quota-without-what-is-held": Bug(
        "an organisation holds more than its quota and what it may borrow",
        (
            (
                CORE + "rights.py",
                "            beyond = self.borrows(organisation, chip) + cards\n",
                "            beyond = cards - self.guarantee(organisation, chip)\n",
            ),
        ),
    ),
    "requeue-loses-the-job": Bug(
        "a job whose run failed waits nowhere",
        (
            (
                CORE + "state.py",
                "                self._wait(t.jobs[job_id], event.at_ns)\n            case e.Finished",
                "                pass\n            case e.Finished",
            ),
        ),
    ),
    "double-launch-after-a-restart": Bug(
        "a job that was starting when the cloud died is launched once more",
        (
            (
                CORE + "state.py",
                "            if standing.phase is Phase.WAITING and standing.job.id not in self.t.reservations:\n",
                "            waits = standing.phase in (Phase.WAITING, Phase.STARTING)\n"
                "            if waits and standing.job.id not in self.t.reservations:\n",
            ),
        ),
    ),
    "released-cards-are-not-given-back": Bug(
        "cards of a reservation that was given up are nobody's",
        (
            (
                CORE + "state.py",
                "            del self._kept[card]\n        self._refresh(reservation.allocation)\n",
                "            del self._kept[card]\n",
            ),
        ),
    ),
    "an-end-forgets-what-was-served": Bug(
        "what a job's runs held doesn't count for it",
        (
            (
                CORE + "state.py",
                "served_ns=standing.served_ns + int(card_s * NS_PER_S)",
                "served_ns=standing.served_ns",
            ),
        ),
    ),
    "borrowed-cards-are-not-taken-back": Bug(
        "lenders wait for what is theirs",
        (
            (
                CORE + "yields.py",
                "            goes = state.rights.borrows(account.organisation, chip) > taken[account.organisation]\n",
                "            goes = False\n",
            ),
        ),
    ),
    "wide-jobs-starve": Bug(
        "whatever fits goes first, so that a job which needs many cards waits for ever",
        (
            (
                CORE + "choose.py",
                "    if standing.job.resumable:\n        return True\n    blocked",
                "    if True:\n        return True\n    blocked",
            ),
            (
                CORE + "yields.py",
                "    job, chip = standing.job, option.chip\n    owed",
                "    if option.cards > 1:\n        return None\n    job, chip = standing.job, option.chip\n    owed",
            ),
        ),
    ),
    "a-snapshot-without-reservations": Bug(
        "a restart forgets which cards are kept",
        (
            (
                "cloud/journal.py",
                "value = getattr(tables, field.name)",
                'value = {} if field.name == "reservations" else getattr(tables, field.name)',
            ),
        ),
        on="sqlite",
    ),
    "an-answer-is-not-kept": Bug(
        "the same idempotency key makes a second job",
        (
            (
                "cloud/loop.py",
                "                        if ask.request:\n",
                "                        if ask.request and not lines:\n",
            ),
        ),
    ),
    "an-ended-run-is-still-wanted": Bug(
        "a centre is told to start what has ended",
        (
            (
                "cloud/loop.py",
                ".pop(run_id, None)\n                case _:",
                ".get(run_id, None)\n                case _:",
            ),
        ),
    ),
    "a-run-is-billed-at-todays-price": Bug(
        "a price that changes changes old bills",
        (
            (
                CORE + "state.py",
                "            price_micro_per_card_s=event.price_micro_per_card_s,\n",
                "            price_micro_per_card_s=self.price(event.allocation.chip) + 1,\n",
            ),
        ),
    ),
}


def plant(bug: Bug, source: Path, target: Path) -> None:
    """Copy `source` (the folder `forebay`) to `target` with the bug in it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for file, there, instead in bug.changes:
        text = (target / file).read_text()
        if there not in text:
            raise LookupError(f"{file} has no longer {there!r}: plant this bug anew")
        (target / file).write_text(text.replace(there, instead, 1))
