"""How much anybody may ask: a bucket of tokens for each key, centre and address.

Asked:  one program in an endless loop must not take the cloud from all others, and nobody may guess keys. When is it too much?
Answer: each has a bucket that fills at a rate up to a burst; a request takes a token, and without one it is refused, with the
        time after which there is one again. Good keys have a bucket a key, agents one a centre, requests without a good key one
        an address. Jobs have buckets beside these: a batch of a thousand is one request and a thousand jobs.
Units:  requests or jobs, seconds.
Limits: in memory, so a restart fills all buckets. Behind a proxy all strangers have one address; good keys don't mind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests, or jobs, a second in the long run, and at once. 0 a second: no limit."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The limits of a cloud. Generous: fifty clients of one key that submit as fast as they can don't meet them."""

    key: Rate = Rate(per_s=2_000, burst=4_000)
    agent: Rate = Rate(per_s=4_000, burst=20_000)
    stranger: Rate = Rate(per_s=10, burst=200)  # an address without a good key
    job: Rate = Rate(per_s=10_000, burst=20_000)  # jobs that a key submits, alone or in batches


USUAL = Rates()


@dataclass(slots=True)
class Buckets:
    """The buckets of one kind, by whose they are."""

    rate: Rate
    clock: Callable[[], float]  # monotonic seconds
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)  # whose -> tokens, and when

    def take(self, whose: str, count: int = 1) -> float:
        """Take so many tokens. 0: they were there; else the seconds until they are. Who wants more than a bucket holds gets them
        out of a full one, and what is missing must fill up again before there are others.
        """
        rate = self.rate
        if not rate.per_s:
            return 0.0
        now = self.clock()
        tokens, at = self._left.get(whose, (rate.burst, now))
        tokens = min(rate.burst, tokens + (now - at) * rate.per_s)
        needed = min(float(count), rate.burst)
        if tokens >= needed:
            self._left[whose] = (tokens - count, now)
            if len(self._left) > MOST_BUCKETS:
                self._forget(now)
            return 0.0
        self._left[whose] = (tokens, now)
        return (needed - tokens) / rate.per_s

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again, and if that isn't enough, all: better to be generous than out of memory."""
        rate = self.rate
        self._left = {w: (n, at) for w, (n, at) in self._left.items() if n + (now - at) * rate.per_s < rate.burst}
        if len(self._left) > MOST_BUCKETS // 2:
            self._left.clear()
