"""The agent's side of the protocol (`centre/agent.py`), in virtual time: the real one has threads and files and takes real time.

It says hello, waits for what is wanted, compares, launches, stops, reports, and drops what the cloud has journaled. It keeps
nothing over its own death; its engine goes on. Old answers to `wanted` are told from new ones by their versions, as the real
agent does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from forebay.centre.spec import Outcome, Phase, Seen, Spec
from forebay.chips.node import Condition, NodeState
from forebay.cloud import access
from forebay.cloud.api import agents
from forebay.codec import decode, encode
from forebay.errors import ForebayError, Stale

from .engine import Engine
from .network import Lost

if TYPE_CHECKING:
    from .world import Cloud, World


class Agent:
    def __init__(self, world: World, centre: str, engine: Engine) -> None:
        self.world, self.centre, self.engine = world, centre, engine
        self._dice = world.dice(f"agent {centre} {world.now_s}")
        self._news: dict[str, Any] | None = None
        self._told_version = -1
        self._met = False
        self._states: tuple[NodeState, ...] | None = None
        self._reported: dict[str, Seen] = {}
        self._stopping: set[str] = set()
        self._never_started: dict[str, Seen] = {}  # ended before the engine ever heard of them
        self._fetched_at_s: dict[str, float] = {}  # run -> when its code and data are here
        self._awake = asyncio.Event()
        engine.changed = self._awake.set
        self._tasks = [world.spawn(self._listen()), world.spawn(self._turns())]

    def die(self) -> None:
        self.engine.changed = lambda: None
        for task in self._tasks:
            task.cancel()

    async def _ask(self, what: Any, **body: Any) -> Any:
        key = self.world.centre_keys[self.centre]

        async def ask(cloud: Cloud) -> Any:
            centre = access.centre(cloud.desk.state, f"Bearer {key}")
            if what is agents.report:  # it hears of the centre itself, when the report isn't stale
                return await what(body, cloud.desk, centre)
            await agents._centre(cloud.desk, centre)
            if what is agents.wanted:
                return await what(cloud.desk, centre, body["after"], body["wait_s"], body["generation"], f"Bearer {key}")
            return await what(body, cloud.desk, centre)

        return await self.world.network.call(self.centre, ask)

    async def _listen(self) -> None:
        version, generation, pause_s = -1, None, 0.2
        while True:
            try:
                if not self._met:
                    self._told_version = -1
                    await self._ask(agents.hello, version=None, engine="simulated", nodes=encode(self.engine.nodes))
                    self._states, self._met = None, True
                    self._awake.set()
                news = await self._ask(agents.wanted, after=version, wait_s=40.0, generation=generation)
                version, generation, pause_s = news["version"], news["generation"], 0.2
                if version >= self._told_version:
                    self._news = news
                    if self._states is not None and news["troubled"] != _troubled(self._states):
                        self._states = None  # an older report has arrived after the newest
                self._awake.set()
            except (Lost, ForebayError):
                version, generation, self._met = -1, None, False
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)

    async def _turns(self) -> None:
        while True:
            await self._awake.wait()
            self._awake.clear()
            await asyncio.sleep(self._dice.random() * 0.2)
            try:
                await self._turn()
            except (Lost, ForebayError):
                await asyncio.sleep(0.5)
                self._awake.set()

    async def _turn(self) -> None:
        known = self._news
        if known is None:
            return
        handles = self.engine.handles()
        for want in known["runs"]:
            run = want["spec"]["name"]
            if run not in handles:
                self._begin(run, want)
            elif want["stop"] and run not in self._stopping:
                self._stopping.add(run)
                self.engine.stop(run, want["grace_s"])
        await self._tell(known)
        for run in known["send"]:
            await self.world.send_output(self.centre, run)

    def _begin(self, run: str, want: Any) -> None:
        """One step towards a launch: fetch, or launch what has been fetched."""
        if run in self._never_started:
            return
        if want["stop"]:
            self._never_started[run] = Seen(name=run, phase=Phase.ENDED, outcome=Outcome.STOPPED, reason=want["stop"])
            self.world.held_truly[run] = 0
            return
        now = self.world.now_s
        ready_s = self._fetched_at_s.get(run)
        if ready_s is None:
            ready_s = self._fetched_at_s[run] = now + (self._dice.random() * 5 if self._dice.random() < 0.3 else 0.0)
            if ready_s > now:
                self.world.loop.call_later(ready_s - now + 0.001, self._awake.set)
        if ready_s <= now:
            self.engine.launch(decode(Spec, want["spec"]))
            self._fetched_at_s.pop(run)

    async def _tell(self, known: dict[str, Any]) -> None:
        """`known`: what we have acted on."""
        wanted = {want["spec"]["name"] for want in known["runs"]}
        news: dict[str, Seen] = {}
        for run in self.engine.handles():
            seen = self.engine.look(run)
            unwanted = run not in wanted and seen.phase is not Phase.ENDED and run not in self._stopping
            known_as = self._reported.get(run)
            if unwanted or (known_as is not seen and known_as != seen):
                news[run] = seen
        news |= self._never_started
        states = self.engine.states()
        states_are_news = self._met and states != self._states
        if not news and not states_are_news:
            return
        try:
            answer = await self._ask(
                agents.report,
                seen=[encode(seen) for seen in news.values()],
                states=[encode(state) for state in states] if states_are_news else None,
                generation=known["generation"],
            )
        except Stale:
            self._ask_anew(known)
            raise
        if states_are_news:
            self._states = states
        over = [run for run, seen in news.items() if seen.phase is Phase.ENDED]
        self._told_version = max(self._told_version, answer["version"])
        if self._news is not None:
            self._news = {**self._news, "runs": [want for want in self._news["runs"] if want["spec"]["name"] not in over]}
        self._reported.update(news)
        for run in over:
            self.engine.forget(run)
            for known in (self._reported, self._never_started, self._fetched_at_s):
                known.pop(run, None)
            self._stopping.discard(run)
        for run in answer["gone"]:
            if run in self.engine.works and run not in self._stopping:
                self.world.note(f"{run} is not wanted by the cloud and is stopped")
                self._stopping.add(run)
                self.engine.stop(run, 0.0)

    def _ask_anew(self, stale: dict[str, Any]) -> None:
        """The cloud took us for away: do nothing until it has said what it wants now, then tell all that is true."""
        if self._news is not None and self._news["generation"] == stale["generation"]:
            self._news = None
        self._states = None
        self._reported.clear()


def _troubled(states: tuple[NodeState, ...]) -> dict[str, str]:
    return {state.name: state.condition.value for state in states if state.condition is not Condition.UP}
