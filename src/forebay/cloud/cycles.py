"""How often Python looks for objects that hold each other and nobody else.

Asked:  a cloud holds millions of objects for as long as it lives, and they hold each other in no circle. What does the search for
        circles cost it?
Answer: nearly nothing: while the journal is read nobody searches, what was read is looked at no more, and afterwards the search
        comes a hundred times more seldom than Python would have it, which is meant for programs of a few thousand objects.
Limits: for a process that is a cloud; a library must not touch this.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = (20_000, 20, 50)  # objects; and as often as the generation before


@contextmanager
def none_sought() -> Iterator[None]:
    """Around the reading of what will be kept."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*SELDOM)
        gc.enable()
