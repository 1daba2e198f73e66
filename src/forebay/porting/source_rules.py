"""What the scan looks for beside Python: CUDA and C++ sources, build files, requirements, settings."""

from __future__ import annotations

from forebay.porting.findings import Word
from forebay.porting.rule import Rule

RUNS, EMULATED, REWRITE, BLOCKED = Word.RUNS, Word.EMULATED, Word.REWRITE, Word.BLOCKED

SOURCE_TABLE = (
    Rule("cu-file", "CUDA kernels in a file of their own; on cores they are compiled as C++", REWRITE, EMULATED, BLOCKED),
)  # fmt: skip
