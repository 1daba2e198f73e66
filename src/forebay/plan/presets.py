"""Models by name.

Asked:  which shape has `llama-3-70b`, and which model does a person mean who writes "Llama 3.1 70B" or a path?
Answer: `preset(name)` from `data/models.toml`; `model(text)` and `describe(text)` take a preset's name, a config.json or its
        folder, a JSON of our own Model, or "file.py:factory" of an nn.Module (`profile`). Case, spaces and marks don't count in a
        name, nor does an organisation before a slash.
Limits: shapes as published. What a source doesn't say is assumed, and said among the notes. A file of that name comes first.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from forebay.codec import decode
from forebay.errors import BadInput, Unknown, nearest
from forebay.plan.model import Model
from forebay.plan.read import LAYERS, Described, described, text_of
from forebay.plan.read.fields import Fields, parse

# What a name may end in without meaning another shape: tuned for talk, rounded, or a date.
SAME_SHAPE = re.compile(
    r"([-_ ](instruct|base|chat|hf|it|pt|thinking|bf16|fp16|fp8|fp4|nvfp4|int8|int4|awq|gptq|v0\.\d|\d{4}))+$"
)
FILE = Path(__file__).parent / "data" / "models.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published model: its shape, who says so, and what they say it weighs."""

    model: Model
    source: str
    published: float | None = None  # weights, as the source counts them
    active: float | None = None  # weights that a token meets, as the source counts them
    also: tuple[str, ...] = ()
    assumed: str = ""


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name, in the order of the file."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))["models"]
    return MappingProxyType({name: _preset(name, table) for name, table in tables.items()})


def _preset(name: str, table: dict[str, Any]) -> Preset:
    told = {key: table.pop(key) for key in ("source", "published", "active", "also", "assumed") if key in table}
    return Preset(
        model=decode(Model, {"name": name, **table}, at=name),
        source=told["source"],
        published=float(told["published"]) if "published" in told else None,
        active=float(told["active"]) if "active" in told else None,
        also=tuple(told.get("also", ())),
        assumed=told.get("assumed", ""),
    )


@cache
def _by_plain_name() -> Mapping[str, str]:
    return {_plain(word): name for name, one in presets().items() for word in (*one.also, name)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", SAME_SHAPE.sub("", name.rpartition("/")[2].strip().lower()))


def find(name: str) -> Preset:
    """The preset of that name, or Unknown with the names that may have been meant."""
    known = _by_plain_name().get(_plain(name))
    if known is None:
        raise Unknown("There is no such model among the presets.", asked=name, hint=_hint(name))
    return presets()[known]


def preset(name: str) -> Model:
    return find(name).model


def _hint(name: str) -> str:
    known = {word: key for key, one in presets().items() for word in (*one.also, key)}
    near = nearest(name.rpartition("/")[2].replace(" ", "-"), list(known), most=9) if name else []
    names = list(dict.fromkeys(known[word] for word in near))[:3]
    return (", ".join(names) + "; " if names else "") + "or the path of a config.json"


def model(text: str) -> Model:
    """The Model that a name or a path stands for."""
    return describe(text).model


def describe(text: str) -> Described:
    """The same, with its source and notes."""
    path = Path(text)
    if re.fullmatch(r"[^:]+:[A-Za-z_]\w*", text) and not os.path.exists(text):
        return _module(text)
    if not os.path.exists(text) and text.count("/") < 2 and not text.startswith((".", "/")) and not text.endswith(".json"):
        one = find(text)
        return Described(model=one.model, source=one.source, notes=(f"assumed: {one.assumed}",) if one.assumed else ())
    path = path / "config.json" if os.path.isdir(text) else path
    fields = parse(text_of(path), str(path))
    if "layers" in fields.data and fields.first(*LAYERS) is None:
        return Described(model=_own(fields), source=str(path))
    return described(fields, name=path.parent.name if path.name == "config.json" else path.stem)


def _module(text: str) -> Described:
    """A factory of a user's nn.Module. Torch is loaded only here."""
    try:
        from forebay.plan.profile import from_text
    except ImportError:
        raise BadInput(
            "To look at a module, torch must be there.", asked=text, hint="pip install torch, or a config.json"
        ) from None
    return from_text(text)


def _own(fields: Fields) -> Model:
    """A Model's own JSON. The codec names the field, the file its line."""
    try:
        return decode(Model, {"name": Path(fields.file).stem, **fields.data})
    except BadInput as bad:
        name = bad.found if "no field of that name" in bad.text else bad.text.partition(":")[0].rpartition(".")[2]
        path = tuple(bad.text.partition(":")[0].split(".")[1:-1])
        if not name or name not in _deep(fields.data, path):
            raise BadInput(f"{fields.file}: {bad.text}", found=bad.found, hint=bad.hint) from None
        at = Fields(data=fields.data, file=fields.file, text=fields.text, path=path).where(name)
        raise BadInput(f"{at}: {bad.text.rpartition(': ')[2]}", found=bad.found, hint=bad.hint) from None


def _deep(data: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        data = data.get(key, {}) if isinstance(data, dict) else {}
    return data if isinstance(data, dict) else {}
