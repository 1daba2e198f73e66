"""A suite in the background (`nohup make test &`) ignores SIGINT and SIGHUP, and whatever it starts would inherit that.

A handler of one's own isn't inherited over an exec: what tests start has the usual signals, and the suite still outlives its
terminal.

Laws (hypothesis) are tried with the same examples at each run, and no example has a deadline: a change is refused for what it
does, never for another's luck or a busy machine (docs/decisions/0143). New examples are looked for by hand, and what they find
becomes a test or an `@example`:

    pytest --hypothesis-profile search tests/fabric/test_rates.py
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", patient, derandomize=True)
settings.register_profile("search", patient, max_examples=2000, print_blob=True)
settings.load_profile("suite")

# Of two processes (`make test`) each takes the next file when it is through with its own. These take longest and are dealt first:
# a long one that is dealt last leaves the other process with nothing to do.
LONGEST = (
    "centre/test_torch.py",
    "porting/certify/test_faults.py",
    "simulation/test_simulation.py",
    "cloud/test_shell.py",
    "porting/chip/test_fakechip.py",
    "porting/shim/test_launch.py",
    "porting/chip/test_fakechip_faults.py",
    "cloud/test_postgres.py",
    "cloud/test_backup.py",
    "cloud/test_journal.py",
    "porting/certify/test_engine.py",
    "cloud/test_agent.py",
    "porting/shim/test_compiled.py",
    "porting/certify/test_engine_resume.py",
    "porting/chip/test_add_your_chip.py",
    "cloud/test_access.py",
    "cloud/test_api.py",
    "cloud/test_metering.py",
    "cloud/test_safety.py",
    "cli/test_certify.py",
    "house/test_benchmarks.py",
    "cli/test_run.py",
    "centre/test_environment.py",
    "centre/test_shares.py",
    "cloud/test_kills.py",
    "cli/test_fabric.py",
    "porting/certify/test_sabotage.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several processes
        here, turn = Path(__file__).parent, {name: i for i, name in enumerate(LONGEST)}
        items.sort(key=lambda item: turn.get(item.path.relative_to(here).as_posix(), len(turn)))


if threading.current_thread() is threading.main_thread():
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
