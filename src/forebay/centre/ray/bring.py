"""What the first share of a run leaves on a node that doesn't see the centre's folder, on its way here.

Asked:  when may a checkpoint be spoken of that lies on a node which may die?
Answer: when it is here. It is brought at new checkpoints, not too often, and at the end; only chunks that aren't here travel.
        Until then the run's artefacts and its newest checkpoint are those that were brought last, by whichever process of ours.
Limits: the folder is hashed whole on its node each time, and exchanged whole here, so that nobody sees half of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from forebay import codec
from forebay.centre import files
from forebay.centre.home import Home
from forebay.centre.ray import parcels
from forebay.centre.ray.world import Gone
from forebay.centre.spec import Phase, Seen, Spec
from forebay.data import manifest as manifests
from forebay.data.store import ChunkStore, unpack_chunks
from forebay.errors import ForebayError, Unavailable

EVERY_S = 20.0  # at most
TRIES = 3  # at the end, when nobody writes any more; a message may still get lost

Ask = Callable[..., Awaitable[Any]]
"""Have the first share's launcher do something; raises Gone."""


class Output:
    """The output of one run."""

    def __init__(self, run_dir: Path, spec: Spec, centre: Home, ask: Ask, tell: Callable[[], None]) -> None:
        last = files.read_json(run_dir / "seen.json")
        self._kept = Seen(name=spec.name, phase=Phase.PREPARING) if last is None else codec.decode(Seen, last, strict=False)
        self._store = ChunkStore(run_dir / "brought")
        self._spec = spec
        self._centre = centre
        self._ask = ask
        self._tell = tell
        self._latest = self._kept
        self._here = ""  # the manifest of what is
        self._due_s = 0.0
        self._ends = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def as_kept(self, seen: Seen) -> Seen:
        """The first share, with as much of its output as is here."""
        return replace(seen, artefacts=self._kept.artefacts, checkpoint_at_ns=self._kept.checkpoint_at_ns)

    def note(self, seen: Seen) -> None:
        """See to it that a new checkpoint is brought here soon."""
        self._latest = seen
        if seen.checkpoint_at_ns > self._kept.checkpoint_at_ns and self._task is None and not self._ends.is_set():
            self._task = asyncio.ensure_future(self._when_due())

    async def at_last(self, seen: Seen) -> Seen:
        """Bring all of it. The ranks have ended; what went wrong is said in the reason."""
        self._ends.set()
        if self._task is not None:
            await self._task
        problem: Exception = Unavailable("nobody answered")
        for _ in range(TRIES):
            try:
                await self._bring(seen)
                return seen
            except Gone as gone:
                problem = gone
                break
            except (ForebayError, OSError) as error:
                problem = error
                await asyncio.sleep(1)
        return replace(seen, reason=f"{seen.reason} What it left on its node could not be brought here: {problem}")

    async def _when_due(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ends.wait(), max(self._due_s - time.monotonic(), 0.001))
        if not self._ends.is_set():
            with contextlib.suppress(ForebayError, Gone, OSError):  # the next try comes with the next checkpoint, or at the end
                await self._bring(self._latest)
                self._tell()
        self._due_s = time.monotonic() + EVERY_S
        self._task = None
        self.note(self._latest)

    async def _bring(self, seen: Seen) -> None:
        text = await self._ask("left")
        manifest = manifests.from_json(text)
        if manifest.id != self._here:
            if missing := self._store.missing(manifest):
                await self._ask("send", text, list(missing))
                while message := await self._ask("give"):
                    for sha256, content in unpack_chunks(message):
                        await asyncio.to_thread(self._store.put, content, sha256)
            await asyncio.to_thread(parcels.keep, self._centre, self._spec, manifest, self._store)
            self._here = manifest.id
        self._kept = seen
