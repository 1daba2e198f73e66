"""What does a layer keep for its backward, in bytes a token?

Asked:  a model, a number format, a framework, and degrees as arrays; one kind of recomputing at a time.
Answer: the sum of what each operation saves, as Korthikanti et al. count (arXiv 2205.05198, section 4.1, equations 1 to 4),
        carried over to gated MLPs, grouped queries, latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), experts (each
        token is kept once for each expert that it goes to) and flash attention (no scores, one float32 a head and token).
        `w` is the width of a number (2 bytes in bf16), `q` that of a matrix product's stored input (1 in fp8).
            attention   norm in w h, norm out q h, q k v w (..), out w (q more in fp8), scores (2 w + 1) s heads where not flash
            MLP         norm in w h, norm out q h, up w (2) f, its activation q f, and a mask where there is dropout
        With sequence parallelism all is cut by the tensor degree, without it the norms' part isn't.
Units:  bytes a token of one card's micro-batch.
Limits: balanced routing. Recomputing a norm or an activation alone isn't known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forebay.plan.habits import Habits
from forebay.plan.model import Model

EIGHT_BIT = ("fp8", "mxfp8", "int8")
FOUR_BIT = ("nvfp4", "fp4", "mxfp4")


def width(number_format: str) -> int:
    """Bytes of a number of the main computation."""
    return 4 if number_format in ("fp32", "tf32") else 2


def stored(number_format: str) -> float:
    """Bytes of a number that a matrix product keeps for its weight gradient."""
    return 0.5 if number_format in FOUR_BIT else 1 if number_format in EIGHT_BIT else width(number_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Bytes a token that one layer keeps, dense and with experts, under each kind of recomputing; entries are arrays."""

    dense: Any
    expert: Any


def kept(
    model: Model, tokens: int, number_format: str, how: Habits, recompute: str, tensor: Any, cut: Any, etp: Any, turned: Any
) -> Kept:
    """`cut` is what the norms' part is cut by: the tensor degree with sequence parallelism, else 1. `turned`: attention is behind
    an exchange of heads for tokens (Ulysses), whose two sides are both kept.
    """
    w = width(number_format)
    first = w * model.width / cut
    if recompute == "full":
        return Kept(dense=first, expert=first)
    if recompute == "selective" and how.every_other:
        return _every_other(model, w, tensor, cut, etp, first)
    attention = _attention(model, number_format, tokens, how, recompute, tensor, cut)
    attention = attention + turned * w * _out(model) / tensor
    return Kept(
        dense=attention + _mlp(model, number_format, how, model.mlp_width, tensor, cut),
        expert=attention + _experts(model, number_format, how, tensor, cut, etp),
    )


def _attention(model: Model, number_format: str, tokens: int, how: Habits, recompute: str, tensor: Any, cut: Any) -> Any:
    w, q = width(number_format), stored(number_format)
    h, heads = model.width, model.heads
    found = (w * h + q * h + (h if how.dropout else 0)) / cut
    if (a := model.latent) is None:
        out = _out(model)
        parts: float = w * (out + 2 * model.kv_heads * model.head)
    else:
        out = _out(model)
        parts = w * heads * (2 * (a.plain + a.rotary) + a.value)
        found = found + ((w + q) * (a.query_rank + a.kv_rank) + w * a.rotary) / cut
    parts += w * out + (q * out if q < w else 0)
    if how.flash:
        parts += 4 * heads
    elif recompute == "none":
        parts += (2 * w + 1 if how.dropout else w) * heads * tokens
    return found + parts / tensor


def _mlp(model: Model, number_format: str, how: Habits, hidden: int, tensor: Any, cut: Any) -> Any:
    w, q = width(number_format), stored(number_format)
    found = (w + q + (1 if how.dropout else 0)) * model.width / cut
    return found + (_inner(number_format, how) * (model.matrices - 1) + q) * hidden / tensor


def _out(model: Model) -> int:
    """Width of all heads' outputs."""
    return model.heads * (model.head if model.latent is None else model.latent.value)


def _inner(number_format: str, how: Habits) -> float:
    """Bytes of a number that goes into an MLP's activation."""
    w = width(number_format)
    return min(1, w) if how.eight_bit_inner and stored(number_format) < w else w


def _experts(model: Model, number_format: str, how: Habits, tensor: Any, cut: Any, etp: Any) -> Any:
    """The router's probabilities in float32, tokens in the order of experts, each expert's two widths, and the shared ones'."""
    if (e := model.experts) is None:
        return 0.0
    w, q = width(number_format), stored(number_format)
    norms = (2 * w * model.width + 4 * 2 * e.count + (model.width if how.dropout else 0)) / cut
    inner = _inner(number_format, how) * (model.matrices - 1) + q
    inner += w * (model.matrices - 1) * e.clamped  # before and after it is cut off
    routed = e.chosen * (q * model.width + inner * e.width / etp) / cut
    shared = inner * e.shared_width / tensor
    return norms + routed + shared


def _every_other(model: Model, w: int, tensor: Any, cut: Any, etp: Any, first: Any) -> Kept:
    """Attention's output, and of the matrix products the first, third, fifth and seventh: query, value, gate and down."""
    out = _out(model)
    values = model.kv_heads * model.head if model.latent is None else model.heads * model.latent.value
    attention = first + (w * (2 * out + values) + 4 * model.heads) / tensor
    down = w * model.width / cut
    dense = attention + w * model.mlp_width / tensor + down
    if (e := model.experts) is None:
        return Kept(dense=dense, expert=dense)
    experts = e.chosen * w * (model.width + e.width / etp) / cut
    return Kept(dense=dense, expert=attention + experts + w * e.shared_width / tensor + down)
