"""A suite in the background (`nohup make test &`) ignores SIGINT and SIGHUP, and whatever it starts would inherit that.

A handler of one's own isn't inherited over an exec: what tests start has the usual signals, and the suite still outlives its
terminal.

Laws (hypothesis) are tried with the same examples at each run, and no example has a deadline: a change is refused for what it does,
never for another's luck or a busy machine (docs/decisions/0143). New examples are looked for by hand, and what they find becomes
a test or an `@example`:

    pytest --hypothesis-profile search tests/fabric/test_rates.py
"""

from __future__ import annotations

import signal
import threading

from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=2000, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

if threading.current_thread() is threading.main_thread():
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
