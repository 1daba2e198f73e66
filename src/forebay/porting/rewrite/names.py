"""What the names of a text lead to.

Asked:  is this `amp` torch.cuda.amp, or an argument of the text's own?
Answer: imports and assignments are kept scope by scope; a name leads where its nearest scope says, if that says one thing only.
        `gpu = torch.cuda` is followed once.
Limits: what a class defines is seen in its methods too, which Python doesn't do; a name that is bound twice to different
        things leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache

import libcst as cst
from libcst.helpers import get_full_name_for_node_or_raise

_SCOPES = (cst.FunctionDef, cst.Lambda, cst.ClassDef, cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)
_NO_CODE = ("whitespace", "leading_", "lines_", "trailing_", "semicolon", "comma", "lpar", "rpar", "header", "footer", "equal")


@dataclass(slots=True)
class _Scope:
    above: _Scope | None
    names: dict[str, list[str | None]] = field(default_factory=dict)  # full names of what is imported, None for anything else
    world: frozenset[str] = frozenset()  # declared global here

    def bind(self, name: str, meaning: str | None) -> None:
        scope = self
        if name in self.world:
            while scope.above is not None:
                scope = scope.above
        scope.names.setdefault(name, []).append(meaning)


@cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind) if not one.name.startswith(_NO_CODE))  # type: ignore[arg-type]  # all are dataclasses


def children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The parts of a node that are code; LibCST's own walk visits every space as well."""
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (one for one in value if isinstance(one, cst.CSTNode))


class Names:
    """The parents and meanings of all nodes of a module."""

    def __init__(self, module: cst.Module) -> None:
        self.parents: dict[cst.CSTNode, cst.CSTNode] = {}
        self.nodes: list[cst.CSTNode] = []
        self._scopes: dict[cst.CSTNode, _Scope] = {}
        self._all = [_Scope(None)]
        aliases: list[tuple[_Scope, str, cst.BaseExpression]] = []
        waiting: list[tuple[cst.CSTNode, _Scope]] = [(module, self._all[0])]
        while waiting:
            node, scope = waiting.pop()
            self.nodes.append(node)
            self._scopes[node] = scope
            if isinstance(node, (cst.FunctionDef, cst.ClassDef)):
                scope.bind(node.name.value, None)
            if isinstance(node, _SCOPES):
                scope = _Scope(scope)
                self._all.append(scope)
            if isinstance(node, cst.Global):
                scope.world |= {item.name.value for item in node.names}
            if not isinstance(self.parents.get(node), cst.ImportAlias):
                for name, meaning in _bound(node):
                    scope.bind(name, meaning)
            if isinstance(node, cst.Assign) and len(node.targets) == 1 and isinstance(node.targets[0].target, cst.Name):
                aliases.append((scope, node.targets[0].target.value, node.value))
            for child in children(node):
                self.parents[child] = node
                waiting.append((child, scope))
        for scope, name, value in aliases:
            leads = self.name(value)
            if leads.startswith("torch.") and scope.names.get(name) == [None]:
                scope.names[name] = [leads]

    def name(self, node: cst.CSTNode) -> str:
        dots: list[str] = []
        while isinstance(node, cst.Attribute):
            dots.append(node.attr.value)
            node = node.value
        if not isinstance(node, cst.Name) or node not in self._scopes:
            return ""
        scope: _Scope | None = self._scopes[node]
        while scope is not None and node.value not in scope.names:
            scope = scope.above
        meanings = set(scope.names[node.value]) if scope is not None else {None}
        root = meanings.pop() if len(meanings) == 1 else None
        return ".".join([root, *reversed(dots)]) if root else ""

    def bindings(self, name: str) -> int:
        """How many places of the text give a name a value."""
        return sum(len(scope.names.get(name, ())) for scope in self._all)


def _bound(node: cst.CSTNode) -> Iterator[tuple[str, str | None]]:
    """The names that a node binds, with where an import leads."""
    if isinstance(node, cst.Import):
        for alias in node.names:
            full = alias.evaluated_name
            yield (alias.evaluated_alias, full) if alias.evaluated_alias else (full.split(".")[0], full.split(".")[0])
    elif isinstance(node, cst.ImportFrom):
        if node.module is not None and not node.relative and not isinstance(node.names, cst.ImportStar):
            home = get_full_name_for_node_or_raise(node.module)
            yield from ((alias.evaluated_alias or alias.evaluated_name, f"{home}.{alias.evaluated_name}") for alias in node.names)
        elif not isinstance(node.names, cst.ImportStar):
            yield from ((alias.evaluated_alias or alias.evaluated_name, None) for alias in node.names)
    elif isinstance(node, cst.Param):
        yield node.name.value, None
    elif isinstance(node, (cst.AssignTarget, cst.AnnAssign, cst.AugAssign, cst.For, cst.CompFor, cst.NamedExpr)):
        yield from ((name, None) for name in _targets(node.target))
    elif isinstance(node, cst.AsName) and not isinstance(node.name, cst.Attribute):
        yield from ((name, None) for name in _targets(node.name))


def _targets(target: cst.BaseExpression) -> Iterator[str]:
    if isinstance(target, cst.Name):
        yield target.value
    elif isinstance(target, (cst.Tuple, cst.List)):
        for element in target.elements:
            yield from _targets(element.value)
