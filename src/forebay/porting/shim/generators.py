"""torch.Generator(device="cuda"), where torch's own constructor can't make one.

Asked:  who makes a card's generator?
Answer: from torch 2.6 on torch's constructor asks our hooks. Before, a CUDA build makes CUDA's own, which looks for a driver,
        and a CPU build refuses. There the name torch.Generator is a class of ours that makes true generators: what it returns
        is of torch's own type, and isinstance says so.
Limits: only for torch older than 2.6.
"""

from __future__ import annotations

from typing import Any

from forebay.porting.shim.cards import Simulated


def construct(torch: Any, cards: Simulated) -> None:
    """Change torch after its import."""
    real = torch.Generator

    class OfTrueOnes(type):
        def __instancecheck__(cls, one: Any) -> bool:
            return isinstance(one, real)

    class Generator(real, metaclass=OfTrueOnes):  # type: ignore[misc, valid-type]
        __doc__ = real.__doc__

        def __new__(cls, device: Any = "cpu") -> Any:
            device = torch.device(device)
            if device.type != "cuda":
                return real(device)
            return cards.generator(cards.current() if device.index is None else cards.checked(device.index), default=False)

    Generator.__module__, Generator.__qualname__ = real.__module__, real.__qualname__
    torch.Generator = Generator
