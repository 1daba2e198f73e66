"""The nouns of a layer's time: a pass, a layer of three passes, and the site they run at.

Asked:  of what are the seconds of a layer made, and what must be known of the place?
Answer: Pass, Layer and Site, which `layers` and `attention` fill and `time` adds up.
Units:  seconds. Arrays have one entry a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from forebay.plan.framework import Framework
from forebay.plan.kernels.known import Device
from forebay.plan.network import Links

STREAM = 0.8  # share of the memory's rate that elementwise kernels reach (BabelStream on A100 and H100: 0.85 to 0.93, less at
# the sizes of a layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Seconds of one pass through a layer, by what they are spent on."""

    products: Any = 0.0
    attention: Any = 0.0
    traffic: Any = 0.0  # bytes through the card's own memory
    launch: Any = 0.0  # the card waits for the host
    tensor: Any = 0.0  # exposed transfers of the tensor degree
    context: Any = 0.0
    expert: Any = 0.0

    @property
    def total(self) -> Any:
        return sum(getattr(self, one.name) for one in fields(self))

    def __add__(self, other: Pass) -> Pass:
        return Pass(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})

    def times(self, factor: Any) -> Pass:
        return Pass(**{one.name: getattr(self, one.name) * factor for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer's three passes: forward, gradient of the input, gradient of the weights."""

    forward: Pass
    inputs: Pass
    weights: Pass

    @property
    def backward(self) -> Pass:
        return self.inputs + self.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a layer runs: the card, its links and the software."""

    device: Device
    links: Links
    framework: Framework
    # The one calibrated scalar: how much longer kernels take in a long job than alone on a cool chip. While it is fitted, an
    # array with one for each plan.
    slower: Any = 1.0
    imbalance: float = 1.0  # tokens on the busiest card of an expert group over the mean; all others wait for it
