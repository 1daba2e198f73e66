"""One run, carried through Ray from its spec to its end.

Asked:  how does a run happen exactly once, when the agent, this process, a node or the whole cluster may vanish in the middle?
Answer: every step may be taken again. What has the run's name is taken, not made anew. Before the group is asked for, and before
        the first share is begun, a mark is written down: what was begun and can't be found any more is lost, and nothing else is.
        What is seen goes to `seen.json` in the run's folder, where the engine reads it.

    runs/<run>/spec.json     the spec, by the engine
               stop          the wish to stop, by the engine
               placing.json  a group may have been asked for
               begun.json    shares may have been begun
               seen.json     what is true of the run now
               share-0/ …    logs and progress: the nodes' own where they see this folder, else copies
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files, gang, layout, log
from forebay.centre.ray import group, parcels
from forebay.centre.ray.bring import Output
from forebay.centre.ray.parcels import Parcel
from forebay.centre.ray.world import Gone, World
from forebay.centre.spec import Outcome, Phase, Seen, Spec
from forebay.errors import BadInput, ForebayError, Unavailable

FOLLOW_S = 1.0  # how long a launcher waits for something to say
SILENT_S = 3.0  # without an answer for so long, the node itself is looked at
PENDING_S = (0.05, 0.5)  # between two looks at a group that waits: at first, and later
ASIDE_S = 5.0  # grace for shares whose sibling is lost
FORGOTTEN_S = 5.0  # after a new cluster was met, until the launchers of the old one have noticed it too


class Over(Exception):
    """The run has come to its end before its shares could say so."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


@dataclass(slots=True)
class Part:
    """What is known of one share."""

    launcher: Any = None
    hello: dict[str, Any] | None = None
    seen: Seen | None = None
    progress: Any = None
    heard_ns: int = 0


class Carrier:
    """One run on its way."""

    def __init__(self, world: World, run_dir: Path) -> None:
        self.world = world
        self.run_dir = run_dir
        self.spec = codec.decode(Spec, files.read_json(layout.spec(run_dir)), strict=False)
        self.parts = [Part() for _ in self.spec.shares]
        self.placed = False  # it holds what it asked Ray for
        self.own = bool(world.told.ray.node_home)  # the nodes have folders of their own
        self._taken_up = self._mark("begun").exists()
        self._wish: Any = None
        self._told: Seen | None = None
        self._output: Output | None = None  # where the nodes don't see our folder

    async def carry(self) -> None:
        """To the end, or as far as it is known."""
        last = files.read_json(self.run_dir / "seen.json")
        if last is not None and last["phase"] == Phase.ENDED.value:
            return
        if self.own:
            self._output = Output(self.run_dir, self.spec, self.world.centre, self._ask_first, self._tell)
        try:
            await self._place()
            await self._send_launchers()
            await self._begin()
            await self._follow()
        except Over as over:
            self._end_all(over.outcome, over.reason)
        except ForebayError as error:
            self._end_all(Outcome.UNPREPARED, str(error))
        await self._let_go()
        self._tell(durable=True)

    def end_unplaced(self) -> None:
        """End a run that was to stop before Ray ever heard of it."""
        self._end_all(Outcome.STOPPED, "It was asked to stop before its ranks were started.")
        self._tell(durable=True)

    # Its door.

    async def dial(self) -> int:
        door: int = await self._at_the_door("dial")
        return door

    async def say(self, door: int, body: bytes) -> None:
        await self._at_the_door("say", door, body)

    async def hear(self, door: int) -> bytes:
        body: bytes = await self._at_the_door("hear", door)
        return body

    async def _at_the_door(self, word: str, *arguments: Any) -> Any:
        part = self.parts[0]
        if part.seen is None:
            raise Unavailable("The run's door isn't open.", asked=self.spec.name)
        try:
            return await self.world.ask(part.launcher, word, *arguments, patience_s=SILENT_S, there=lambda: self._is_there(0))
        except Gone as gone:
            raise Unavailable("The run's door can't be reached.", asked=self.spec.name, found=str(gone)) from None

    # Cards.

    async def _place(self) -> None:
        name = group.group_name(self.world.tag, self.spec.name)
        begun = self._mark("begun").exists()
        if not self._mark("placing").exists():
            self._heed_early()
            wanted = self._wanted()
            files.write_json(self._mark("placing"), {}, durable=True)
        found = await self.world.find_group(name)
        if found is None:
            if begun:
                await asyncio.sleep(FORGOTTEN_S)
                raise Over(
                    Outcome.LOST, "The Ray cluster was started anew and has forgotten the run, whose processes ended with it."
                )
            self._heed_early()
            wanted = self._wanted()
            found = await self.world.make_group(wanted)
        pause_s = PENDING_S[0]
        while (told := await self.world.group_state(name))[0] != "CREATED":
            state, why = told
            if begun:
                break  # a node of it has died, and its shares will be seen to be lost
            if state == "REMOVED":
                raise Over(Outcome.REVOKED, "Somebody removed its placement group in Ray.")
            self._heed_early()
            self._wanted()  # its nodes are still there
            self._tell(Seen(name=self.spec.name, phase=Phase.QUEUED, reason=group.waiting(state, why)))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, PENDING_S[1])
        self.placed = True
        if not begun:
            self._tell(Seen(name=self.spec.name, phase=Phase.PREPARING))

    def _wanted(self) -> group.Group:
        try:
            return group.group(self.spec, self.world.tag, self.world.places, self.world.hosts, self.world.told.ray)
        except BadInput as error:
            raise Over(Outcome.LOST, f"{error.text} ({error.asked}: {error.found})") from None

    # Launchers, and what they need.

    async def _send_launchers(self) -> None:
        begun = self._mark("begun").exists()
        for number, part in enumerate(self.parts):
            name = group.launcher_name(self.world.tag, self.spec.name, number)
            if begun:
                part.launcher = await self.world.launcher(name)
                if part.launcher is None:
                    self._lose(number, self._why_gone(number, ""))
            else:
                bundle = self._wanted().bundles[number]
                part.launcher = await self.world.send_launcher(name, self.spec.name, number, bundle)
        nonce = secrets.token_hex(16)
        probe = self.run_dir / "probe"
        files.write_text(probe, nonce, mode=0o644)
        home = self.world.told.ray.node_home or str(self.world.home)
        await self._each(lambda number, part: self._greet(number, part, home, str(probe), nonce))

    async def _greet(self, number: int, part: Part, home: str, probe: str, nonce: str) -> None:
        told = await self._ask(number, "hello", home, probe, nonce, self.world.sources.sha256)
        if tuple(told["python"]) < (3, 11):
            raise Over(
                Outcome.UNPREPARED,
                f"Node {self._node(number)} runs Ray on Python {'.'.join(map(str, told['python']))}; Forebay needs 3.11 there.",
            )
        if not self.world.told.ray.node_home and not told["sees"]:
            raise Over(
                Outcome.UNPREPARED,
                f"Node {self._node(number)} doesn't see the centre's folder {self.world.home}. "
                "Name a folder of the nodes in centre.toml: node_home, under [ray].",
            )
        part.hello = told
        self._bound(number)

    # Shares.

    async def _begin(self) -> None:
        """Give each launcher what it needs, and have it begin."""
        if not self._mark("begun").exists():
            wanted = await asyncio.to_thread(parcels.of, self.world.home, self.spec) if self.own else []
            await self._each(lambda number, part: self._provide(number, part, wanted))
            self._heed_early()
            files.write_json(self._mark("begun"), {}, durable=True)
        await self._each(self._begin_one)

    async def _provide(self, number: int, part: Part, wanted: list[Parcel]) -> None:
        await self._enter(number, part)
        for parcel in wanted:
            missing = await self._ask(number, "call", "missing", parcel.kind, parcel.key, parcel.text)
            if missing is None:
                continue
            for message in await asyncio.to_thread(parcel.messages, set(missing)):
                self._heed_early()
                await self._ask(number, "call", "take", message)
            await self._ask(number, "call", "lay", parcel.kind, parcel.key, parcel.text)

    async def _enter(self, number: int, part: Part) -> None:
        assert part.hello is not None
        sources, folder = self.world.sources, part.hello["home"]
        if not part.hello["sources"]:
            await self._ask(number, "unpack", folder, sources.sha256, sources.body)
        spec, told = codec.encode(self.spec), codec.encode(self.world.told)
        await self._ask(number, "enter", folder, sources.sha256, spec, number, told, self.own, self.world.shim)

    async def _begin_one(self, number: int, part: Part) -> None:
        assert part.hello is not None
        if not part.hello["begun"]:
            await self._enter(number, part)  # the one who wrote the mark may have died before this
        first = self.parts[0]
        address = first.hello["ip"] if first.hello is not None and len(self.parts) > 1 else "127.0.0.1"
        others = self.parts[1:] if number == 0 else self.parts[:1]
        siblings = [other.launcher for other in others if other.launcher is not None]
        await self._ask(number, "begin", list(self._bound(number)), address, siblings, first.launcher if number else None)

    def _bound(self, number: int) -> tuple[int, ...]:
        """The cards that Ray gave a share; where it doesn't say, those that the cloud counted."""
        hello, share = self.parts[number].hello, self.spec.shares[number]
        place = self.world.places.get(share.node)
        ids = (hello or {}).get("cards", {}).get(place.resource, []) if place is not None else []
        if not ids:
            return share.cards
        if not all(str(card).isdigit() for card in ids):
            raise Over(
                Outcome.UNPREPARED,
                f"Ray on node {share.node} doesn't number its cards ({ids[0]}). Start it there without a list of devices.",
            )
        return tuple(int(card) for card in ids)

    async def _follow(self) -> None:
        obeying = asyncio.ensure_future(self._obey())
        try:
            for number, part in enumerate(self.parts):
                if part.seen is not None and part.seen.phase is Phase.ENDED:  # it was lost while nobody looked
                    await self._set_aside(number)
            await self._each(self._follow_one)
        finally:
            obeying.cancel()

    async def _follow_one(self, number: int, part: Part) -> None:
        folder = layout.share(self.run_dir, number)
        copy = log.Copy(layout.log(folder)) if self.own else None
        known: Any = None
        while part.seen is None or part.seen.phase is not Phase.ENDED:
            news = await self._ask(number, "follow", known, None if copy is None else copy.end, FOLLOW_S)
            part.heard_ns = time.time_ns()
            if news is None:
                continue
            known, part.progress = news["known"], news["progress"]
            part.seen = codec.decode(Seen, news["seen"], strict=False)
            if copy is not None:
                self._copy(folder, copy, news)
                if number == 0 and self._output is not None:
                    self._output.note(part.seen)
            self._tell()
        while copy is not None and (news := await self._ask(number, "follow", known, copy.end, 0.0)) is not None:
            self._copy(folder, copy, news)  # the rest of the log
        if part.seen.outcome is not Outcome.SUCCEEDED:
            await self._set_aside(number)

    def _copy(self, folder: Path, copy: log.Copy, news: dict[str, Any]) -> None:
        if news["log"] is not None:
            start, _, body = news["log"]
            copy.add(start, body)
        if news["progress"] is not None:
            files.write_json(layout.progress(folder), news["progress"])

    # Ends.

    async def _ask(self, number: int, word: str, *arguments: Any) -> Any:
        """Have a launcher do something. A share whose launcher is gone is lost."""
        part = self.parts[number]
        try:
            return await self.world.ask(
                part.launcher, word, *arguments, patience_s=SILENT_S, there=lambda: self._is_there(number)
            )
        except Gone as gone:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self.world.look(), SILENT_S)  # Ray may just have said why
                self.world.say_nodes()  # before anybody hears of the run's end, and looks for another place
            self._lose(number, self._why_gone(number, str(gone)))
            raise

    async def _ask_first(self, word: str, *arguments: Any) -> Any:
        return await self._ask(0, "call", word, *arguments)

    async def _each(self, act: Callable[[int, Part], Awaitable[None]]) -> None:
        """Do something with every share that isn't over. A share that is lost takes its siblings with it."""

        async def one(number: int, part: Part) -> None:
            try:
                await act(number, part)
            except Gone:
                await self._set_aside(number)

        todo = [
            (number, part) for number, part in enumerate(self.parts) if part.seen is None or part.seen.phase is not Phase.ENDED
        ]
        tasks = [asyncio.ensure_future(one(number, part)) for number, part in todo]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        if not self._mark("begun").exists() and any(part.seen is not None for part in self.parts):
            reason = next(part.seen.reason for part in self.parts if part.seen is not None)
            raise Over(Outcome.LOST, reason)

    def _lose(self, number: int, reason: str) -> None:
        part, now_ns = self.parts[number], time.time_ns()
        seen = part.seen or self._last_seen(number)
        until_ns = max(part.heard_ns, seen.started_at_ns)
        part.seen = replace(
            seen,
            phase=Phase.ENDED,
            ended_at_ns=now_ns,
            started_at_ns=seen.started_at_ns or now_ns,
            held_ns=until_ns - seen.started_at_ns if seen.started_at_ns else 0,
            outcome=Outcome.LOST,
            reason=reason,
        )
        self._tell()

    def _last_seen(self, number: int) -> Seen:
        """What an earlier process of ours had seen of a share that is gone."""
        last = files.read_json(self.run_dir / "seen.json")
        if last is None or not last["started_at_ns"]:
            return Seen(name=self.spec.name, phase=Phase.PREPARING)
        seen = codec.decode(Seen, last, strict=False)
        self.parts[number].heard_ns = max((self.run_dir / "seen.json").stat().st_mtime_ns, seen.started_at_ns)
        return seen

    def _why_gone(self, number: int, why: str) -> str:
        node, host = self._node(number), self._host(number)
        if host is not None and not host.alive:
            return f"Node {node} died ({host.reason or 'Ray says so'}), and the run's ranks on it with it."
        return f"What held the run's ranks on node {node} is gone, and they with it{f' ({why})' if why else ''}."

    async def _set_aside(self, number: int) -> None:
        """Have the others end: what they wait for will never come."""
        for other, part in enumerate(self.parts):
            if other != number and part.launcher is not None and (part.seen is None or part.seen.phase is not Phase.ENDED):
                with contextlib.suppress(Gone, ForebayError):
                    await self.world.ask(part.launcher, "call", "aside", ASIDE_S, patience_s=SILENT_S, there=_nobody)

    def _end_all(self, outcome: Outcome, reason: str) -> None:
        for number, part in enumerate(self.parts):
            if part.seen is not None and part.seen.phase is Phase.ENDED:
                continue
            self._lose(number, reason)
            assert part.seen is not None
            part.seen = replace(part.seen, outcome=outcome)

    async def _let_go(self) -> None:
        """Bring the output, and give back to Ray all that the run had. Only then has it ended."""
        first = self.parts[0]
        begun = self._mark("begun").exists() and first.hello is not None
        if self._output is not None and begun and first.seen is not None and first.seen.outcome is not Outcome.LOST:
            first.seen = await self._output.at_last(first.seen)
        for part in self.parts:
            if (
                part.launcher is not None
                and part.hello is not None
                and part.seen is not None
                and part.seen.outcome is not Outcome.LOST
            ):
                with contextlib.suppress(Gone, ForebayError):
                    await self.world.ask(part.launcher, "call", "clear", patience_s=SILENT_S, there=_nobody)
            if part.launcher is not None:
                await self.world.end_launcher(part.launcher)
        await self.world.remove_group(group.group_name(self.world.tag, self.spec.name))
        self.placed = False

    # Wishes.

    def _heed_early(self) -> None:
        """Nothing of the run has started yet, so a wish to stop ends it at once."""
        if layout.stop(self.run_dir).exists():
            raise Over(Outcome.STOPPED, "It was asked to stop before its ranks were started.")

    async def _obey(self) -> None:
        """Pass on the wish to stop, whenever it changes."""
        while True:
            wish = files.read_json(layout.stop(self.run_dir))
            if wish is not None and wish != self._wish:
                self._wish = wish
                for part in self.parts:
                    if part.launcher is not None and (part.seen is None or part.seen.phase is not Phase.ENDED):
                        with contextlib.suppress(Gone, ForebayError):
                            await self.world.ask(
                                part.launcher, "call", "stop", float(wish["grace_s"]), patience_s=SILENT_S, there=_nobody
                            )
            await self.world.nudged(1.0)

    # Telling.

    def _tell(self, seen: Seen | None = None, *, durable: bool = False) -> None:
        """Write down what is true now. That it has ended is said last of all, by `carry`."""
        if seen is None and self._taken_up and not durable and any(part.seen is None for part in self.parts):
            return  # what an earlier process of ours wrote down is truer than half of what we know
        seen = seen or self._combined()
        if seen.phase is Phase.ENDED and not durable:
            return
        if seen != self._told or durable:
            self._told = seen
            files.write_json(self.run_dir / "seen.json", codec.encode(seen), durable=durable)

    def _combined(self) -> Seen:
        shares = [part.seen for part in self.parts]
        if self._output is not None and shares[0] is not None:
            shares[0] = self._output.as_kept(shares[0])
        bound = {share.node: self._bound(n) for n, share in enumerate(self.spec.shares) if self.parts[n].hello is not None}
        return replace(gang.combine(self.spec.name, shares), name=self.spec.name, bound=bound)

    def _mark(self, name: str) -> Path:
        return self.run_dir / f"{name}.json"

    def _node(self, number: int) -> str:
        return self.spec.shares[number].node

    def _host(self, number: int) -> Any:
        hello = self.parts[number].hello
        if hello is not None:
            return next((host for host in self.world.hosts if host.id == hello["node"]), None)
        place = self.world.places.get(self._node(number))
        return place.host if place is not None else None

    async def _is_there(self, number: int) -> bool:
        host = self._host(number)
        return host is None or await self.world.is_there(host)


async def _nobody() -> bool:
    """For what is said once: who is silent is left alone."""
    return False
