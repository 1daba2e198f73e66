"""What is true of a run that is spread over several machines, given what is true of each share. Pure.

Asked:  the shares' supervisors know their own ranks only. How far is the run, how did it end, how long were its cards held?
Answer: it runs when every share runs; it has ended when every share has. The first share that ended badly by itself says why:
        the others were only told to stop because of it. Cards are held from the first share's start to the last one's end.
Limits: starts of different machines are compared by their wall clocks, the time from there on is each machine's monotonic one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forebay.centre.spec import Artefact, Outcome, Phase, Seen, Use

_ORDER = (Phase.QUEUED, Phase.PREPARING, Phase.RUNNING, Phase.ENDED)
# Which end explains the others, the most telling first: a share that was stopped was stopped because of another.
_TELLING = (
    Outcome.UNFIT,
    Outcome.UNPREPARED,
    Outcome.FAILED,
    Outcome.LOST,
    Outcome.REVOKED,
    Outcome.STOPPED,
    Outcome.PREEMPTED,
    Outcome.SUCCEEDED,
)


def combine(name: str, shares: Sequence[Seen | None]) -> Seen:
    """The run of these shares. None stands for a share of which nothing is known yet."""
    known = [share for share in shares if share is not None]
    if not known:
        return Seen(name=name, phase=Phase.PREPARING)
    if len(shares) == 1:
        return replace(known[0], name=name)
    phase = min((share.phase for share in known), key=_ORDER.index)
    if len(known) < len(shares):
        phase = min(phase, Phase.PREPARING, key=_ORDER.index)
    started_at_ns = min((share.started_at_ns for share in known if share.started_at_ns), default=0)
    seen = Seen(
        name=name,
        phase=phase,
        started_at_ns=started_at_ns,
        running_at_ns=max(share.running_at_ns for share in known) if all(share.running_at_ns for share in known) else 0,
        checkpoint_at_ns=max(share.checkpoint_at_ns for share in known),
        carrier=next((share.carrier for share in known if share.carrier), ""),
        artefacts=_artefacts(known),
        bound={node: cards for share in known for node, cards in share.bound.items()},
        checks=tuple(check for share in known for check in share.checks),
        use=_use([share.use for share in known if share.use is not None]),
    )
    return _ended(seen, known) if phase is Phase.ENDED else seen


def _ended(seen: Seen, shares: Sequence[Seen]) -> Seen:
    telling = min(shares, key=lambda share: (_TELLING.index(share.outcome or Outcome.LOST), share.ended_at_ns))
    return replace(
        seen,
        ended_at_ns=max(share.ended_at_ns for share in shares),
        held_ns=max(share.started_at_ns + share.held_ns for share in shares) - seen.started_at_ns,
        outcome=telling.outcome,
        exit_code=telling.exit_code,
        failed_rank=telling.failed_rank,
        reason=telling.reason,
    )


def _use(uses: Sequence[Use]) -> Use | None:
    """Of all shares. Steps are printed by one of them, and are everybody's."""
    if not uses:
        return None
    return Use(
        held_ns=sum(use.held_ns for use in uses),
        measured_ns=sum(use.measured_ns for use in uses),
        active_ns=sum(use.active_ns for use in uses),
        productive_ns=max(use.productive_ns for use in uses),
        saved_ns=max(use.saved_ns for use in uses),
    )


def _artefacts(shares: Sequence[Seen]) -> tuple[Artefact, ...]:
    """Of all shares, each path once: they may look at one folder."""
    found = {artefact.path: artefact for share in shares for artefact in share.artefacts}
    return tuple(found[path] for path in sorted(found))
