"""What a name means where it stands.

Asked:  is `gpu.Event` in this function torch.cuda.Event?
Answer: `Scope` keeps what each name of a module, class or function was bound to: an import's full name, an expression that leads
        to one, or anything else. A name that is bound twice (an import that may fail, and what stands in for it) means what has
        to do with CUDA, for that is what has to be looked at.
Limits: within one file. Attributes of objects (`self.amp = torch.cuda.amp`) aren't followed, and neither is what is chosen by a
        condition (`sync = torch.cuda.synchronize if on_card else skip`): the choice is the place to look at, not each `sync()`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from forebay.porting.known import rule_of_name

UNBOUND = {"torch": "torch", "cudnn": "torch.backends.cudnn"}  # from a `from utils import *` that we don't follow


@dataclass(slots=True)
class Scope:
    """What the names of one module, class or function are bound to. It doesn't know in which order."""

    above: Scope | None
    is_class: bool = False
    bound: dict[str, list[str | ast.expr | None]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)  # modules of which all is imported
    known: dict[str, str | None] = field(default_factory=dict)  # answers, once given

    def bind(self, name: str, meaning: str | ast.expr | None) -> None:
        self.bound.setdefault(name, []).append(meaning)

    def meaning(self, name: str) -> str | None:
        """The full name behind a name, or None where it is nothing of a library's."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound and not (scope.is_class and scope is not self):  # methods don't see their class's names
                return scope._meaning_here(name)
            scope = scope.above
        return self._from_star(name)

    def full_name(self, node: ast.AST) -> str | None:
        """ "torch.cuda.Event" for an expression that leads there through names, dots and getattr; None for another."""
        dots: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                dots.append(node.attr)
                node = node.value
            elif (step := _constant_getattr(node)) is not None:
                node, attribute = step
                dots.append(attribute)
            else:
                break
        root = self.meaning(node.id) if isinstance(node, ast.Name) else imported(node)
        return ".".join([root, *reversed(dots)]) if root else None

    def _meaning_here(self, name: str) -> str | None:
        if name not in self.known:
            self.known[name] = None  # while we look, for `x = x.y`
            found = [self._resolved(meaning) for meaning in self.bound[name]]
            full = [meaning for meaning in found if meaning is not None]
            tied = [meaning for meaning in full if rule_of_name(meaning) is not None]
            self.known[name] = next(iter(tied or full), None)
        return self.known[name]

    def _resolved(self, meaning: str | ast.expr | None) -> str | None:
        if meaning is None or isinstance(meaning, str):
            return meaning
        return self.full_name(meaning)

    def _from_star(self, name: str) -> str | None:
        top = self
        while top.above is not None:
            top = top.above
        found = (f"{module}.{name}" for module in top.stars)
        return next((full for full in found if rule_of_name(full) not in (None, "cuda-other")), UNBOUND.get(name))


def imported(node: ast.AST) -> str | None:
    """The module that `importlib.import_module("torch.cuda")` or `__import__("pynvml")` gives."""
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        name = node.args[0].value
        if called in ("import_module", "__import__") and isinstance(name, str) and not name.startswith("."):
            return name
    return None


def leads_somewhere(value: ast.expr) -> bool:
    """Whether an expression can be a module, class or function of a library."""
    if isinstance(value, ast.Call):
        return imported(value) is not None or _constant_getattr(value) is not None
    return isinstance(value, (ast.Attribute, ast.Name))


def _constant_getattr(node: ast.AST) -> tuple[ast.expr, str] | None:
    """What `getattr(torch, "cuda")` asks of what."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) >= 2:
        name = node.args[1]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return node.args[0], name.value
    return None
