"""Where things lie in a centre's folder.

home/
  runs/<run>/        one attempt; root's, and closed to tenants but for work/ and tmp/
    spec.json        the order, written before anything starts
    status.json      what was last seen of it
    lock             held by its supervisor for life; holds the supervisor's last sign of life
    control          a pipe on which the supervisor hears "stop"
    stop             the wish to stop, for a supervisor that isn't there yet
    progress.json    what it last printed about its work
    log/             what it printed, in files named after their first byte's offset
    supervisor.log   what the supervisor itself had to complain about
    work/  tmp/      the unpacked bundle, and its temporary files
    share-0/ …       of a run over several machines: each machine's part, laid out as above
    meeting.json     and the port where their ranks meet
    exchange/        what an engine's own part on the nodes reads and writes, as whoever it runs as there
  outputs/<job>/     what the job leaves; outlives its attempts
  store/bundles/     packed code, by hash
  store/data/<organisation>/<version>/
  envs/<organisation>/<hash>/    packages laid over the base environment
  shim/              the compiled carrier of CUDA's words; read-only to jobs
  code/forebay       a link to this package: all that a base environment is shown of Forebay
  uids.json          which organisation is which user
  accounts/<organisation>/    of one whose jobs run as an account of the site: a home like this one, and that account's
"""

from __future__ import annotations

import re
from pathlib import Path

from forebay.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,199}")


def name(text: str) -> str:
    """`text`, if it can be the name of a file and of nothing else."""
    if not _NAME.fullmatch(text):
        raise BadInput("That can't be the name of a folder.", asked=repr(text), hint="letters, digits, and . _ @ + - inside")
    return text


def run(home: Path, run: str) -> Path:
    return home / "runs" / name(run)


def output(home: Path, job: str) -> Path:
    return home / "outputs" / name(job)


def bundle(home: Path, sha256: str) -> Path:
    return home / "store" / "bundles" / (name(sha256) + ".tar.gz")


def data(home: Path, organisation: str, version: str = "") -> Path:
    folder = home / "store" / "data" / name(organisation)
    return folder / name(version) if version else folder


def environments(home: Path, organisation: str) -> Path:
    return home / "envs" / name(organisation)


def shim(home: Path) -> Path:
    return home / "shim"


def code(home: Path) -> Path:
    return home / "code"


def job_program(home: Path) -> Path:
    return code(home) / "forebay" / "job" / "__main__.py"


def uids(home: Path) -> Path:
    return home / "uids.json"


def spec(run_dir: Path) -> Path:
    return run_dir / "spec.json"


def status(run_dir: Path) -> Path:
    return run_dir / "status.json"


def lock(run_dir: Path) -> Path:
    return run_dir / "lock"


def control(run_dir: Path) -> Path:
    return run_dir / "control"


def stop(run_dir: Path) -> Path:
    return run_dir / "stop"


def progress(run_dir: Path) -> Path:
    return run_dir / "progress.json"


def log(run_dir: Path) -> Path:
    return run_dir / "log"


def complaints(run_dir: Path) -> Path:
    return run_dir / "supervisor.log"


def work(run_dir: Path) -> Path:
    return run_dir / "work"


def temporary(run_dir: Path) -> Path:
    return run_dir / "tmp"


def door(run_dir: Path) -> Path:
    """Where a program of the run may listen for people who come through the cloud (`job/door.py`)."""
    return temporary(run_dir) / "door"


def share(run_dir: Path, number: int) -> Path:
    """The folder of one share of a run over several machines; it looks like that of a run on one."""
    return run_dir / f"share-{number}"


def meeting(run_dir: Path) -> Path:
    return run_dir / "meeting.json"


def exchange(run_dir: Path) -> Path:
    """What passes between an engine and its own part on the nodes."""
    return run_dir / "exchange"


def account(home: Path, organisation: str) -> Path:
    return home / "accounts" / name(organisation)
