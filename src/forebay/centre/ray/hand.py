"""The hand: the one process of a centre that speaks to Ray. It is started when something is wanted and let go when nothing is.

Asked:  the agent must stay small and never wait; Ray's driver is large, hangs when the head is away, and dies when it comes back
        changed. Who speaks to Ray?
Answer: a process of its own. What must be true lies in the centre's folder, and what is seen goes there, so that it may die at
        any moment and be started again. Over its pipes it only says which nodes there are, and hears that it should look again.

    engine -> hand   {"home", "told", "tag", "shim"}                        first
                     {"say": "look"}                                something in the folder has changed
                     {"say": "dial", "run", "at"}                   connect a run's door to the socket of this name
                     (the end)                                      leave; runs go on
    hand -> engine   {"say": "nodes", "hosts": [...], "placed": [...]}
                     {"say": "beat"}                                as before
                     {"say": "away", "why"}                         the cluster can't be reached
                     {"say": "undialled", "at", "why"}
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from forebay import codec
from forebay.centre import layout
from forebay.centre.ray.carry import Carrier
from forebay.centre.ray.world import World
from forebay.centre.settings import Settings
from forebay.errors import ForebayError

LOOK_S = 1.0  # between two looks at Ray's nodes
HANGS_S = 4.0  # after which a look that hasn't come back says that the head is away
AGAIN_S = 2.0  # before something that failed is tried again
LINGER_S = 3.0  # a run that has ended counts as placed for this long: Ray's figures may be older


def main() -> None:
    mouth = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever Ray prints
    told = json.loads(sys.stdin.readline())
    home = Path(told["home"])
    alone = os.open(home / "ray" / "hand.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alone, fcntl.LOCK_EX)  # an earlier hand may be on its way out
    world = World(home, codec.decode(Settings, told["told"], strict=False), told["tag"], told["shim"])
    asyncio.run(Hand(world, mouth).serve())


def look_once() -> None:
    """Print the nodes of the cluster that the settings in our argument name, and leave."""
    told = codec.decode(Settings, json.loads(sys.argv[1]), strict=False)
    world = World(Path("/nonexistent"), told, "")
    world.connect()
    asyncio.run(world.look())
    print(json.dumps(codec.encode(world.hosts)))


class Hand:
    """The process, as it serves one engine."""

    def __init__(self, world: World, mouth: TextIO) -> None:
        self._world = world
        self._home = world.home
        self._mouth = mouth
        self._carriers: dict[str, Carrier] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, float] = {}  # runs that are over, and when we saw it
        self._last: Any = None
        self._pumps: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        self._world.say_nodes = self._tell_nodes
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._hear, args=(loop,), daemon=True).start()
        await self._connect()
        await self._world.look()
        watching = asyncio.ensure_future(self._watch())
        while True:
            self._take_up()
            await self._world.nudged(LOOK_S)
            if watching.done():  # Ray's own process state is broken: the engine starts another of us
                watching.result()

    async def _connect(self) -> None:
        while True:
            try:
                return await asyncio.to_thread(self._world.connect)
            except ForebayError as error:
                self._say({"say": "away", "why": error.text + (f" ({error.found})" if error.found else "")})
                self._stop_unplaced()
                await self._world.nudged(AGAIN_S)

    def _stop_unplaced(self) -> None:
        """A run that was never asked of Ray can be stopped without it."""
        for run_dir in self._runs():
            if layout.stop(run_dir).exists() and not any((run_dir / name).exists() for name in ("placing.json", "seen.json")):
                Carrier(self._world, run_dir).end_unplaced()

    # Nodes.

    async def _watch(self) -> None:
        """Keep the nodes true, and say so each second."""
        look = asyncio.ensure_future(self._world.look())
        while True:
            done, _ = await asyncio.wait({look}, timeout=HANGS_S)
            if done:
                look.result()
                self._tell_nodes()
                await asyncio.sleep(LOOK_S)
                look = asyncio.ensure_future(self._world.look())
            else:
                self._say(
                    {"say": "away", "why": f"The head of the Ray cluster at {self._world.told.ray.address} doesn't answer."}
                )
                self._last = None

    def _tell_nodes(self) -> None:
        now_s = time.monotonic()
        self._ended = {
            run: at_s for run, at_s in self._ended.items() if now_s - at_s < LINGER_S or (self._home / "runs" / run).exists()
        }
        placed = [run for run, carrier in self._carriers.items() if carrier.placed]
        placed += [run for run, at_s in self._ended.items() if now_s - at_s < LINGER_S]
        news = {"say": "nodes", "hosts": codec.encode(self._world.hosts), "placed": sorted(placed)}
        self._say(news if news != self._last else {"say": "beat"})
        self._last = news

    # Runs.

    def _runs(self) -> list[Path]:
        return [path for path in (self._home / "runs").iterdir() if layout.spec(path).exists()]

    def _take_up(self) -> None:
        """Carry every run that isn't over."""
        for run_dir in self._runs():
            name = run_dir.name
            task = self._tasks.get(name)
            if name not in self._ended and task is None:
                self._carriers[name] = Carrier(self._world, run_dir)
                self._tasks[name] = asyncio.ensure_future(self._carry(name))

    async def _carry(self, name: str) -> None:
        try:
            await self._carriers[name].carry()
            self._ended[name] = time.monotonic()
        except Exception:
            traceback.print_exc()  # into hand.log; it is taken up again from what is on disk
            await asyncio.sleep(AGAIN_S)
        finally:
            del self._carriers[name], self._tasks[name]
            self._world.nudge()

    # The engine.

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        for line in sys.stdin:
            word = json.loads(line)
            loop.call_soon_threadsafe(self._heed, word)
        os._exit(0)  # the engine has gone

    def _heed(self, word: dict[str, Any]) -> None:
        if word["say"] == "dial":
            task = asyncio.ensure_future(self._dial(word["run"], word["at"]))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)
        else:
            self._world.nudge()

    def _say(self, word: dict[str, Any]) -> None:
        try:
            self._mouth.write(json.dumps(word) + "\n")
            self._mouth.flush()
        except BrokenPipeError:
            os._exit(0)

    # Doors.

    async def _dial(self, run: str, at: str) -> None:
        """Connect the door of a run to a socket of the engine's, and pass on what each side says."""
        try:
            carrier = self._carriers.get(run)
            if carrier is None:
                raise ForebayError("The run isn't going on.")
            door = await carrier.dial()
            reader, writer = await asyncio.open_unix_connection(at)
        except (ForebayError, OSError) as error:
            self._say({"say": "undialled", "at": at, "why": str(error)})
            return
        inward = asyncio.ensure_future(_pass_on(reader, carrier, door))
        with contextlib.suppress(Exception):
            while body := await carrier.hear(door):
                writer.write(body)
                await writer.drain()
        writer.close()
        inward.cancel()


async def _pass_on(reader: asyncio.StreamReader, carrier: Carrier, door: int) -> None:
    with contextlib.suppress(Exception):
        while True:
            body = await reader.read(65536)
            await carrier.say(door, body)
            if not body:
                return


if __name__ == "__main__":
    main()
