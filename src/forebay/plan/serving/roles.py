"""What each kind of cards may do: read prompts, make tokens, both on one engine.

Asked:  a person lets a kind do one thing only. What may each do, and does that still serve anybody?
Answer: `allowed`, or BadInput that names the two wishes that contradict each other.
Limits: by kind, not by card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forebay.errors import BadInput, nearest

ROLES = ("prompts", "tokens", "both")  # engines that read prompts, that make tokens, that do both


def allowed(kinds: Sequence[str], only: Mapping[str, str], apart: bool, left_out: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """By kind. Those that are left out may do nothing."""
    for kind, role in only.items():
        if kind not in kinds:
            raise BadInput(
                "The pool has no such kind.", asked=f"{kind}={role}", hint=", ".join(nearest(kind, list(kinds)) or kinds)
            )
        if role not in ROLES:
            raise BadInput("A kind does one of three things.", asked=f"{kind}={role}", hint=", ".join(ROLES))
        if role == "both" and apart:
            raise BadInput(
                "One wish has prompts read apart, the other has one engine do both.",
                asked=f"prompts apart on all kinds, and {kind}={role}",
                hint=f"{kind}=prompts, {kind}=tokens, or without one of the two",
            )
        if kind in left_out:
            raise BadInput(f"{kind} can't do that: {left_out[kind]}", asked=f"{kind}={role}", hint="without that wish")
    may = {
        kind: frozenset()
        if kind in left_out
        else frozenset({only[kind]} if kind in only else ROLES) - ({"both"} if apart else set())
        for kind in kinds
    }
    for kind, role in only.items():
        missing = {"prompts": "tokens", "tokens": "prompts"}.get(role)
        if missing and not any(missing in may[other] for other in kinds):
            does = {"prompts": "reads prompts", "tokens": "makes tokens"}[role]
            raise BadInput(
                f"{kind} only {does}, and nobody is left for {missing}.",
                asked=", ".join(f"{one}={what}" for one, what in only.items()) + (", prompts apart" if apart else ""),
                found="; ".join(f"{one}: {why}" for one, why in left_out.items()),
                hint=f"let another kind do {missing}",
            )
    return may
