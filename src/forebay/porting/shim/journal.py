"""Note which redirected APIs a run used.

Asked:  what did the shim stand in for, how often, and how faithfully?
Answer: a name, a count and a class: exact (as on a card), emulated (a stand-in with the same meaning), no-op (there is
        nothing to do here) or refused. Written as JSON at exit, where FOREBAY_SHIM_REPORT says.
Limits: operators are counted by the compiled library; Python's calls here, one dictionary entry each. No call sites yet.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

CLASSES = ("exact", "emulated", "no-op", "refused")
PLACE = "FOREBAY_SHIM_REPORT"

Function = TypeVar("Function", bound=Callable[..., Any])
uses: dict[str, dict[str, Any]] = {}


def note(name: str, kind: str) -> None:
    entry = uses.get(name)
    if entry is None:
        uses[name] = {"class": kind, "calls": 1}
    else:
        entry["calls"] += 1


def noted(name: str, kind: str) -> Callable[[Function], Function]:
    """The function, counting its calls under the name that users know."""

    def around(function: Function) -> Function:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            note(name, kind)
            return function(*args, **kwargs)

        return counted  # type: ignore[return-value]

    return around


def write(report: dict[str, Any]) -> None:
    """Write the report where the environment says. Ranks share the name: each adds its process id."""
    place = os.environ.get(PLACE)
    if not place:
        return
    path = Path(place)
    path = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}") if path.exists() else path
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(report, indent=1))
        os.replace(draft, path)
    except OSError as error:  # a report that can't be written must not fail a run that succeeded
        import sys

        print(f"forebay: the shim's report can't be written: {error}", file=sys.stderr)
