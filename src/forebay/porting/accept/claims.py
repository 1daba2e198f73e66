"""The few words in which the checks are written.

Asked:  how does a check say "this must raise", or "this machine can't tell"?
Answer: `raises` around what must raise, `needs_cards` in front of what needs several. Everything else is `assert`.
Limits: torch and the standard library only: the suite runs where a vendor's torch is, and nothing else may be.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any


class Skip(Exception):
    """This machine can't tell: what the check needs isn't here."""


@contextlib.contextmanager
def raises(kind: type[BaseException] | tuple[type[BaseException], ...], match: str = "") -> Iterator[None]:
    """The block must raise this kind of error, with words that the pattern finds."""
    try:
        yield
    except kind as error:
        assert re.search(match, str(error), re.DOTALL), f"raised as it should, but its words {str(error)!r} lack {match!r}"
        return
    raise AssertionError(f"nothing was raised where {kind} was due")


def needs_cards(count: int) -> None:
    """Skip where there is a card, but not so many. Where there is none, the check goes on and fails."""
    import torch

    found = torch.cuda.device_count()
    if 0 < found < count:
        raise Skip(f"needs {count} cards, and there is {found}")


def needs(module: str) -> Any:
    """The module, or skip."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Skip(f"needs {module}: {error}") from error


def needs_names(where: Any, *names: str) -> None:
    """Skip where this torch is too old to have these names on any machine."""
    missing = [name for name in names if not hasattr(where, name)]
    if missing:
        raise Skip(f"this torch has no {', '.join(missing)}")


def close(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    """The same values, wherever the two tensors are."""
    import torch

    torch.testing.assert_close(one.detach().cpu(), other.detach().cpu(), rtol=tolerance, atol=tolerance, check_dtype=False)
