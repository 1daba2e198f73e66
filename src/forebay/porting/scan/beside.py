"""The files of a script's own folder that it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def beside(imports: Iterable[ast.Import | ast.ImportFrom], file: Path, folder: Path) -> Iterator[Path]:
    for node in imports:
        names: list[str] = []
        base = folder
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            if node.level:
                base = file.parents[node.level - 1] if node.level <= len(file.parents) else folder
            stem = f"{node.module}." if node.module else ""
            names = [node.module or "", *(stem + alias.name for alias in node.names)]
        for name in filter(None, names):
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                module = base.joinpath(*parts[:i])
                yield from (path for path in (module.with_name(module.name + ".py"), module / "__init__.py") if path.is_file())
