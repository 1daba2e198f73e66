"""A run is one job, once, whoever is killed between deciding and writing down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from forebay.centre import layout
from forebay.centre.slurm import request as requests
from forebay.centre.slurm.commands import Commands
from forebay.centre.slurm.request import Request
from forebay.centre.slurm.run import JOB, REQUEST
from forebay.centre.spec import Handle, Outcome, Phase
from forebay.codec import encode
from forebay.errors import Unavailable

from ..conftest import until
from .conftest import SlurmCentre, joined
from .site import SIX, Site, missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ONCE = "open('out/starts', 'a').write('x')\nprint('up', flush=True)\n"
# Drives the engine over a home to the point in question, and is killed there.
DRIVER = """
import json, os, signal, sys, threading, time
from pathlib import Path
from forebay.centre.settings import Settings
from forebay.centre.slurm.commands import Commands, environment
from forebay.centre.slurm.engine import Slurm
from forebay.centre.spec import Spec
from forebay.codec import decode

home, conf, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

class Deadly(Commands):
    def submit(self, request):
        if point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().submit(request)
        os.kill(os.getpid(), signal.SIGKILL)

told = decode(Settings, json.loads(sys.argv[5]))
engine = Slurm(home, told, Deadly(conf=conf), variables=environment(conf))
engine.launch(decode(Spec, json.loads(sys.argv[4])))
time.sleep(30)
"""


@pytest.mark.parametrize("point", ["before", "after"])
def test_an_agent_that_is_killed_beside_its_sbatch_starts_the_run_once(site: Site, point: str) -> None:
    with joined(site) as centre:
        import json

        spec = centre.spec(ONCE, cards=1)
        centre.engine.close()
        words = [str(centre.home), str(site.conf), point, json.dumps(encode(spec)), json.dumps(encode(centre.told))]
        driver = subprocess.run([sys.executable, "-c", DRIVER, *words], timeout=60, check=False)
        run_dir = layout.run(centre.home, "j-1")
        assert driver.returncode == -signal.SIGKILL
        assert (run_dir / REQUEST).exists()
        assert not (run_dir / JOB).exists()
        centre.engine = centre.open()
        assert centre.end(Handle(str(run_dir))).outcome is Outcome.SUCCEEDED
        assert (layout.output(centre.home, "j") / "starts").read_text() == "x"
        assert len(ours(centre)) == 1


class Deaf(Commands):
    """Commands whose first sbatch arrives, and whose answer doesn't."""

    def __init__(self, conf: str, arrives: bool) -> None:
        super().__init__(conf=conf)
        self.arrives = arrives
        self.tries = 0

    def submit(self, request: Request) -> str:
        self.tries += 1
        if self.tries > 1:
            return super().submit(request)
        if self.arrives:
            super().submit(request)
        raise Unavailable("Slurm doesn't answer.", asked="sbatch", found="nothing in 60 s")


@pytest.mark.parametrize("arrives", [True, False])
def test_an_sbatch_that_timed_out_is_looked_for_before_it_is_said_again(site: Site, arrives: bool) -> None:
    with joined(site) as centre:
        deaf = Deaf(str(site.conf), arrives)
        centre.engine._watch.transport = deaf
        assert centre.run(ONCE, cards=1).outcome is Outcome.SUCCEEDED
        assert (layout.output(centre.home, "j") / "starts").read_text() == "x"
        assert (deaf.tries, len(ours(centre))) == (1 if arrives else 2, 1)


def test_a_second_job_of_the_same_run_leaves_at_once_and_is_cancelled_where_it_waits(centre: SlurmCentre) -> None:
    handle = centre.launch(ONCE + "import time; time.sleep(4)", cards=1, on="a1")
    until(lambda: centre.lines())
    asked = centre.engine._watch.request(centre.order().spec)
    late = Commands(conf=str(centre.site.conf)).submit(asked)  # a request that was given up for lost arrives after all
    assert centre.end(handle).outcome is Outcome.SUCCEEDED
    assert until(lambda: centre.site.jobs()[late]["JobState"]) in ("CANCELLED", "COMPLETED", "PENDING")
    assert (layout.output(centre.home, "j") / "starts").read_text() == "x"


def test_an_agent_that_was_away_finds_what_became_of_its_runs(centre: SlurmCentre) -> None:
    ends = centre.launch(ONCE, cards=1, on="a1")
    waits = centre.launch(
        "import os, time\nprint('up')\nwhile not os.path.exists('out/go'): time.sleep(0.1)", name="k-1", on="a2"
    )
    until(lambda: centre.lines("k-1"))
    centre.engine.close()
    until(lambda: centre.site.jobs()[centre.job_of_ended()]["JobState"] == "COMPLETED")
    centre.engine = centre.open()
    assert centre.end(ends).outcome is Outcome.SUCCEEDED
    assert centre.engine.look(waits).phase is Phase.RUNNING
    (layout.output(centre.home, "k") / "go").touch()
    assert centre.end(waits).outcome is Outcome.SUCCEEDED


def test_a_job_that_slurm_has_forgotten_is_judged_by_what_it_left(tmp_path: Path) -> None:
    if lacks := missing():
        pytest.skip(lacks)
    with Site(SIX[2:4], min_job_age_s=2, rest=False) as site, joined(site) as centre:
        well = centre.launch(ONCE, cards=1, on="a1")
        badly = centre.launch("import time\nprint('up', flush=True)\ntime.sleep(600)", name="k-1", cards=1, on="a2")
        until(lambda: centre.lines("k-1"))
        centre.engine.close()
        site.cancel(centre.job_of_ended("k-1"))
        # slurmctld looks every minute for what it may forget, or when it writes its state down.
        site.until(lambda: not ({centre.job_of_ended(), centre.job_of_ended("k-1")} & set(site.jobs())), 100)
        centre.engine = centre.open()
        assert centre.end(well).outcome is Outcome.SUCCEEDED
        seen = centre.end(badly)
        assert seen.outcome is Outcome.PREEMPTED
        assert seen.held_ns > 0


def test_stopping_before_slurm_was_asked_starts_nothing(site: Site) -> None:
    with joined(site) as centre:
        centre.engine._watch.transport = Deaf(str(site.conf), False)
        site.stop_slurmctld()
        try:
            handle = centre.launch(ONCE, cards=1)
            time.sleep(0.5)
            centre.engine.stop(handle, 1)
        finally:
            site.start_slurmctld()
        assert centre.end(handle).outcome is Outcome.STOPPED
        assert ours(centre) == []


def test_many_short_jobs_are_each_run_once(centre: SlurmCentre) -> None:
    handles = [centre.launch(ONCE, name=f"n{i}-1", on=("a1", "a2", "h1", "h2")[i % 4], cards=1) for i in range(24)]
    seen = [centre.end(handle, 120) for handle in handles]
    assert {one.outcome for one in seen} == {Outcome.SUCCEEDED}
    assert {(layout.output(centre.home, f"n{i}") / "starts").read_text() for i in range(24)} == {"x"}
    assert len(ours(centre)) == 24


def ours(centre: SlurmCentre) -> list[dict[str, Any]]:
    """Slurm's jobs of this centre."""
    mark = f"{requests.PREFIX}{centre.engine._tag}-"
    return [job for job in centre.site.jobs().values() if job["JobName"].startswith(mark)]


def test_nothing_of_this_file_is_left_running() -> None:
    assert not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _is_driver(pid)]


def _is_driver(pid: str) -> bool:
    try:
        return b"Deadly(Commands)" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
