"""Draw a fabric: out of a Design, a Wiring. A family a file; `FAMILIES` names them all.

Asked:  which cables does this design need, end to end?
Answer: the family's builder checks the parameters and lays the arrays; nothing is drawn at random.
Limits: what can't be built raises BadInput with the nearest parameters that can.
"""

from __future__ import annotations

from collections.abc import Callable

from forebay.errors import BadInput, nearest
from forebay.fabric.build import clos
from forebay.fabric.design import Design
from forebay.fabric.wiring import Wiring

FAMILIES: dict[str, Callable[[Design], Wiring]] = {
    "clos-2": clos.two_tier,
}


def build(design: Design) -> Wiring:
    """The wiring of a design. Raises BadInput for a family that isn't known, or parameters that can't be."""
    try:
        family = FAMILIES[design.kind]
    except KeyError:
        near = nearest(design.kind, list(FAMILIES)) or list(FAMILIES)
        raise BadInput("No family of fabrics has that name.", asked=design.kind, hint=", ".join(near)) from None
    return family(design)
