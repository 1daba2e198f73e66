"""What an agent says of its nodes, so that a cloud of the version before understands it."""

from __future__ import annotations

from forebay.centre.link import _told
from forebay.chips.node import Card, Node
from forebay.codec import decode

# The fields that 0.1 knew; it refuses a node with any other.
KNOWN_TO_0_1 = {"name", "chip", "cards", "island", "pretend"}


def test_a_plain_node_is_told_in_words_that_the_version_before_knows() -> None:
    node = Node(name="a", chip="cpu", cards=(Card(index=0, cores=(0,)),), island="i", pretend=True)
    assert set(_told(node)) <= KNOWN_TO_0_1
    assert set(_told(node)["cards"][0]) == {"index", "cores"}


def test_nothing_that_is_said_is_lost() -> None:
    full = Node(name="a", chip="h100-sxm", cards=(Card(index=0),), address="10.0.0.1", leaf="s1/l1", counted=True)
    for node in (full, Node(name="b", chip="cpu", cards=())):
        assert decode(Node, _told(node)) == node
