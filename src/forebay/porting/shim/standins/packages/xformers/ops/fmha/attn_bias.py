"""xformers.ops.fmha.attn_bias: who sees whom, said without a tensor.

Asked:  which keys may a query see?
Answer: `keep` for one sequence; `blocks` for a packed batch: each sequence's queries, its keys, and what of them is seen.
Limits: LowerTriangularMask is aligned to the first key (top left), the ...FromBottomRight kinds to the last. Paged and
        gappy keys are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from forebay.porting.shim.standins.attention import window
from forebay.porting.shim.standins.refuse import refused


class AttentionBias:
    """Base of all: sees everything, unless it says otherwise."""

    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        return None

    def materialize(self, shape: Sequence[int], dtype: torch.dtype = torch.float32, device: Any = "cpu") -> Tensor:
        """What is added to the scores: 0 where a key is seen, -inf where it isn't."""
        keep = self.keep(shape[-2], shape[-1], torch.device(device))
        zeros = torch.zeros(tuple(shape), dtype=dtype, device=device)
        return zeros if keep is None else zeros.masked_fill(~keep, -torch.inf)


class LowerTriangularMask(AttentionBias):
    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()

    def add_bias(self, bias: Tensor) -> LowerTriangularMaskWithTensorBias:
        return LowerTriangularMaskWithTensorBias(bias)

    def make_local_attention(self, window_size: int) -> LocalAttentionFromBottomRightMask:
        return LocalAttentionFromBottomRightMask(window_size - 1, 0)


class LowerTriangularMaskWithTensorBias(LowerTriangularMask):
    def __init__(self, bias: Tensor) -> None:
        self.added = bias

    def materialize(self, shape: Sequence[int], dtype: torch.dtype = torch.float32, device: Any = "cpu") -> Tensor:
        return super().materialize(shape, dtype, device) + self.added.to(device=device, dtype=dtype)


class LowerTriangularFromBottomRightMask(AttentionBias):
    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        return window(queries, keys, -1, 0, device)


class LocalAttentionFromBottomRightMask(AttentionBias):
    def __init__(self, window_left: int, window_right: int) -> None:
        self.window_left, self.window_right = window_left, window_right

    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        return window(queries, keys, self.window_left, self.window_right, device)


@dataclass
class _SeqLenInfo:
    """Where each sequence of a packed batch starts; one more than there are sequences."""

    seqstart_py: list[int]

    @classmethod
    def from_seqlens(cls, seqlens: Sequence[int]) -> _SeqLenInfo:
        return cls([0, *accumulate(seqlens)])

    @property
    def seqstart(self) -> Tensor:
        return torch.tensor(self.seqstart_py, dtype=torch.int32)

    @property
    def max_seqlen(self) -> int:
        return max(b - a for a, b in self.intervals())

    def intervals(self) -> list[tuple[int, int]]:
        return list(zip(self.seqstart_py, self.seqstart_py[1:]))  # noqa: B905  # Python 3.9 has no `strict`

    def split(self, x: Tensor, batch_sizes: Sequence[int] | None = None) -> list[Tensor]:
        parts = [x[:, a:b] for a, b in self.intervals()]
        if batch_sizes is None:
            return parts
        ends = list(accumulate(batch_sizes))
        return [torch.cat(parts[end - size : end]) for end, size in zip(ends, batch_sizes)]  # noqa: B905


class Blocks(AttentionBias):
    """A packed batch: each sequence sees its own keys only, and of those what `inner` says."""

    inner: AttentionBias = AttentionBias()

    def __init__(self, q_seqinfo: _SeqLenInfo, k_seqinfo: _SeqLenInfo, _batch_sizes: Sequence[int] | None = None) -> None:
        self.q_seqinfo, self.k_seqinfo, self._batch_sizes = q_seqinfo, k_seqinfo, _batch_sizes

    @classmethod
    def from_seqlens(cls, q_seqlen: Sequence[int], kv_seqlen: Sequence[int] | None = None, **kwargs: Any) -> Any:
        return cls(_SeqLenInfo.from_seqlens(q_seqlen), _SeqLenInfo.from_seqlens(q_seqlen if kv_seqlen is None else kv_seqlen))

    @classmethod
    def from_tensor_list(cls, tensors: Sequence[Tensor]) -> tuple[Any, Tensor]:
        """The mask for these batches, each of B, S, ..., and all of them packed into one."""
        lengths = [tensor.shape[1] for tensor in tensors for _ in range(tensor.shape[0])]
        made = cls.from_seqlens(lengths)
        made._batch_sizes = [tensor.shape[0] for tensor in tensors]
        return made, torch.cat([tensor.reshape(1, -1, *tensor.shape[2:]) for tensor in tensors], 1)

    def split(self, tensor: Tensor) -> list[Tensor]:
        return self.q_seqinfo.split(tensor, self._batch_sizes)

    split_queries = split

    def split_kv(self, tensor: Tensor) -> list[Tensor]:
        return self.k_seqinfo.split(tensor, self._batch_sizes)

    def blocks(self, device: Any) -> Iterator[tuple[slice, slice, Tensor | None]]:
        for (a, b), (c, d) in zip(self.q_seqinfo.intervals(), self.k_seqinfo.intervals()):  # noqa: B905
            yield slice(a, b), slice(c, d), self.inner.keep(b - a, d - c, device)

    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        keep = torch.zeros(queries, keys, dtype=torch.bool, device=device)
        for mine, theirs, inner in self.blocks(device):
            keep[mine, theirs] = True if inner is None else inner
        return keep


class BlockDiagonalMask(Blocks):
    def make_causal(self) -> BlockDiagonalCausalMask:
        return BlockDiagonalCausalMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes)

    def make_causal_from_bottomright(self) -> BlockDiagonalCausalFromBottomRightMask:
        return BlockDiagonalCausalFromBottomRightMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes)


class BlockDiagonalCausalMask(Blocks):
    inner = LowerTriangularMask()


class BlockDiagonalCausalFromBottomRightMask(Blocks):
    inner = LowerTriangularFromBottomRightMask()


class BlockDiagonalCausalLocalAttentionMask(Blocks):
    """Causal from the first key, and no further back than the window."""

    def __init__(self, q_seqinfo: _SeqLenInfo, k_seqinfo: _SeqLenInfo, _batch_sizes: Any = None, _window_size: int = 0) -> None:
        super().__init__(q_seqinfo, k_seqinfo, _batch_sizes)
        self.inner = _LocalFromTopLeft(_window_size)


class _LocalFromTopLeft(LowerTriangularMask):
    def __init__(self, window_size: int) -> None:
        self.window_size = window_size

    def keep(self, queries: int, keys: int, device: Any) -> Tensor | None:
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril().triu(1 - self.window_size)


_USE = "BlockDiagonalMask over the keys that are seen"
BlockDiagonalPaddedKeysMask = refused("xformers.ops.fmha.attn_bias.BlockDiagonalPaddedKeysMask", _USE)
BlockDiagonalCausalWithOffsetPaddedKeysMask = refused(
    "xformers.ops.fmha.attn_bias.BlockDiagonalCausalWithOffsetPaddedKeysMask", _USE
)
BlockDiagonalGappyKeysMask = refused("xformers.ops.fmha.attn_bias.BlockDiagonalGappyKeysMask", _USE)
PagedBlockDiagonalPaddedKeysMask = refused("xformers.ops.fmha.attn_bias.PagedBlockDiagonalPaddedKeysMask", _USE)
