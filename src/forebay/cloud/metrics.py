"""What `/metrics` says, in Prometheus' text format (exposition format 0.0.4). Pure.

Asked:  how is the cloud? Cards, jobs, waits, decisions, writes, requests, centres, money.
Answer: the state's own sums and what the process has counted. Nothing here walks over cards or over jobs that are through: it
        costs as much as there are centres with their chips, organisations, and runs that go on.
Limits: counts of the process (`counts.py`) begin anew at a restart, as Prometheus expects; those of the ledger don't.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from forebay import __version__
from forebay.cloud.core.job import Phase
from forebay.cloud.core.ledger import READ, Tally
from forebay.cloud.core.state import State
from forebay.cloud.counts import Counts, Histogram
from forebay.units import MICRO_PER_UNIT, NS_PER_S

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]
Sample = tuple[Labels, float]


def exposition(state: State, counts: Counts, now_ns: int, silent_s: Mapping[str, float], inbox: int) -> str:
    """`silent_s`: how long ago each centre that has joined was heard. `inbox`: requests that wait for the loop."""
    lines = [
        *_gauge("forebay_build_info", "The Forebay that this is.", [({"version": __version__}, 1)]),
        *_cards(state, now_ns),
        *_jobs(state, counts, now_ns),
        *_process(counts, inbox),
        *_centres(state, silent_s),
        *_money(state, now_ns),
    ]
    return "\n".join(lines) + "\n"


def _cards(state: State, now_ns: int) -> Iterator[str]:
    whole = [tally for tally in state.t.tallies.values() if not tally.organisation]
    kinds = ("used", "idle", "down", "others")
    yield from _gauge(
        "forebay_cards",
        "Cards by what they are now; others: held by others than Forebay at their centre.",
        [({**_where(tally), "state": kind}, getattr(tally, kind)) for tally in whole for kind in kinds],
    )
    spans = [(tally, dict(zip(READ, tally.reading(max(now_ns, tally.at_ns)), strict=True))) for tally in whole]
    yield from _counter(
        "forebay_card_seconds_total",
        "What cards were so far, by the cloud's clock. used + idle + down is all of their time.",
        [({**_where(tally), "state": kind}, span[f"{kind}_ns"] / NS_PER_S) for tally, span in spans for kind in kinds[:3]],
    )
    told = ("held", "measured", "active")
    yield from _counter(
        "forebay_held_card_seconds_total",
        "What runs held so far, by engines' clocks; of it what a monitor measured, and what was active then.",
        [({**_where(tally), "part": kind}, span[f"{kind}_ns"] / NS_PER_S) for tally, span in spans for kind in told],
    )
    yield from _gauge(
        "forebay_productive_card_seconds",
        "Of what was held, what steps that count cover. It falls where a run ends and loses steps.",
        [(_where(tally), span["productive_ns"] / NS_PER_S) for tally, span in spans],
    )
    indexes = [({"chip": chip}, compute) for chip, compute in state.t.indexes.items()]
    yield from _gauge("forebay_chip_compute", "Effective compute of a card, in cards of the reference chip.", indexes)


def _where(tally: Tally) -> Labels:
    return {"centre": tally.centre, "chip": tally.chip, "pretend": "true" if tally.pretend else "false"}


def _jobs(state: State, counts: Counts, now_ns: int) -> Iterator[str]:
    phases = Counter(state.t.jobs[state.t.runs[run].job].phase.value for run in state.live)
    phases[Phase.WAITING.value] = state.waiting
    open_phases = [phase.value for phase in Phase if not phase.over]
    yield from _gauge("forebay_jobs", "Jobs that aren't over, by phase.", [({"phase": p}, phases[p]) for p in open_phases])
    over = [({"phase": phase.value}, counts.finished.get(phase.value, 0)) for phase in Phase if phase.over]
    yield from _counter("forebay_jobs_finished_total", "Jobs that were over since this process started.", over)
    since = [state.t.jobs[job].submitted_at_ns for job in state.queue.jobs()]
    oldest_s = (now_ns - min(since)) / NS_PER_S if since else 0.0
    yield from _gauge("forebay_oldest_wait_seconds", "How long the job waits that was submitted first.", [({}, oldest_s)])
    yield from _gauge("forebay_idle_runs", "Runs whose cards were last seen to do nothing.", [({}, len(state.idle))])
    yield from _histogram(
        "forebay_queue_wait_seconds",
        "From a job's submission to its first launch, by the chip that it got.",
        [({"chip": chip}, waits) for chip, waits in counts.waits.items()],
    )


def _process(counts: Counts, inbox: int) -> Iterator[str]:
    yield from _histogram("forebay_decision_seconds", "Folding a fact and deciding what follows.", [({}, counts.decisions)])
    yield from _histogram("forebay_journal_append_seconds", "Writing a batch, to its sync.", [({}, counts.appends)])
    yield from _histogram("forebay_journal_batch_events", "Events written at a time.", [({}, counts.batches)])
    failed: list[Sample] = [({}, counts.failed_appends)]
    yield from _counter("forebay_journal_failures_total", "Batches that couldn't be written, and were refused.", failed)
    events = [({"kind": kind}, count) for kind, count in sorted(counts.events.items())]
    yield from _counter("forebay_events_total", "Lines of the journal, by kind.", events)
    yield from _gauge("forebay_inbox_requests", "Requests that wait for the loop.", [({}, inbox)])
    yield from _counter(
        "forebay_http_requests_total",
        "Requests answered, by route and status.",
        [
            ({"method": method, "route": route, "status": str(status)}, count)
            for (method, route, status), count in sorted(counts.requests.items())
        ],
    )
    yield from _histogram(
        "forebay_http_request_seconds",
        "To the last byte of the answer; routes that wait for news wait.",
        [({"route": route}, taken) for route, taken in sorted(counts.request_s.items())],
    )


def _centres(state: State, silent_s: Mapping[str, float]) -> Iterator[str]:
    joined = [centre for centre in state.t.centres.values() if centre.key_sha256]
    here = [({"centre": c.name}, 0 if c.away else 1) for c in joined]
    yield from _gauge("forebay_centre_up", "Whether a centre that has joined is heard of.", here)
    silent = [({"centre": c.name}, silent_s[c.name]) for c in joined if c.name in silent_s]
    yield from _gauge("forebay_centre_silent_seconds", "How long nothing was heard of a centre's agent.", silent)


def _money(state: State, now_ns: int) -> Iterator[str]:
    currency = state.t.currency
    yield from _gauge(
        "forebay_spent",
        "What an organisation was billed so far, credit notes taken off, in units of the currency.",
        [
            ({"organisation": name.rstrip("/"), "currency": currency}, account.spent_micro(now_ns) / MICRO_PER_UNIT)
            for name, account in state.accounts.whole.items()
            if name.endswith("/")
        ],
    )
    limits, spent = [], []
    for budget in state.t.budgets.values():
        labels = {"organisation": budget.organisation, "project": budget.project, "currency": currency}
        limits.append((labels, budget.limit_micro / MICRO_PER_UNIT))
        spent.append((labels, state.accounts.budgets[budget.name].spent_micro(now_ns) / MICRO_PER_UNIT))
    yield from _gauge("forebay_budget_limit", "What may be spent.", limits)
    yield from _gauge("forebay_budget_spent", "What of it is spent.", spent)
    prices = [chip for chip in {**state.t.prices, **state.t.price_history} if state.is_priced(chip, now_ns)]
    yield from _gauge(
        "forebay_price_per_card_second",
        "In units of the currency, for runs that are launched now.",
        [({"chip": chip, "currency": currency}, state.price(chip, now_ns) / MICRO_PER_UNIT) for chip in prices],
    )


# The format.


def _gauge(name: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(name, "gauge", about, samples)


def _counter(name: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    return _family(name, "counter", about, samples)


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{_labels(labels)} {_number(value)}"


def _histogram(name: str, about: str, samples: Iterable[tuple[Labels, Histogram]]) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} histogram"
    for labels, histogram in samples:
        so_far = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            so_far += count
            yield f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {so_far}"
        yield f"{name}_sum{_labels(labels)} {_number(histogram.sum)}"
        yield f"{name}_count{_labels(labels)} {so_far}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(float(value))
