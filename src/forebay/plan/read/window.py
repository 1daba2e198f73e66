"""The window of a config.json: how far back attention looks.

Asked:  do this model's layers look at all tokens before, or at so many only, and which of them?
Answer: `window(fields, …)`: None where every layer sees all. `layer_types` says it layer by layer; else a pattern, else
        the family. `sliding_window` counts only where the file or the family uses it.
Limits: a Model knows one window, and one full layer in every so many. An uneven mix keeps its share of full layers, with a note.
        Llama 4's chunks are read as a window of their size.
"""

from __future__ import annotations

from forebay.plan.families import Family
from forebay.plan.model import Window
from forebay.plan.read.fields import Fields

FULL = ("full_attention", "attention", "full", "global", "indexed_attention")
CUT = ("sliding_attention", "chunked_attention", "sliding", "local")


def window(f: Fields, kind: str, family: Family, layers: int, notes: list[str]) -> Window | None:
    if "use_sliding_window" in f and not f.flag("use_sliding_window", False):
        return None
    chunked = kind == "llama4_text" and "attention_chunk_size" in f
    tokens = f.count("attention_chunk_size") if chunked else f.count("sliding_window", "window_size", default=0, least=0)
    full = _full(f, kind, family, layers, chunked)
    longest = f.count("max_position_embeddings", default=0, least=0)
    if all(full) or not tokens or 0 < longest <= tokens:
        return None
    if chunked:
        notes.append(f"attention in chunks of {tokens:,} tokens is read as a window of that size")
    every = _every(full)
    if every is None:
        many = sum(full)
        every = max(2, round(layers / many))
        notes.append(f"{many} of {layers} layers see all tokens, unevenly; planned as one in {every}")
    return Window(tokens=tokens, full_every=every)


def _full(f: Fields, kind: str, family: Family, layers: int, chunked: bool) -> list[bool]:
    """Layer by layer: does it see all tokens?"""
    if listed := f.first("layer_types", "attention_layers"):
        told = f.listed(listed, str) or []
        odd = next((word for word in told if word not in FULL + CUT), None)
        if odd is not None:
            raise f.wrong(listed, f"a layer of kind {odd!r} can't be described.", hint=", ".join(FULL[:1] + CUT[:2]))
        if len(told) != layers:
            raise f.wrong(listed, f"{len(told)} entries for {layers} layers.")
        return [word in FULL for word in told]
    if chunked and (rotary := f.listed("no_rope_layers", int)):
        if len(rotary) < layers:
            raise f.wrong("no_rope_layers", f"{len(rotary)} entries for {layers} layers.")
        return [not here for here in rotary[:layers]]
    pattern = f.first("sliding_window_pattern", "_sliding_window_pattern")
    every = f.count(pattern) if pattern and isinstance(f.data[pattern], int) else 4 if chunked else family.full_every
    if every:
        return [i % every == every - 1 for i in range(layers)]
    if "max_window_layers" in f and kind.startswith("qwen"):
        return [i < f.count("max_window_layers", least=0) for i in range(layers)]
    return [False] * layers


def _every(full: list[bool]) -> int | None:
    """The n of which every n-th layer sees all; 0 for none; None where they don't lie so."""
    if not any(full):
        return 0
    every = full.index(True) + 1
    return every if full == [i % every == every - 1 for i in range(len(full))] else None
