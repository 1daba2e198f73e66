"""Forebay's stand-in for the attention of xformers, over torch's own operators. Not the library itself."""

from __future__ import annotations

from . import ops

__version__ = "0.0.32"
__all__ = ["ops"]
