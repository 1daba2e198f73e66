"""flash_attn.bert_padding: batches with and without their padding.

Axes: B batch, S places, N tokens that are no padding; anything may follow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from forebay.porting.shim.journal import noted


@noted("flash_attn.bert_padding.index_first_axis", "emulated")
def index_first_axis(values: Tensor, indices: Tensor) -> Tensor:
    return values[indices]


@noted("flash_attn.bert_padding.index_put_first_axis", "emulated")
def index_put_first_axis(values: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
    out = values.new_zeros(first_axis_dim, *values.shape[1:])
    return out.index_put((indices,), values)


@noted("flash_attn.bert_padding.unpad_input", "emulated")
def unpad_input(
    hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """The tokens that are no padding, where they were, where each sequence starts, the longest, and each one's length."""
    every = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = every.sum(-1, dtype=torch.int32)
    used = attention_mask.sum(-1, dtype=torch.int32)
    indices = torch.nonzero(every.flatten(), as_tuple=False).flatten()
    starts = F.pad(torch.cumsum(lengths, 0, dtype=torch.int32), (1, 0))
    return hidden_states.flatten(0, 1)[indices], indices, starts, int(lengths.max()), used


@noted("flash_attn.bert_padding.pad_input", "emulated")
def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    padded: Tensor = index_put_first_axis(hidden_states, indices, batch * seqlen)
    return padded.reshape(batch, seqlen, *hidden_states.shape[1:])
