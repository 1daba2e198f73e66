"""The launcher: an actor on a node that starts one share of a run there, and ends it when it ends itself.

Asked:  how does a run get processes on a Ray node on which no Forebay is installed?
Answer: this class travels to the node by value, with nothing but the standard library. It unpacks our sources there, and
        `share.py` among them does the rest. The share's supervisor holds the reading end of a pipe of ours: when this process
        is gone, for whatever reason, so are the ranks, and their cards are free as Ray believes.
Limits: Python 3.11 on the nodes. A head that comes back without its memory has forgotten us; we ask for our own name every
        other second, and leave when nobody knows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import tarfile
import threading
import time
from typing import Any

SELF_S = 2.0  # between two looks for our own name
LOOK_S = (0.05, 0.25)  # between two looks at what the share has to say: while it talks, and when it has been silent
TALKS_S = 10.0
MEET_S = 0.1
ASIDE_S = 5.0  # grace for a share whose sibling ended badly: what it waits for will never come


class Launcher:
    """One share of one run, on one node."""

    def __init__(self, name: str, namespace: str) -> None:
        self._share: Any = None
        self._begun = False
        self._talked_s = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []  # the loop alone would not keep them
        self._doors: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        threading.Thread(target=_live_while_known, args=(name, namespace), daemon=True).start()

    async def hello(self, home: str, probe: str, nonce: str, sources: str) -> dict[str, Any]:
        """Who and where we are. `home`: the folder to work in; `probe`: a file that holds the nonce, if this node sees it."""
        import ray

        context = ray.get_runtime_context()
        folder = os.path.expanduser(os.path.expandvars(home))
        return {
            "node": context.get_node_id(),
            "ip": ray.util.get_node_ip_address(),
            "cards": context.get_accelerator_ids(),
            "python": list(sys.version_info[:2]),
            "home": folder,
            "sees": _holds(probe, nonce),
            "sources": os.path.isdir(_sources(folder, sources)),
            "begun": self._begun,
        }

    async def unpack(self, home: str, sources: str, body: bytes) -> None:
        """Our sources, into a folder named after their hash."""
        await asyncio.to_thread(_unpack, _sources(home, sources), body)

    async def enter(self, home: str, sources: str, spec: Any, number: int, told: Any, own: bool, shim: str) -> None:
        """Load the sources, and be this share; `share.py` says what it is told."""
        if self._share is None:
            sys.path.insert(0, _sources(home, sources))
            from forebay.centre.ray.share import Share

            self._share = await asyncio.to_thread(Share, home, spec, number, told, own, shim)

    async def call(self, word: str, *arguments: Any) -> Any:
        """Have the share do something that takes a while."""
        return await asyncio.to_thread(getattr(self._share, word), *arguments)

    async def begin(self, cards: list[int], address: str, siblings: list[Any], first: Any) -> None:
        """Start the share. `siblings`: launchers whose end is to be ours; `first`: the one who knows where the ranks meet."""
        if self._begun:
            return
        self._begun = True
        await self.call("begin", cards, address)
        self._tasks = [asyncio.ensure_future(self._heed(sibling)) for sibling in siblings]
        if first is not None:
            self._tasks.append(asyncio.ensure_future(self._meet(first)))

    async def follow(self, known: Any, mark: int | None, wait_s: float) -> Any:
        """What is new since `known`, which came with the last answer, and the log from `mark` on (None: it is read elsewhere).
        Waits a while for something.
        """
        until = time.monotonic() + wait_s
        while (news := self._share.news(known, mark)) is None and time.monotonic() < until:
            await asyncio.sleep(LOOK_S[0] if time.monotonic() - self._talked_s < TALKS_S else LOOK_S[1])
        if news is not None:
            self._talked_s = time.monotonic()
        return news

    async def over(self) -> str:
        """How the share ended, once it has."""
        while (outcome := self._share.outcome() if self._begun else "") == "":
            await asyncio.sleep(LOOK_S[1])
        return str(outcome)

    async def meeting(self) -> int | None:
        """The port where the ranks meet, once it is known."""
        port: int | None = self._share.meeting() if self._begun else None
        return port

    # The door of the run, for people who come through the cloud.

    async def dial(self) -> int:
        self._doors[number := len(self._doors) + 1] = await asyncio.open_connection(sock=self._share.knock())
        return number

    async def say(self, door: int, body: bytes) -> None:
        """Pass on what the caller said; nothing: he hangs up."""
        _, writer = self._doors[door]
        if body:
            writer.write(body)
            await writer.drain()
        else:
            writer.close()

    async def hear(self, door: int) -> bytes:
        """What the run answers; nothing: it has hung up."""
        reader, _ = self._doors[door]
        with contextlib.suppress(ConnectionError):
            return await reader.read(65536)
        return b""

    # Siblings.

    async def _heed(self, sibling: Any) -> None:
        if await _ending(sibling) != "succeeded":
            await self.call("aside", ASIDE_S)

    async def _meet(self, first: Any) -> None:
        while True:
            try:
                port = await first.meeting.remote()
            except Exception:
                return  # its end is heeded elsewhere
            if port is not None:
                self._share.meet(port)
                return
            await asyncio.sleep(MEET_S)


async def _ending(sibling: Any) -> str:
    import ray

    while True:
        try:
            outcome: str = await sibling.over.remote()
            return outcome
        except ray.exceptions.ActorUnavailableError:
            await asyncio.sleep(1)
        except Exception:
            return "lost"


def _live_while_known(name: str, namespace: str) -> None:
    """End this process when the cluster doesn't know it any more, and may give its cards to somebody else."""
    import ray

    while True:
        time.sleep(SELF_S)
        try:
            ray.get_actor(name, namespace=namespace)
        except ValueError:
            os._exit(1)
        except Exception as error:
            if "WrongClusterID" in str(error):
                os._exit(1)


def _sources(home: str, sources: str) -> str:
    return os.path.join(home, "sources", sources)


def _holds(path: str, nonce: str) -> bool:
    try:
        with open(path) as file:
            return file.read() == nonce
    except OSError:
        return False


def _unpack(folder: str, body: bytes) -> None:
    if os.path.isdir(folder):
        return
    draft = f"{folder}.draft-{os.getpid()}"
    os.makedirs(draft, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as tar:
        tar.extractall(draft, filter="data")
    for above in (draft, os.path.dirname(draft)):
        os.chmod(above, 0o755)
    try:
        os.rename(draft, folder)
    except OSError:  # another launcher was faster
        if not os.path.isdir(folder):
            raise
