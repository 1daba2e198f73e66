"""Whether the disk of the data folder can be written, tried on a small file of its own."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

BETWEEN_S = 5.0  # two tries


class Probe:
    """Whether the data folder's disk takes a byte. It is asked no more often than every few seconds, whoever asks."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ready.probe"
        self._asked_s = float("-inf")
        self._why = ""

    async def why_not(self) -> str:
        if time.monotonic() - self._asked_s > BETWEEN_S:
            self._asked_s = time.monotonic()
            self._why = await asyncio.to_thread(self._try)
        return self._why

    def _try(self) -> str:
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, b"ready?\n" * 512)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            return f"the data folder's disk can't be written: {error.strerror or error}"
        return ""
