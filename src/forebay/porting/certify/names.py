"""Which text in a script calls which operator of torch's database?

Asked:  a script says `F.relu_(x)`, `nn.Conv2d(3, 8, 3)` or `x.masked_fill(...)`. Which entries of the OpInfo database are these?
Answer: asked of torch itself, once a release, and kept as data beside `porting/operators.py`, so that the command line needs no
        torch:
          calls    torch.X, torch.nn.functional.X, torch.linalg.X, ... that name an entry, an alias of one, or what it tests
          methods  methods of Tensor that no Python builtin, file or NumPy array has too, so that the name alone tells
          modules  torch.nn.X: the functions that its `forward` calls, read from its text in torch

    python -m forebay.porting.certify.names > src/forebay/porting/operators.json

Limits: names of one release of torch. A module that hands its work to another function than those of torch and
        torch.nn.functional is known by these only.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import sys
import textwrap
from collections import defaultdict
from typing import Any

NAMESPACES = (
    "torch",
    "torch.nn.functional",
    "torch.linalg",
    "torch.fft",
    "torch.special",
    "torch.sparse",
    "torch.signal.windows",
)
# Methods that tables, plots and repositories have too.
SHARED_METHODS = ("H", "chunk", "clone", "div", "eq", "ge", "gt", "le", "lt", "mode", "mul", "ne", "norm", "scatter", "sub", "t")
# Family -> pattern; the first that is found in the name.
FAMILIES = {
    "matrix products": r"(^|[._])(b?mm|\w*add\w*mm|addr|mv|addmv|\w*matmul|linear|bilinear|einsum|inner|outer"
    r"|v?dot|kron|tensordot)(_v2|__)?$",
    "linear algebra": r"^linalg\.|cholesky|^(lu|svd|qr|pca|geqrf|ormqr|pinverse|triangular_solve|logdet"
    r"|matrix_exp|trace|cross)(_|$)",
    "attention": r"attention",
    "convolution": r"conv\d|conv_transpose|(^|\.)unfold",
    "pooling": r"pool",
    "losses": r"_loss$|cross_entropy|kl_div|distance|cosine_similarity|[pc]dist$",
    "normalisation, dropout": r"norm(?!al$)|dropout",
    "activations": r"functional\..*(elu6?|glu|softplus|shrink|igmoid|hardswish|hardtanh|mish|soft\w+"
    r"|threshold)$|softmax|^sigmoid$",
    "images, embeddings": r"^nn\.functional\.|grid_sampler|upsample",
    "Fourier, signals": r"^fft\.|stft$|^signal\.",
    "special functions": r"^special\.|gamma|^erf|^i0$|sinc|^logit$",
    "masked": r"^masked\.",
    "scatter, gather, index": r"scatter|gather|index|take|(^|_)put|select|where|getitem|masked_fill",
    "sorting, searching": r"sort|topk|unique|bucketize|kthvalue|hist|bincount|mode|median|quantile|nonzero|isin$|^max$|^min$",
    "random": r"^rand|normal|bernoulli|multinomial|uniform|exponential|cauchy|geometric",
    "making tensors": r"^(new_)?(empty|zeros|ones|full|arange|eye|linspace|logspace|scalar_tensor)|tri[lu]_indices|_like$",
    "shapes, views": r"view|shape|squeeze|permute|transpose|expand|stack|split|chunk|cat$|flatten|strided|dim$|broadcast"
    r"|^(t|T|mH|mT|H|atleast_\dd|narrow|unbind|ravel|flip\w*|roll|rot90|tile|repeat\w*|slice|contiguous|diag\w*"
    r"|resize_|tri[lu])(_copy)?$",
}  # fmt: skip
CLASSES = {"UnaryUfuncInfo": "elementwise, one", "BinaryUfuncInfo": "elementwise, two", "ReductionOpInfo": "reductions"}
_SELDOM = {"nn.functional.pad", "zeros"}  # in a module's text for a padding mode, or where a state wasn't given
_OWN_NAME = {"torch.nn.functional": "nn.functional."}  # other namespaces are spelled in the database without "torch."


def table() -> dict[str, Any]:
    """The whole table, as plain data."""
    import torch

    from forebay.porting.certify import database

    op_db = tuple(database.load().values())
    names: dict[str, str] = {}  # as spelled -> the operator's name in the database
    functions: dict[int, str] = {}
    for op in op_db:
        names[op.name] = op.name
    for op in op_db:
        for alias in op.aliases:
            names.setdefault(alias.name, op.name)
        if op.op is not None and not getattr(op.op, "__name__", "<lambda>").startswith("<"):
            functions.setdefault(id(op.op), op.name)
    calls: dict[str, str] = {}
    for space in NAMESPACES:
        holder = _reach(torch, space)
        prefix = _OWN_NAME.get(space, space.removeprefix("torch").lstrip(".") + "." if space != "torch" else "")
        for word in dir(holder):
            function = getattr(holder, word, None)
            if word.startswith("_") or not callable(function):
                continue
            found = names.get(prefix + word) or functions.get(id(function)) or names.get(prefix + word.removesuffix("_"))
            other = {"torch.nn.functional": "", "torch": "nn.functional."}.get(space)
            if found is None and other is not None:  # F.softmax is the database's softmax, torch.relu its nn.functional.relu
                found = names.get(other + word.removesuffix("_"))
            if found:
                calls[f"{space}.{word}"] = found
    return {
        "torch": torch.__version__.partition("+")[0],
        "operators": sorted({op.name for op in op_db}),
        "families": dict(sorted((op.name, _family(op)) for op in op_db)),
        "calls": dict(sorted(calls.items())),
        "methods": _methods(torch, names),
        "modules": _modules(torch, calls),
    }


def _family(op: Any) -> str:
    """The kind of an operator, for pictures: by its name where that tells, else by the database's own class."""
    for family, pattern in FAMILIES.items():
        if re.search(pattern, op.name):
            return family
    kinds = {kind.__name__ for kind in type(op).__mro__}
    return next((family for kind, family in CLASSES.items() if kind in kinds), "other")


def _reach(torch: Any, space: str) -> Any:
    found = torch
    for part in space.split(".")[1:]:
        found = getattr(found, part)
    return found


def _methods(torch: Any, names: dict[str, str]) -> dict[str, str]:
    """Methods of Tensor whose name alone tells: nothing else that scripts are full of has them."""
    import numpy

    others = (str, bytes, list, dict, set, tuple, int, float, complex, slice, io.StringIO, numpy.ndarray, numpy.generic, numpy)
    taken = {word for kind in (*others, torch.nn.Module) for word in dir(kind)} | set(SHARED_METHODS)
    found = {}
    for word in dir(torch.Tensor):
        plain = word.removesuffix("_")
        name = names.get(plain) or names.get("nn.functional." + plain)
        if not word.startswith("_") and word not in taken and name:
            found[word] = name
    return found


def _modules(torch: Any, calls: dict[str, str]) -> dict[str, list[str]]:
    """torch.nn's modules: what the text of their `forward`, and of the methods of theirs that it calls, names of torch."""
    found: dict[str, list[str]] = {}
    for word in dir(torch.nn):
        kind = getattr(torch.nn, word)
        if word.endswith(("Pad1d", "Pad2d", "Pad3d")):
            found[f"torch.nn.{word}"] = ["nn.functional.pad"]
        elif inspect.isclass(kind) and issubclass(kind, torch.nn.Module) and kind is not torch.nn.Module:
            called = sorted({calls[path] for path in _paths(kind, "forward", set()) if path in calls} - _SELDOM)
            if called:
                found[f"torch.nn.{word}"] = called
    return found


def _paths(kind: type, method: str, seen: set[str]) -> set[str]:
    function = getattr(kind, method, None)
    if method in seen or not inspect.isfunction(function):
        return set()
    seen.add(method)
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found[node.value.id].add(node.attr)
    paths = {f"torch.nn.functional.{word}" for word in found["F"]} | {f"torch.{word}" for word in found["torch"]}
    for word in found["self"]:
        paths |= _paths(kind, word, seen)
    return paths


if __name__ == "__main__":
    json.dump(table(), sys.stdout, indent=0, ensure_ascii=False)
    sys.stdout.write("\n")
