"""Find which of torch's operators a script calls by name.

Asked:  on which lines does this text call which entries of torch's operator database?
Answer: names are followed through imports, aliases and functions' own arguments; a path (`F.relu`, `nn.Conv2d`) or a method that
        nothing but a tensor has (`.masked_fill_()`) is looked up in `operators.json`, which `certify.names` made from torch.
Limits: what is written: `a + b`, `a[mask]`, `x.sum()`, which NumPy spells too, and what a library calls for the script aren't
        seen. A name is followed within its file.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

_BACKWARD = re.compile(r"^_|_backward(_data|_overrideable)?$|^_?(native|cudnn|miopen|mkldnn)_")
_OF_ATEN = {  # ATen's name -> the database's, where no rule leads from one to the other
    "convolution": "nn.functional.conv2d",
    "convolution_overrideable": "nn.functional.conv2d",
    "max_pool2d_with_indices": "nn.functional.max_pool2d",
    "_local_scalar_dense": "item",
    "_to_copy": "to",
    "nll_loss_forward": "nn.functional.nll_loss",
    "native_dropout": "nn.functional.dropout",
    "_scaled_dot_product_flash_attention": "nn.functional.scaled_dot_product_attention",
    "_scaled_dot_product_efficient_attention": "nn.functional.scaled_dot_product_attention",
    "_scaled_dot_product_fused_attention_overrideable": "nn.functional.scaled_dot_product_attention",
    "_fft_c2c": "fft.fft",
    "_fft_r2c": "fft.rfft",
    "_fft_c2r": "fft.irfft",
    "embedding_dense": "nn.functional.embedding",
    "_linalg_eigvals": "linalg.eigvals",
    "_linalg_svd": "linalg.svd",
    "_linalg_det": "linalg.det",
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_GRADIENTS = frozenset({"backward", "torch.autograd.grad", "torch.autograd.backward", "torch.func.grad"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One place where a script calls an operator by name. It says nothing of a chip."""

    operator: str  # as torch's database calls it, without the entry's variant: "nn.functional.relu"
    what: str  # as the script spells it, names resolved: "torch.nn.ReLU", ".masked_fill_()"
    file: str
    line: int  # from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The operators that some files call."""

    called: tuple[Called, ...]
    imports_torch: bool
    gradients: bool  # some line asks for them


def called(tree: ast.AST, file: str) -> Calls:
    """What a parsed script calls, by line."""
    walk = _Walk(file)
    walk.block([tree], {})
    found = tuple(sorted(walk.found, key=lambda one: (one.line, one.operator)))
    return Calls(called=found, imports_torch=walk.imports_torch, gradients=walk.gradients)


def of_files(root: Path, files: Iterable[str], operators: Set[str]) -> Calls:
    """Where the Python files call these operators. Only files whose text has a word of theirs are parsed.

    A file that can't be read or parsed calls nothing; the scan has told of it already.
    """
    words = sorted(_spelled(operators), key=len, reverse=True)
    if not words:
        return together(())
    spelled = re.compile(rb"(?<!\w)(?:" + b"|".join(re.escape(word.encode()) for word in words) + rb")(?!\w)")
    parts, gradients = [], False
    for name in files:
        if name.endswith(".py"):
            with warnings.catch_warnings(), contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
                warnings.simplefilter("ignore")
                body = (root / name).read_bytes()
                gradients |= b".backward(" in body or b"autograd.grad" in body
                if b"torch" in body and spelled.search(body):
                    parts.append(called(ast.parse(body), name))
    found = together(parts)
    return replace(found, called=tuple(one for one in found.called if one.operator in operators), gradients=gradients)


def _spelled(operators: Set[str]) -> set[str]:
    """The last words by which texts call these operators: "fft", "conv2d", "Conv2d", "masked_fill_"."""
    table = _table()
    found = {path for kind in ("calls", "methods") for path, name in table[kind].items() if name in operators}
    found |= {path for path, named in table["modules"].items() if not operators.isdisjoint(named)}
    return {path.rpartition(".")[2] for path in found}


def together(parts: Iterable[Calls]) -> Calls:
    """What all these files call."""
    parts = tuple(parts)
    return Calls(
        called=tuple(one for part in parts for one in part.called),
        imports_torch=any(part.imports_torch for part in parts),
        gradients=any(part.gradients for part in parts),
    )


def names() -> tuple[str, ...]:
    """The operators of torch's database, without variants."""
    return tuple(_table()["operators"])


def of_torch() -> str:
    """The release of torch whose names these are."""
    return str(_table()["torch"])


def base(entry: str) -> str:
    """The operator of a database entry: "div.floor_rounding" is a variant of "div"."""
    families, name = _table()["families"], entry.rstrip("+")  # with which `certify.database` tells equal names apart
    while name not in families and "." in name:
        name = name.rpartition(".")[0]
    return name if name in families else entry


def of_aten(name: str) -> str:
    """The database's name of an operator of ATen: "aten::add_.Tensor" is "add", "aten::_log_softmax" "log_softmax"."""
    plain = name.removeprefix("aten::").partition(".")[0]
    known = _table()["families"]
    for word in (plain, plain.removesuffix("_"), _BACKWARD.sub("", plain).removesuffix("_")):
        word = _OF_ATEN.get(word, word)
        space, _, rest = word.partition("_")
        for spelled in (word, f"nn.functional.{word}", f"{space}.{rest}", f"{space}.{space}_{rest}", word.removeprefix("_")):
            if spelled in known:
                return str(spelled)
    return plain


def family(entry: str) -> str:
    """The kind of an operator, for pictures; of an entry that torch's database didn't have, "other"."""
    return str(_table()["families"].get(base(entry), "other"))


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("operators.json").read_text(encoding="utf-8"))
    return table


class _Walk:
    """One file, scope by scope. A scope maps a name to the dotted path it stands for, or to None where it is something else."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Called] = []
        self.imports_torch = False
        self.gradients = False

    def block(self, nodes: Iterable[ast.AST], scope: Mapping[str, str | None]) -> None:
        nodes = list(nodes)
        scope = {**scope, **dict(self._bindings(nodes, scope))}
        for node in nodes:
            self._inside(node, scope)

    def _inside(self, node: ast.AST, scope: Mapping[str, str | None]) -> None:
        if isinstance(node, _FUNCTIONS):
            self._function(node, scope)
            return
        if isinstance(node, ast.Call):
            self._call(node, scope)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            self._path(node, scope)
        for child in ast.iter_child_nodes(node):
            self._inside(child, scope)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Mapping[str, str | None]) -> None:
        """Its body knows its arguments; defaults and decorators don't."""
        given = node.args
        outside = [*given.defaults, *given.kw_defaults, *getattr(node, "decorator_list", [])]
        for one in outside:
            if one is not None:
                self._inside(one, scope)
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        inner = {**scope, **{one.arg: None for one in arguments if one is not None}}
        self.block(node.body if isinstance(node.body, list) else [node.body], inner)

    def _call(self, node: ast.Call, scope: Mapping[str, str | None]) -> None:
        if not isinstance(node.func, ast.Attribute):
            if isinstance(node.func, ast.Name):
                self._note(scope.get(node.func.id), node)
            return
        path = _resolved(node.func, scope)
        word = node.func.attr
        if path is None:
            if word in _table()["methods"]:
                self._add(_table()["methods"][word], f".{word}()", node)
            self.gradients |= word in _GRADIENTS
        self.gradients |= path in _GRADIENTS

    def _path(self, node: ast.Attribute, scope: Mapping[str, str | None]) -> None:
        """Any mention counts: `map(F.relu, xs)` and `act = nn.GELU` call it too, later."""
        self._note(_resolved(node, scope), node)

    def _note(self, path: str | None, node: ast.expr) -> None:
        if path is not None and path.startswith("torch."):
            for operator in _of_path(path):
                self._add(operator, path, node)

    def _add(self, operator: str, what: str, node: ast.expr) -> None:
        self.found.append(Called(operator=operator, what=what, file=self.file, line=node.lineno))

    def _bindings(self, nodes: Iterable[ast.AST], scope: Mapping[str, str | None]) -> Iterator[tuple[str, str | None]]:
        """What a block's own statements give names to; functions and classes inside keep theirs."""
        waiting = list(nodes)[::-1]
        known = dict(scope)
        while waiting:
            node = waiting.pop()
            bound: dict[str, str | None] = {}
            if isinstance(node, ast.Import):
                self.imports_torch |= any(alias.name.partition(".")[0] == "torch" for alias in node.names)
                bound = {
                    alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
                    for alias in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                self.imports_torch |= (node.module or "").partition(".")[0] == "torch" and node.level == 0
                space = "." * node.level + (node.module or "")
                bound = {alias.asname or alias.name: f"{space}.{alias.name}" for alias in node.names}
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                path = _resolved(node.value, known) if node.value is not None else None
                bound = {one.id: path for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                bound = {node.name: None}
            elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
                bound = {one.id: None for one in ast.walk(node.target) if isinstance(one, ast.Name)}
            for name, path in bound.items():
                known[name] = path
                yield name, path
            if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                waiting.extend(list(ast.iter_child_nodes(node))[::-1])


def _resolved(node: ast.AST, scope: Mapping[str, str | None]) -> str | None:
    """The dotted path that an expression stands for: `F.relu` -> "torch.nn.functional.relu"."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    root = scope.get(node.id)
    return ".".join([root, *words[::-1]]) if root else None


def _of_path(path: str) -> tuple[str, ...]:
    table = _table()
    path = path.replace("torch.nn.modules.", "torch.nn.", 1) if path.startswith("torch.nn.modules.") else path
    if path in table["calls"]:
        return (table["calls"][path],)
    if path.startswith("torch.Tensor.") and path.rpartition(".")[2] in table["methods"]:
        return (table["methods"][path.rpartition(".")[2]],)
    return tuple(table["modules"].get(path, ()))
