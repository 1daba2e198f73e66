"""Forebay's stand-in for the common parts of NVIDIA apex, over torch's own operators. Not the library itself."""

from __future__ import annotations

from . import amp, multi_tensor_apply, normalization, optimizers, parallel

__all__ = ["amp", "multi_tensor_apply", "normalization", "optimizers", "parallel"]
