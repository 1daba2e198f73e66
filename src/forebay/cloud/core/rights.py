"""What an organisation may hold: its quota, what it may borrow, and what it gets back from those that borrowed.

Asked:  may these cards go to this organisation; if none is free, whose must give way?
Answer: an organisation is guaranteed the cards of its quota. Beyond them it may borrow what its cohort's quotas, and the part of
        the pool that is guaranteed to nobody, leave over, up to its own limit. Whoever holds more than is guaranteed to it has
        borrowed, and gives way to an organisation that wants what is its own, whether its runs can be gone on with or not.
Limits: a quota in COMPUTE limits and guarantees the sum over all chips; what is borrowed in it is told by chip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from forebay.cloud.core.tables import Tables
from forebay.cloud.core.tenant import COMPUTE, Quota


class Rights:
    """Sums over quotas and over what is held, so that a question costs the same with a thousand organisations."""

    def __init__(self, tables: Tables, held: Mapping[str, int]) -> None:
        self._t = tables
        self._held = held  # "organisation/chip" -> cards
        self._of_cohort: Counter[tuple[str, str]] = Counter()  # (cohort, chip) -> cards guaranteed in it
        self._of_chip: Counter[str] = Counter()  # chip -> cards guaranteed to anybody
        self._held_by: Counter[tuple[str, str]] = Counter()  # (cohort, chip) -> cards held
        self._borrowed: Counter[str] = Counter()  # chip -> cards held beyond their guarantees, by all
        self.refresh()

    def refresh(self) -> None:
        """Quotas or cohorts changed."""
        self._of_cohort.clear()
        self._of_chip.clear()
        self._held_by.clear()
        self._borrowed.clear()
        for quota in self._t.quotas.values():
            self._of_cohort[(self._cohort(quota.organisation), quota.chip)] += quota.cards
            self._of_chip[quota.chip] += quota.cards
        for name, cards in self._held.items():
            organisation, _, chip = name.rpartition("/")
            self._held_by[(self._cohort(organisation), chip)] += cards
            self._borrowed[chip] += max(0, cards - self.guarantee(organisation, chip))

    def count(self, organisation: str, chip: str, cards: int) -> None:
        """It holds so many cards more. To be told before `held` says so."""
        before = self._held.get(f"{organisation}/{chip}", 0) - self.guarantee(organisation, chip)
        self._held_by[(self._cohort(organisation), chip)] += cards
        self._borrowed[chip] += max(0, before + cards) - max(0, before)

    def quota(self, organisation: str, chip: str) -> Quota | None:
        return self._t.quotas.get(f"{organisation}/{chip}")

    def guarantee(self, organisation: str, chip: str) -> int:
        quota = self.quota(organisation, chip)
        return quota.cards if quota else 0

    def borrows(self, organisation: str, chip: str) -> int:
        """Cards that it holds beyond its guarantee."""
        return self._held.get(f"{organisation}/{chip}", 0) - self.guarantee(organisation, chip)

    def any_borrowed(self, chip: str) -> bool:
        return self._borrowed[chip] > 0

    def is_owed(self, organisation: str, chip: str, cards: int) -> bool:
        """Whether it would hold no more than is guaranteed to it with so many cards more."""
        return self.quota(organisation, chip) is not None and self.borrows(organisation, chip) + cards <= 0

    def why_not(self, organisation: str, chip: str, cards: int, total: int) -> str:
        """Why it may not hold so many cards more; empty: it may. `total`: cards of the chip in the pool."""
        quota = self.quota(organisation, chip)
        if quota is not None:
            beyond = self.borrows(organisation, chip) + cards
            if beyond > 0:
                if quota.borrow is not None and beyond > quota.borrow:
                    return f"{organisation} may hold {quota.cards + quota.borrow} {chip}"
                cohort = self._cohort(organisation)
                left = self._of_cohort[(cohort, chip)] + max(0, total - self._of_chip[chip]) - self._held_by[(cohort, chip)]
                if cards > left:
                    return f"all that {organisation} may borrow of {chip} is lent"
        compute = self.quota(organisation, COMPUTE)
        if compute is not None and compute.borrow is not None:
            held = sum(n * self._t.indexes.get(c, 1.0) for c, n in self._chips_of(organisation))
            if held + cards * self._t.indexes.get(chip, 1.0) > compute.cards + compute.borrow:
                return f"{organisation} may hold {compute.cards + compute.borrow} cards' worth of compute"
        return ""

    def _chips_of(self, organisation: str) -> list[tuple[str, int]]:
        return [(chip, n) for name, n in self._held.items() for owner, _, chip in [name.rpartition("/")] if owner == organisation]

    def _cohort(self, organisation: str) -> str:
        known = self._t.organisations.get(organisation)
        return known.cohort if known else ""
