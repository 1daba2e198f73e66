"""The real journal on a disk that fails: it refuses a batch, dies before or after a commit, or says no although it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.cloud.core import events as e
from forebay.cloud.core.state import State
from forebay.cloud.journal import Answer, Journal
from forebay.errors import Unavailable

if TYPE_CHECKING:
    from .world import World


class Disk(Journal):
    """A journal that tells the world what has become safe."""

    world: World

    def append(self, events: Sequence[e.Event], state: State, answers: Sequence[Answer] = ()) -> None:
        world, before = self.world, self.seq
        if world.happens("disk", world.plan.disk_fails):
            raise Unavailable("The disk is full, in the simulation.")
        if events and world.happens("crash", world.plan.crash_in_write):
            world.note("the cloud dies before a commit")
            world.crash_cloud()
            raise Unavailable("The cloud died, in the simulation.")
        super().append(events, state, answers)
        if events:
            world.committed(events, state, before)
        if events and world.happens("crash", world.plan.crash_in_write):
            world.note("the cloud dies after a commit")
            world.crash_cloud()
            raise Unavailable("The cloud died, in the simulation.")
        if events and world.happens("disk", world.plan.disk_fails / 2):
            world.note("the disk said no, although it wrote")
            raise Unavailable("The disk said no, in the simulation.")
