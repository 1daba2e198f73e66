"""The clouds that tests share, one of each a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from forebay.codec import encode

from .clouds import NODES, Cloud, torn_down


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A cloud without an agent, whose centre has said which nodes it has. Nothing runs: jobs get cards and stay there."""
    with torn_down(Cloud()) as made:
        made.serve()
        with made.centre() as agent:
            agent.post("/agent/hello", json={"nodes": encode(NODES)}).raise_for_status()
        yield made


@pytest.fixture(scope="module")
def pool() -> Iterator[Cloud]:
    """A cloud and the agent of a centre of two CPU cards, as `forebay up` starts them."""
    with torn_down(Cloud()) as made:
        made.up(cards=2)
        yield made
