"""The noun Checkpoint: a state of training that can be gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Shards under a manifest: real from the moment the manifest is renamed into place, never before.

    A script's checkpoint is one file of its own making; `centre` recognises it by its content.
    """

    job: str
    step: int
    shards: Mapping[str, str]  # file -> sha256
    made_at_ns: int
