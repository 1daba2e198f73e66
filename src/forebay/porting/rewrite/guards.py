"""Tell whether code runs only where there is an accelerator.

Asked:  must `torch.cuda.empty_cache()` on this line be kept from a machine without an accelerator?
Answer: no, where an `if`, a conditional expression or an `and` around it asks for one: torch.cuda.is_available(), a name that
        this file made from that, a comparison of a device's type, `.is_cuda`.
Limits: an early return, an assertion or a flag of the command line is no guard.
"""

from __future__ import annotations

import libcst as cst
import libcst.matchers as m

from forebay.porting.rewrite.page import Page

ASKS = frozenset({"torch.cuda.is_available", "torch.accelerator.is_available"})


class Guards:
    """What in one text asks for an accelerator."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._flags: frozenset[str] = frozenset()
        assigned = page.nodes(cst.Assign)
        self._flags = frozenset(page.source(one.targets[0].target) for one in assigned if self._asks(one.value))

    def guarded(self, node: cst.CSTNode) -> bool:
        for outer, inner in self._page.above(node):
            if isinstance(outer, (cst.If, cst.IfExp)) and inner is outer.body and self._asks(outer.test):
                return True
            if isinstance(outer, cst.BooleanOperation) and isinstance(outer.operator, cst.And) and inner is outer.right:
                return self._asks(outer.left) or self.guarded(outer)
            if isinstance(outer, (cst.FunctionDef, cst.ClassDef, cst.Lambda)):
                return False  # called from elsewhere, perhaps unasked
        return False

    def _asks(self, test: cst.BaseExpression) -> bool:
        """Whether a test that holds says that there is an accelerator."""
        if isinstance(test, cst.BooleanOperation):
            sides = (self._asks(test.left), self._asks(test.right))
            return any(sides) if isinstance(test.operator, cst.And) else all(sides)
        if isinstance(test, cst.IfExp):  # True if torch.cuda.is_available() else False
            return m.matches(test.orelse, m.Name("False")) and self._asks(test.test)
        if isinstance(test, cst.Call):
            return self._page.name(test.func) in ASKS
        if isinstance(test, cst.Comparison) and len(test.comparisons) == 1:
            return self._compares(test.left, test.comparisons[0])
        if isinstance(test, cst.Attribute) and test.attr.value == "is_cuda":
            return True
        return isinstance(test, (cst.Name, cst.Attribute)) and self._page.source(test) in self._flags

    def _compares(self, left: cst.BaseExpression, right: cst.ComparisonTarget) -> bool:
        page = self._page
        equal, inside = isinstance(right.operator, cst.Equal), isinstance(right.operator, cst.In)
        if equal and page.string(right.comparator) == "cuda":
            return True
        if inside and page.string(left) == "cuda":
            return True
        if isinstance(right.operator, cst.NotEqual) and page.string(right.comparator) == "cpu":
            return page.source(left).endswith("type")
        counts = isinstance(left, cst.Call) and page.name(left.func) == "torch.cuda.device_count"
        return counts and isinstance(right.operator, (cst.GreaterThan, cst.GreaterThanEqual))
