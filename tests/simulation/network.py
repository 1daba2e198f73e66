"""Requests to the cloud over a network that loses, delays, repeats and overtakes; and a cloud that may not be there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from forebay.errors import ForebayError

if TYPE_CHECKING:
    from .world import Cloud, World

Asked = Callable[["Cloud"], Awaitable[Any]]


class Lost(Exception):
    """No answer came. Nobody knows whether the request was heard."""


async def over(task: asyncio.Task[Any]) -> None:
    """Wait for a task's end. Whoever waits may be cancelled, and the task goes on: what `asyncio.wait` does for many."""
    if task.done():
        return
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(_: asyncio.Task[Any]) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(tell)
    try:
        await ended
    finally:
        task.remove_done_callback(tell)


class Network:
    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice("network")
        self.broken: set[str] = set()  # those whose link is broken

    async def call(self, who: str, ask: Asked) -> Any:
        """What the cloud answers. Raises Lost, or the error that the cloud answers with."""
        plan, dice = self._world.plan, self._dice
        if who in self.broken or self._rolls(plan.drop):
            await asyncio.sleep(dice.random() * 5)
            raise Lost
        await self._delay()
        cloud = self._world.cloud
        if cloud is None:
            await asyncio.sleep(0.2 + dice.random())
            raise Lost
        task = cloud.serve(ask)
        if self._rolls(plan.repeat):
            self._world.spawn(self._repeat(ask))
        if self._rolls(plan.drop):  # the connection breaks while the cloud is at work on it
            await self._broken_off(task)
        await over(task)
        if task.cancelled() or who in self.broken or self._rolls(plan.drop):
            if not task.cancelled():
                task.exception()
            await asyncio.sleep(dice.random() * 5)
            raise Lost
        await self._delay()
        return task.result()

    async def _broken_off(self, task: asyncio.Task[Any]) -> None:
        await asyncio.sleep(self._dice.random() * 0.1)
        if not task.done():
            task.add_done_callback(self._unheard)
            await asyncio.sleep(self._dice.random() * 0.5)
            raise Lost

    def _unheard(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, ForebayError):
            self._world.fail(f"a request whose answer nobody hears met {error!r}", error)

    async def _repeat(self, ask: Asked) -> None:
        """The same request once more, later: overtaken by others, and nobody listens to its answer."""
        await asyncio.sleep(self._dice.random() * 3 * self._world.plan.longest_delay_s)
        if self._world.cloud:
            self._world.cloud.serve(ask).add_done_callback(self._unheard)

    async def _delay(self) -> None:
        dice, longest_s = self._dice, self._world.plan.longest_delay_s
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() * longest_s * (0.2 if self._world.calm else 1.0))

    def _rolls(self, chance: float) -> bool:
        return chance > 0 and not self._world.calm and self._dice.random() < chance
