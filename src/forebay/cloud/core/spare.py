"""How long a run that has begun is let be, whoever would go before it. Pure.

Asked:  a run began a minute ago, and a job comes that is due earlier. Is it to be stopped at once?
Answer: not before it has worked ten times as long as beginning cost, so that hardly more than a tenth of what is held is lost by
        stopping. For a job of its own organisation with a higher priority, once as long: without that, jobs of which each goes
        before the next by another rule would stop each other for ever.
Limits: what beginning costs is what the job says (`restart_s`). Whoever is owed cards, or maintenance, waits for nobody.
"""

from __future__ import annotations

from forebay.cloud.core.job import Job, Run
from forebay.units import NS_PER_S

WORKS = 10.0  # times what beginning cost
LEAST_S = 1.0
MOST_S = 3600.0  # or once what beginning cost, if that is more: a word of its owner's keeps no run on its cards for days
PREPARES_S = 300.0  # a run that hasn't begun by then is taken to have


def spared_until_ns(run: Run, job: Job, times: float = WORKS) -> int:
    since_ns = run.running_at_ns or run.launched_at_ns + int(PREPARES_S * NS_PER_S)
    works_s = min(times * job.restart_s, max(MOST_S, job.restart_s))
    return since_ns + int(max(works_s, LEAST_S) * NS_PER_S)
