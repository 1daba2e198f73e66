"""The noun Rule: one kind of thing that the scan finds."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.porting.findings import Word


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of thing that the scan finds, and what becomes of it. It knows no file and no line: those are in Finding."""

    key: str
    meaning: str
    kin: Word  # on a chip whose torch keeps the name "cuda" and that isn't NVIDIA's
    cpu: Word  # on processor cores, under the simulated device
    own: Word  # on a chip whose torch has a device name of its own, under the identity layer
    names_device: bool = True  # it speaks of a cuda device; without one of these a script leaves the card idle
    ties: bool = True  # it ties the text to CUDA; what doesn't is a note: a number format, a label that reads like a device
    decides: bool = True  # it has a say in a program's verdict; what only starts or ships the program is told beside it
    todo: str = ""  # what a person who ports the text does about it, in the imperative
    minutes: float = 0.0  # that this takes a person who knows the project, at one place; an estimate, for the effort figure
