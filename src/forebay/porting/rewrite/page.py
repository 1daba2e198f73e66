"""One parsed text, and what can be asked of its parts.

Asked:  where does this expression stand, what is around it, and which torch thing does its name lead to?
Answer: LibCST's tree with its byte positions, and what `names` knows of its names and parents.
Limits: it judges nothing; the idioms do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TypeVar

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper

from forebay.porting.rewrite.names import Names

Span = tuple[int, int]
_Node = TypeVar("_Node", bound=cst.CSTNode)
_OPEN = (  # where any expression may stand without parentheses of its own
    *(cst.Arg, cst.Assign, cst.AnnAssign, cst.AugAssign, cst.Return, cst.Expr, cst.Element, cst.Index, cst.DictElement),
    *(cst.Param, cst.FormattedStringExpression, cst.Assert, cst.Annotation),
)


class Page:
    """A text that has been parsed; `rules` says by byte offset what the scan found there."""

    def __init__(self, text: str, rules: dict[int, frozenset[str]]) -> None:
        self.body = text.encode()
        self.rules = rules
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        self.module = wrapper.module
        self._places: Mapping[cst.CSTNode, CodeSpan] = wrapper.resolve(ByteSpanPositionProvider)
        self._names = Names(self.module)
        self._kinds: dict[type[cst.CSTNode], list[cst.CSTNode]] = {}
        for node in self._names.nodes:
            self._kinds.setdefault(type(node), []).append(node)

    def nodes(self, kind: type[_Node]) -> list[_Node]:
        """All parts of the text of one kind."""
        return self._kinds.get(kind, [])  # type: ignore[return-value]  # each list holds one kind

    def span(self, node: cst.CSTNode) -> Span:
        place = self._places[node]
        return place.start, place.start + place.length

    def source(self, node: cst.CSTNode) -> str:
        """The expression as it is written, without parentheses around it."""
        start, end = self.span(node)
        return self.body[start:end].decode()

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        return self._names.parents[node]

    def above(self, node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
        """From inside out: each node around, with the one of its children that leads here."""
        while not isinstance(node, cst.Module):
            outer = self.parent(node)
            yield outer, node
            node = outer

    def name(self, node: cst.CSTNode) -> str:
        """ "torch.cuda.Event" for an expression that leads there by imports; empty for another."""
        return self._names.name(node)

    def bindings(self, name: str) -> int:
        """How many places give a name a value, in all scopes of the text."""
        return self._names.bindings(name)

    def in_function(self, at: int) -> bool:
        """Whether the byte stands in the body of a function, which runs later than the lines around it."""
        bodies = [*(one.body for one in self.nodes(cst.FunctionDef)), *(one.body for one in self.nodes(cst.Lambda))]
        return any(start <= at < end for start, end in map(self.span, bodies))

    def closed_at(self, span: Span, text: str) -> str:
        """As `closed`, for the expression that stands at a span."""
        for node in self._names.nodes:
            if isinstance(node, cst.BaseExpression) and self.span(node) == span:
                return self.closed(node, text)
        return text

    @cached_property
    def assigned(self) -> frozenset[str]:
        """All that an `=` of the text gives a value, as written: "self.is_cuda"."""
        return frozenset(self.source(target.target) for node in self.nodes(cst.Assign) for target in node.targets)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every name that stands anywhere in the text: a new one must not be among them."""
        return frozenset(node.value for node in self.nodes(cst.Name))

    def rule(self, node: cst.CSTNode) -> frozenset[str]:
        """What the scan found at the place where a node begins."""
        return self.rules.get(self.span(node)[0], frozenset())

    def closed(self, node: cst.BaseExpression, text: str) -> str:
        """The text that takes an expression's place, in parentheses where its neighbours would tear it apart."""
        return text if node.lpar or isinstance(self.parent(node), _OPEN) else f"({text})"

    def quote(self, node: cst.CSTNode) -> str:
        """The quotation mark for a string that comes here: that of the string which goes, or the text's usual one.

        Before Python 3.12 an f-string can't hold its own.
        """
        for outer, _ in self.above(node):
            if isinstance(outer, cst.FormattedString):
                return "'" if '"' in outer.start else '"'
        if isinstance(node, (cst.SimpleString, cst.FormattedString)):
            return "'" if self.source(node).lstrip("rRbBfFuU").startswith("'") else '"'
        return self._usual_quote

    @cached_property
    def _usual_quote(self) -> str:
        single = sum(self.source(node).startswith("'") for node in self.nodes(cst.SimpleString))
        return "'" if single > len(self.nodes(cst.SimpleString)) / 2 else '"'

    def string(self, node: cst.CSTNode | None) -> str | None:
        """What a plain string says."""
        if isinstance(node, cst.SimpleString) and isinstance(value := node.evaluated_value, str):
            return value
        return None

    def statement(self, node: cst.CSTNode) -> cst.SimpleStatementLine | None:
        """The line whose only content is this expression, when there is one."""
        expression = self.parent(node)
        line = self.parent(expression) if isinstance(expression, cst.Expr) else None
        return line if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else None

    def indent(self, node: cst.CSTNode) -> str:
        """What stands before the first word of a node's line."""
        start = self.span(node)[0]
        line = self.body[max(self.body.rfind(b"\n", 0, start), self.body.rfind(b"\r", 0, start)) + 1 : start]
        return line.decode() if not line.strip() else ""

    def is_number(self, node: cst.BaseExpression) -> bool:
        """Whether an expression surely gives a whole number: a card's index."""
        if isinstance(node, (cst.Name, cst.Attribute)):
            return self.source(node) in self._numbers
        return self._counts(node)

    def _counts(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.BinaryOperation):
            return isinstance(node.operator, (cst.Modulo, cst.FloorDivide)) and not isinstance(node.left, cst.SimpleString)
        if isinstance(node, cst.Call):
            called = self.source(node.func)
            return called in ("int", "len") or called.endswith(("get_rank", "device_count"))
        return isinstance(node, cst.Integer)

    @cached_property
    def _numbers(self) -> frozenset[str]:
        """Names that hold whole numbers: annotated so, counted by a loop over a range, or given one and nothing else."""
        given: dict[str, list[bool]] = {}
        said: list[tuple[cst.CSTNode, cst.Annotation | None]] = [(one.name, one.annotation) for one in self.nodes(cst.Param)]
        said += [(one.target, one.annotation) for one in self.nodes(cst.AnnAssign)]
        for name, annotation in said:
            sure = annotation is not None and self.source(annotation.annotation) == "int"
            given.setdefault(self.source(name), []).append(sure)
        arguments = {name for name, all_are in given.items() if all(all_are)}
        for one in self.nodes(cst.Assign):
            number = self._counts(one.value) or (isinstance(one.value, cst.Name) and one.value.value in arguments)
            for target in one.targets:
                given.setdefault(self.source(target.target), []).append(number)
        for loop in self.nodes(cst.For):
            counts = isinstance(loop.iter, cst.Call) and self.source(loop.iter.func) == "range"
            given.setdefault(self.source(loop.target), []).append(counts)
        ranks = {name for name in ("rank", "local_rank", "ddp_local_rank") if all(given.get(name, [True]))}
        return frozenset({name for name, all_are in given.items() if all(all_are)} | ranks) - self.numbered_devices

    @cached_property
    def numbered_devices(self) -> frozenset[str]:
        """Names that end in "device", get a card's number once, and are handed to torch only: never counted with or written."""
        values: dict[str, list[cst.BaseExpression]] = {}
        for one in self.nodes(cst.Assign):
            for target in one.targets:
                values.setdefault(self.source(target.target), []).append(one.value)
        found = {name for name, given in values.items() if len(given) == 1 and name.endswith("device") and self._counts(given[0])}
        if not found:
            return frozenset()
        uses = [use for use in (*self.nodes(cst.Name), *self.nodes(cst.Attribute)) if self.source(use) in found]
        return frozenset(found - {self.source(use) for use in uses if not self._takes_device(use)})

    def _takes_device(self, use: cst.CSTNode) -> bool:
        """Whether torch itself takes what stands here for a device, number or not; or it is where the name is made."""
        arg = self.parent(use)
        if isinstance(arg, (cst.AssignTarget, cst.Attribute)):
            return True
        call = self.parent(arg)
        if not isinstance(arg, cst.Arg) or not isinstance(call, cst.Call):
            return False
        is_move = isinstance(call.func, cst.Attribute) and call.func.attr.value in ("to", "cuda")
        return is_move or self.name(call.func).startswith("torch.")

    @cached_property
    def newline(self) -> str:
        return self.module.default_newline
