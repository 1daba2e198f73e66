"""xformers.ops.fmha: the biases. Its kernels' classes are not here."""

from . import attn_bias
from .attn_bias import AttentionBias, BlockDiagonalMask, LowerTriangularMask

__all__ = ["AttentionBias", "BlockDiagonalMask", "LowerTriangularMask", "attn_bias"]
