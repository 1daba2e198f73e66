"""A user's nn.Module becomes a Model, without its weights in memory.

Asked:  which shape has the transformer that this module builds?
Answer: `profile(module)`, or `from_text("package.module:factory")`, which calls the factory on torch's meta device. One forward
        runs there (`profile_trace`); `profile_shape` makes the Model of what passed, and checks it against the module's weights.
        A module with a Hugging Face config is read by that, and checked alike. The module is left as it was.
Limits: decoder-only transformers. Convolutions, recurrent and state-space layers are refused by name. A window isn't seen.
        Experts whose routing needs values are not run: their matrices tell their shape. Runs with torch 2.4 and later.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forebay.errors import BadInput, nearest
from forebay.plan.profile_facts import Experts, Facts, Part
from forebay.plan.profile_shape import HOW, checked, shape
from forebay.plan.profile_trace import Trace, run
from forebay.plan.read import Described, read

REFUSED = (
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Bilinear,
    nn.EmbeddingBag,
    nn.Transformer,
    nn.TransformerDecoderLayer,
)
LISTS = (nn.ModuleList, nn.ModuleDict)
ODD = re.compile(r"Mamba|SSM(?![a-z])|S4(?![a-z0-9])|R[Ww][Kk][Vv]|Hyena|RetNet|LSTM|GRU")
HEADS = ("num_heads", "n_heads", "n_head", "num_attention_heads", "nhead", "heads")
CHOSEN = ("top_k", "topk", "num_experts_per_tok", "num_experts_per_token", "n_activated_experts", "k")


def from_text(text: str) -> Described:
    """The model of "package.module:factory" or "path/to/file.py:factory", which may import what lies beside it."""
    place, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier():
        raise BadInput("That names no factory.", asked=text, hint="package.module:factory, or path/to/file.py:factory")
    with _importing_from(Path(place).parent if place.endswith(".py") else Path.cwd()):
        try:
            module = _module(place)
        except Exception as bad:
            raise BadInput(f"{place} can't be imported.", asked=text, found=f"{type(bad).__name__}: {bad}") from None
        if not hasattr(module, name):
            near = nearest(name, [one for one, what in vars(module).items() if callable(what)])
            raise BadInput(f"{place} has no {name}.", asked=text, hint=", ".join(f"{place}:{one}" for one in near))
        made = getattr(module, name)
        if not isinstance(made, nn.Module):
            try:
                with torch.device("meta"):
                    made = made()
            except Exception as bad:
                raise BadInput(f"{name}() fails on the meta device.", asked=text, found=f"{type(bad).__name__}: {bad}") from None
        if not isinstance(made, nn.Module):
            raise BadInput(f"{name}() gives no torch.nn.Module.", asked=text, found=type(made).__name__)
        return profile(made)


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """With the folder on Python's path, as for a script that is started there."""
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.absolute()))


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    if spec is None or spec.loader is None or not Path(place).is_file():
        raise FileNotFoundError(place)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return module


def profile(module: nn.Module, inputs: tuple[Any, ...] | None = None, name: str = "", chosen: int = 0) -> Described:
    """The model that a module is.

    `inputs`: what its forward takes, where one row of token ids isn't right. `chosen`: experts of a token, where no
    top-k is seen.
    """
    name = name or type(module).__name__
    _refuse(module)
    weights = {key: weight.numel() for key, weight in module.named_parameters() if weight.ndim > 1}
    small = sum(weight.numel() for weight in module.parameters() if weight.ndim < 2)
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict") and "model_type" in config.to_dict():
        told = read(config.to_dict())
        if abs(told.model.parameters - sum(weights.values())) <= 0.01 * sum(weights.values()):
            return Described(model=told.model, source=f"the config of {name}, checked against its weights", notes=told.notes)
    facts = _facts(module, inputs, chosen)
    model, notes = shape(facts, name)
    return checked(model, facts, weights, small, notes)


def _refuse(module: nn.Module) -> None:
    """Layers that a Model doesn't have, by name."""
    odd = [
        f"{key or 'the module itself'} ({type(one).__name__})"
        for key, one in module.named_modules()
        if isinstance(one, REFUSED) or (ODD.search(type(one).__name__) and any(True for _ in one.parameters()))
    ]
    if odd:
        more = f" and {len(odd) - 4} more" if len(odd) > 4 else ""
        raise BadInput("Some layers can't be described.", found=", ".join(odd[:4]) + more, hint=HOW)
    if not any(weight.ndim > 1 for weight in module.parameters()):
        raise BadInput("The module has no weights.", found=type(module).__name__)


def _facts(module: nn.Module, inputs: tuple[Any, ...] | None, chosen: int) -> Facts:
    layers = _layers(module)
    experts = _experts(module, layers)
    trace = Trace(module, layers)
    shapes = {key: tuple(weight.shape) for key, weight in module.named_parameters() if weight.ndim > 1}
    doubtful = {one.name.rpartition(".")[0] for one in experts}
    doubtful |= {key.rpartition(".")[0] for key, size in shapes.items() if len(size) == 3 and trace.layer_of(key) is not None}
    failed = run(module, trace, inputs, doubtful - set(layers))
    if failed is not None and not trace.used:
        raise BadInput(
            "The module's forward can't be traced on the meta device.",
            found=f"{type(failed).__name__}: {failed}".partition("\n")[0][:200],
            hint="profile(module, inputs=...) with tensors that it takes",
        )
    parts = tuple(
        Part(name=key, layer=trace.layer_of(key), shape=size, **trace.used.get(key, {}))  # type: ignore[arg-type]
        for key, size in shapes.items()
    )
    attribute = [value for one in module.modules() for word in HEADS if type(value := getattr(one, word, None)) is int]
    picks = [value for one in module.modules() for word in CHOSEN if type(value := getattr(one, word, None)) is int]
    counts = {one.count for one in experts} | {one.many for one in parts}
    return Facts(
        layers=tuple(layers),
        parts=parts,
        attends=tuple(trace.attends),
        embeddings=tuple(trace.embeddings),
        experts=tuple(experts),
        chosen=chosen or next((k for size, k in reversed(trace.picks) if size in counts), 0),
        heads_said=attribute[0] if attribute else 0,
        chosen_said=picks[0] if picks else 0,
        failed="" if failed is None else f"{type(failed).__name__}: {failed}".partition("\n")[0][:120],
        skipped=trace.skipped,
    )


def _layers(module: nn.Module) -> list[str]:
    """Names of the repeated blocks: the list of modules, or the alike children of one, that hold most weights."""
    best: tuple[int, list[str]] = (0, [])
    for key, one in module.named_modules():
        members = [(word, child) for word, child in one.named_children() if _matrices(child) > 1 and not isinstance(child, LISTS)]
        groups = [members]
        if not isinstance(one, (*LISTS, nn.Sequential)):
            kinds = dict.fromkeys(type(child) for _, child in members)
            groups = [[pair for pair in members if type(pair[1]) is kind] for kind in kinds]
        for group in groups:
            listed = isinstance(one, nn.ModuleList) and not best[1]
            weight = sum(w.numel() for _, child in group for w in child.parameters())
            if (len(group) > 1 or (listed and group)) and weight > best[0]:
                best = (weight, [f"{key}.{word}" if key else word for word, _ in group])
    if not best[1]:
        raise BadInput("No repeated layers are found in the module.", found=type(module).__name__, hint=HOW)
    return best[1]


def _matrices(module: nn.Module) -> int:
    return sum(1 for weight in module.parameters() if weight.ndim > 1)


def _experts(module: nn.Module, layers: list[str]) -> list[Experts]:
    """Lists of alike modules inside a layer. Whether they are experts or heads of attention, the trace tells."""
    found: list[Experts] = []
    for key, one in module.named_modules():
        inside = next((i for i, layer in enumerate(layers) if key.startswith(layer + ".")), None)
        if inside is None or not isinstance(one, LISTS) or len(one) < 2:
            continue
        kinds = {tuple(sorted(tuple(w.shape) for w in child.parameters() if w.ndim > 1)) for child in one.children()}
        if len(kinds) == 1 and next(iter(kinds)) and not any(key.startswith(other.name + ".") for other in found):
            found.append(Experts(name=key, layer=inside, count=len(one)))
    return found
