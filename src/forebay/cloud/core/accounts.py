"""What organisations and projects have spent: an index of State, so that asking costs the same however many runs there are.

Asked:  how much of a budget is spent at this moment, runs that go on included?
Answer: ended runs are a sum. Those that go on cost so much a second together, since a mean moment; so theirs is a product.
Limits: the part of runs that go on is rounded down, once for all of them; when they end each is rounded on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forebay.cloud.core import money
from forebay.cloud.core.job import Job, Run
from forebay.cloud.core.money import Credit
from forebay.units import NS_PER_S


@dataclass(slots=True, kw_only=True)
class Account:
    """What was spent from a moment on."""

    from_ns: int = 0
    ended_micro: int = 0
    credited_micro: int = 0
    rate: int = 0  # of the runs that go on: micro-units a second
    rate_ns: int = 0  # the sum of rate x the moment from which it counts

    def spent_micro(self, now_ns: int) -> int:
        if now_ns < self.from_ns:
            return 0
        going_on = (now_ns * self.rate - self.rate_ns) // NS_PER_S
        return max(0, self.ended_micro + going_on - self.credited_micro)


class Accounts:
    """An account for every organisation ("acme/") and project ("acme/p") from the beginning, and one for every budget."""

    def __init__(self) -> None:
        self.whole: dict[str, Account] = {}
        self.budgets: dict[str, Account] = {}
        self._lists: dict[str, list[Account]] = {}  # project -> the accounts in which its runs count
        self._open: dict[str, tuple[str, int, int]] = {}  # run -> its project, rate, and the moment from which it counts

    def goes_on(self, run: Run, job: Job) -> None:
        """A run holds its cards, or doesn't any more because it waits in its centre's queue, or has ended."""
        name = f"{job.organisation}/{job.project}"
        before = self._open.get(run.id)
        now = None
        if not run.outcome and not run.queue_reason:
            now = (name, run.allocation.cards * run.price_micro_per_card_s, money.begins_ns(run))
        if before == now and not run.outcome:
            return
        for account in self._of(name):
            if before:
                _add(account, before[1], before[2], -1)
            if now:
                _add(account, now[1], now[2], 1)
            if run.outcome:
                earlier = money.cost_micro(run, account.from_ns) if account.from_ns > run.launched_at_ns else 0
                account.ended_micro += money.cost_micro(run, run.ended_at_ns) - earlier
        if now:
            self._open[run.id] = now
        elif before:
            del self._open[run.id]

    def credited(self, credit: Credit, job: Job) -> None:
        for account in self._of(f"{job.organisation}/{job.project}"):
            if credit.at_ns >= account.from_ns:
                account.credited_micro += credit.micro

    def drop(self, budget: str) -> None:
        self.budgets.pop(budget, None)
        self._lists.clear()

    def watch(self, budget: str, from_ns: int, runs: Iterable[tuple[Run, Job]], credits: Mapping[str, Credit]) -> None:
        """Open an account for a budget, with what was spent already."""
        self._lists.clear()
        account = self.budgets[budget] = Account(from_ns=from_ns)
        for run, job in runs:
            if budget not in (f"{job.organisation}/", f"{job.organisation}/{job.project}"):
                continue
            if run.outcome:
                account.ended_micro += money.cost_micro(run, run.ended_at_ns) - money.cost_micro(run, from_ns)
            elif run.id in self._open:
                _, rate, begins_ns = self._open[run.id]
                _add(account, rate, begins_ns, 1)
            if run.id in credits and credits[run.id].at_ns >= from_ns:
                account.credited_micro += credits[run.id].micro

    def _of(self, name: str) -> list[Account]:
        accounts = self._lists.get(name)
        if accounts is None:
            names = (f"{name.partition('/')[0]}/", name)
            whole = [self.whole.setdefault(each, Account()) for each in names]
            accounts = self._lists[name] = [*whole, *(self.budgets[each] for each in names if each in self.budgets)]
        return accounts


def _add(account: Account, rate: int, begins_ns: int, sign: int) -> None:
    account.rate += sign * rate
    account.rate_ns += sign * rate * max(begins_ns, account.from_ns)
