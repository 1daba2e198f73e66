"""Samples of our own, beside those of torch's database.

Asked:  which faults would the database's own samples miss, and what shows them?
Answer: for an operator, samples that `samples.choose` adds to the database's: reductions long enough that a narrow accumulator
        shows, values at the edges of a format. They are on the host; the engine carries them to the chip as it does the others.
Limits: a probe is an ordinary call of the operator. out=, in-place and repeated calls are the engine's own (measure.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def extra(operator: str, dtype: Any, requires_grad: bool) -> Iterator[Any]:
    """SampleInputs for the database's entry of this name (as in Case.operator), with tensors of this dtype on the host."""
    return iter(())
