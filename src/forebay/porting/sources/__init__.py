"""What beside Python ties a project to CUDA: kernels' sources, build files, requirements, settings."""

from __future__ import annotations

from pathlib import PurePath

from forebay.porting.findings import Finding
from forebay.porting.rules import RULES

_KERNELS = (".cu", ".cuh", ".ptx")


def reads(path: str) -> bool:
    """Whether a file is one of those that are read here, by its name. Python is read by porting.scan."""
    return PurePath(path).suffix in _KERNELS


def find(path: str, text: str) -> tuple[Finding, ...]:
    """What such a file's text needs, in the order of its lines."""
    return (Finding(file=path, line=1, column=1, rule="cu-file", what=path, excerpt=path, meaning=RULES["cu-file"].meaning),)
