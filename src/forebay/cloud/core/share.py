"""Fair share as a clock: when would each job be through, if everybody always had exactly their share?

Asked:  organisations with weights share the pool, projects share their organisation's part, jobs their project's. Whose job goes
        first?
Answer: an account (the pool, an organisation, a project) has a virtual clock. While it has active jobs, it moves on by the card-
        seconds that one unit of weight below it would have got. A job that enters when its project's clock stands at V, and is L
        card-seconds large, would be through under exact sharing when that clock reaches V + L: its *tag*. Jobs are served by the
        time left until then. That is the order of weighted fair queueing (Parekh and Gallager, IEEE/ACM ToN 1993) with jobs for
        packets, and of the fair sojourn protocol (Friedman and Henderson, SIGMETRICS 2003): nobody ends much later than under
        exact sharing, and nearly everybody ends far earlier, because cards work on few jobs at a time and end them.
Decay:  what an organisation used counts against its weight, halved every `HALF_LIFE_S`: weight x 2^-(used part / due part), as in
        Slurm's multifactor priority (slurm.schedmd.com/priority_multifactor.html).
Limits: what a job's size is, is for `history.py` to say. A clock's step costs the same however many jobs there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.units import NS_PER_S

if TYPE_CHECKING:
    from forebay.cloud.core.tables import Tables

HALF_LIFE_S = 7 * 86400.0
ROOT = ""


@dataclass(slots=True, kw_only=True)
class Share:
    """The pool, an organisation ("acme") or a project ("acme/chat"), as far as sharing goes."""

    virtual: float = 0.0  # card-seconds that one unit of weight below it has got, while any was active
    seen: float = 0.0  # the parent's clock when ours was last moved on
    jobs: int = 0  # that are active, in all of it
    weights: float = 0.0  # of the active accounts right below; of a project: its jobs, each 1
    weight: float = 0.0  # its own beside its neighbours, while it is active; of the pool: its cards, in effective compute
    used: float = 0.0  # card-seconds held, decayed
    used_at_ns: int = 0


class Shares:
    """The clocks of all accounts. The accounts themselves are in the tables."""

    def __init__(self, tables: Tables) -> None:
        self._t = tables
        self._read: dict[tuple[str, str], tuple[float, float]] = {}  # clocks that were asked for, as long as they hold
        self._read_at_ns = -1

    def account(self, name: str) -> Share:
        found = self._t.shares.get(name)
        if found is None:
            found = self._t.shares[name] = Share()
        return found

    @property
    def cards(self) -> float:
        """Of the pool, in effective compute. One without cards is taken to have one."""
        root = self._t.shares.get(ROOT)
        return root.weight if root and root.weight else 1.0

    @property
    def is_sized(self) -> bool:
        """Whether anybody said how many cards there are."""
        root = self._t.shares.get(ROOT)
        return root is not None and root.weight > 0.0

    def resize(self, cards: float, now_ns: int) -> None:
        """The pool has so many cards from now on, in effective compute."""
        root = self.account(ROOT)
        if root.weight != cards:
            root.virtual, root.seen = self._root(root, now_ns), now_ns / NS_PER_S
            root.weight = cards
            self._read.clear()

    def enter(self, organisation: str, project: str, now_ns: int) -> float:
        """A job becomes active. Returns where its project's clock stands."""
        root, above, below = self._move_on(organisation, project, now_ns)
        if not above.jobs:
            above.weight = self._weight(organisation, root, now_ns)
            root.weights += above.weight
        if not below.jobs:
            known = self._t.projects.get(f"{organisation}/{project}")
            below.weight = known.weight if known else 1.0
            above.weights += below.weight
        below.weights += 1.0
        for account in (root, above, below):
            account.jobs += 1
        return below.virtual

    def leave(self, organisation: str, project: str, now_ns: int) -> None:
        """A job isn't active any more: it is over."""
        root, above, below = self._move_on(organisation, project, now_ns)
        for account in (root, above, below):
            account.jobs -= 1
        below.weights -= 1.0
        if not below.jobs:
            above.weights = above.weights - below.weight if above.jobs else 0.0
        if not above.jobs:
            root.weights = root.weights - above.weight if root.jobs else 0.0

    def use(self, organisation: str, card_s: float, now_ns: int) -> None:
        """So many card-seconds, in effective compute, were held."""
        for name in (ROOT, organisation):
            account = self.account(name)
            account.used = self._decayed(account, now_ns) + card_s
            account.used_at_ns = now_ns

    def clock(self, organisation: str, project: str, now_ns: int) -> tuple[float, float]:
        """Where a project's clock stands, and how fast it runs: card-seconds a second for each of its jobs. Changes nothing."""
        if now_ns != self._read_at_ns:
            self._read.clear()
            self._read_at_ns = now_ns
        known = self._read.get((organisation, project))
        if known is None:
            accounts = self._line(organisation, project)
            root, above, below = accounts
            rate = self.cards
            if below.jobs:
                rate *= above.weight / root.weights * below.weight / above.weights / below.weights
            known = self._read[(organisation, project)] = (self._clocks(accounts, now_ns)[2], rate)
        return known

    def _line(self, organisation: str, project: str) -> tuple[Share, Share, Share]:
        return self.account(ROOT), self.account(organisation), self.account(f"{organisation}/{project}")

    def _move_on(self, organisation: str, project: str, now_ns: int) -> tuple[Share, Share, Share]:
        accounts = self._line(organisation, project)
        clocks = self._clocks(accounts, now_ns)
        for account, clock, seen in zip(accounts, clocks, (now_ns / NS_PER_S, *clocks), strict=False):
            account.virtual, account.seen = clock, seen
        self._read.clear()
        return accounts

    def _clocks(self, accounts: tuple[Share, Share, Share], now_ns: int) -> tuple[float, float, float]:
        """Where the clocks of the pool, an organisation and a project stand."""
        root, above, below = accounts
        first = self._root(root, now_ns)
        second = above.virtual + ((first - above.seen) * above.weight / above.weights if above.jobs else 0.0)
        third = below.virtual + ((second - below.seen) * below.weight / below.weights if below.jobs else 0.0)
        return first, second, third

    def _root(self, root: Share, now_ns: int) -> float:
        if not root.jobs:
            return root.virtual
        return root.virtual + max(0.0, now_ns / NS_PER_S - root.seen) * self.cards / root.weights

    def _weight(self, organisation: str, root: Share, now_ns: int) -> float:
        """An organisation's weight beside the others that are active, after what it used of late."""
        known = self._t.organisations.get(organisation)
        weight = known.weight if known else 1.0
        account, all_used = self.account(organisation), self._decayed(root, now_ns)
        if all_used <= 0.0 or not root.jobs:
            return weight
        due = weight / (weight + root.weights)
        return max(weight * math.exp(-math.log(2.0) * self._decayed(account, now_ns) / all_used / due), weight / 64)

    def _decayed(self, account: Share, now_ns: int) -> float:
        ago_s = (now_ns - account.used_at_ns) / NS_PER_S
        return account.used * math.exp(-math.log(2.0) * ago_s / HALF_LIFE_S) if account.used else 0.0
