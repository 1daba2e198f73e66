"""The noun Endpoint: a served model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model behind an OpenAI-compatible address.

    Which engine answers, and on which cards, is the gateway's affair.
    """

    name: str
    organisation: str
    model: str
    url: str
    healthy: bool
