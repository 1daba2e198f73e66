"""One script, walked once.

Asked:  which nodes of a parsed script can matter to us, and where does each stand?
Answer: a `Page`: imports, calls, names and strings in four lists, the node above each node, and the scopes with what they bind.
        Everything else in this room reads the page; nobody walks the tree again.
Limits: the walk is a loop with a stack, for deep nesting is no error. It keeps strings only that hold one of the words of WORDS.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from forebay.porting.scan.names import UNBOUND, Scope, leads_somewhere
from forebay.porting.scan.text import lines_of

# What a string must hold to be looked at.
WORDS = re.compile(
    r"cuda|nccl|tensorrt|nvidia|nvcc|nvprof|cudnn|cublas|nvrtc|nvtx|nvml|nsys\b|\bncu\b|gpu$|__global__|__device__|threadidx|blockidx"
    r"|gencode|arch=|\.cuh?$|\.ptx$|flash_attention_|^-+(expt-|xptxas|xfatbin|use_fast|lineinfo|ptxas|extended-l|maxrreg)"
    r"|^(flash[-_]attn|apex|cupy|triton|xformers|pynvml|bitsandbytes|deep_gemm|transformer[-_]engine|tensorrt)"
)  # of the string in small letters
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# The fields of a node in which other nodes can be, so that the walk doesn't look at operators, contexts and plain values.
_PLAIN = {"ctx", "op", "ops", "id", "attr", "arg", "name", "lineno", "type_comment", "kind", "level", "conversion", "is_async"}
# With each whether it is read around the scope that the node opens: decorators, defaults, bases.
_AROUND = {"decorator_list", "args", "returns", "bases", "keywords"}
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_FIELDS: dict[type[ast.AST], tuple[tuple[str, bool], ...]] = {
    kind: tuple((name, kind in _SCOPES and name in _AROUND) for name in kind._fields if name not in _PLAIN)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}


@dataclass(slots=True)
class Page:
    """A script as the rest of this room reads it. It holds no finding."""

    path: str
    lines: list[str]
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)
    chains: list[ast.Attribute] = field(default_factory=list)  # the outermost of each: `torch.cuda.Event`, not `torch.cuda` in it
    names: list[ast.Name] = field(default_factory=list)  # read, and not the root of a chain
    assigns: list[ast.Assign | ast.AnnAssign] = field(default_factory=list)  # of a value to a name or attribute called device
    strings: list[ast.Constant] = field(default_factory=list)
    scopes: dict[ast.AST, Scope] = field(default_factory=dict)  # of the module, and of each function and class
    meaningful: set[str] = field(default_factory=set)  # names that are bound to anything of a library, in whatever scope
    device_names: frozenset[str] | None = None  # told by porting.scan.roles, once it is asked

    def scope(self, node: ast.AST) -> Scope:
        """The scope in which a node stands. Decorators, defaults and bases stand in the scope around the function or class."""
        inner, above = node, self.parents.get(node)
        while above is not None:
            if above in self.scopes and _is_inside(inner, above):
                return self.scopes[above]
            inner, above = above, self.parents.get(above)
        return self.scopes[inner]

    def full_name(self, node: ast.AST) -> str | None:
        """The full name that an expression leads to. Most lead nowhere, which their first name tells without their scope."""
        root = node
        while type(root) is ast.Attribute:
            root = root.value
        if type(root) is ast.Name:
            return self.scope(node).full_name(node) if root.id in self.meaningful else None
        return self.scope(node).full_name(node) if isinstance(root, ast.Call) and leads_somewhere(root) else None

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside out."""
        while (up := self.parents.get(node)) is not None:
            yield up
            node = up

    def imports_package(self, package: str) -> bool:
        return any(
            any(alias.name.split(".")[0] == package for alias in node.names)
            if isinstance(node, ast.Import)
            else not node.level and (node.module or "").split(".")[0] == package
            for node in self.imports
        )


def read_page(tree: ast.Module, text: str, path: str) -> Page:
    page = Page(path=path, lines=lines_of(text))
    top = Scope(None)
    page.scopes[tree] = top
    _walk(tree, top, page)
    every = page.scopes.values()
    page.meaningful = {name for scope in every for name, meanings in scope.bound.items() if any(m is not None for m in meanings)}
    page.meaningful |= UNBOUND.keys()
    if not top.stars:  # otherwise any name may be one of theirs
        meaningful = page.meaningful
        page.names = [name for name in page.names if name.id in meaningful]
    else:
        page.meaningful |= {name.id for name in page.names} | {root.id for root in map(root_of, page.chains) if root is not None}
    return page


# ---------------------------------------------------------------- the walk


def _walk(tree: ast.Module, top: Scope, page: Page) -> None:
    """One loop, with what happens most at its end: most nodes are names, constants and attributes."""
    parents, names, strings, search = page.parents, page.names, page.strings, WORDS.search
    waiting: list[tuple[ast.AST, Scope]] = [(tree, top)]
    while waiting:
        node, scope = waiting.pop()
        kind = type(node)
        inside = scope
        if kind is ast.Attribute:
            if type(parents[node]) is not ast.Attribute:
                page.chains.append(node)  # type: ignore[arg-type]
        elif kind is ast.Call:
            page.calls.append(node)  # type: ignore[arg-type]
        elif kind is ast.Expr:
            if type(node.value) is ast.Constant:  # type: ignore[attr-defined]
                continue  # a docstring
        elif kind in _BINDERS:
            inside = _bind(node, page, scope)
        for name, around in _FIELDS[kind]:
            value = getattr(node, name)
            if value is None:
                continue
            for child in value if type(value) is list else (value,):
                kind_of_child = type(child)
                if kind_of_child is ast.Name:
                    parents[child] = node
                    if type(child.ctx) is not ast.Load:
                        if child.id not in scope.bound:
                            scope.bind(child.id, None)
                    elif kind is not ast.Attribute:
                        names.append(child)
                elif kind_of_child is ast.Constant:
                    text = child.value
                    if type(text) is str and search(text.lower()):
                        parents[child] = node
                        strings.append(child)
                elif isinstance(child, ast.AST):
                    parents[child] = node
                    waiting.append((child, scope if around else inside))


def _bind(node: ast.AST, page: Page, scope: Scope) -> Scope:
    """What an import, an assignment, a function or a class binds; and the scope of what stands inside it."""
    if isinstance(node, ast.Import):
        page.imports.append(node)
        for alias in node.names:
            root = alias.name.split(".")[0]
            scope.bind(alias.asname or root, alias.name if alias.asname else root)
    elif isinstance(node, ast.ImportFrom):
        page.imports.append(node)
        for alias in node.names:
            if alias.name == "*" and not node.level:
                page.scopes[next(iter(page.scopes))].stars.append(node.module or "")
            else:
                scope.bind(alias.asname or alias.name, None if node.level else f"{node.module}.{alias.name}")
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if _is_called_device(target):
                page.assigns.append(node)
            if isinstance(target, ast.Name):
                scope.bind(target.id, node.value if leads_somewhere(node.value) else None)
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        if isinstance(node, ast.AnnAssign) and _is_called_device(node.target):
            page.assigns.append(node)
        if isinstance(node.target, ast.Name) and node.value is not None:
            scope.bind(node.target.id, node.value if leads_somewhere(node.value) else None)
    elif isinstance(node, ast.ExceptHandler):
        if node.name:
            scope.bind(node.name, None)
    elif isinstance(node, _SCOPES):
        if not isinstance(node, ast.Lambda):
            scope.bind(node.name, None)
        inside = Scope(scope, is_class=isinstance(node, ast.ClassDef))
        page.scopes[node] = inside
        if isinstance(node, Function):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            for argument in every:
                if argument is not None:
                    inside.bind(argument.arg, None)
        return inside
    return scope


_BINDERS = frozenset(
    {ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.ExceptHandler}
    | {ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef}
)


def _is_called_device(target: ast.expr) -> bool:
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    return name.lower() in ("device", "dev", "cuda_device", "gpu_device")


def root_of(chain: ast.AST) -> ast.Name | None:
    while isinstance(chain, ast.Attribute):
        chain = chain.value
    return chain if isinstance(chain, ast.Name) else None


def _is_inside(node: ast.AST, scope: ast.AST) -> bool:
    """Whether a child of a scope's node is read in that scope; decorators, defaults and bases are read around it."""
    if isinstance(scope, ast.Lambda):
        return node is scope.body
    if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node is not scope.args and node is not scope.returns and node not in scope.decorator_list
    if isinstance(scope, ast.ClassDef):
        return node not in scope.decorator_list and node not in scope.bases and node not in scope.keywords
    return True
