"""Act when a module is imported, between its finder and its first user.

Asked:  how is torch changed before anybody sees it, without importing it?
Answer: a finder in front of sys.meta_path lets the others find the module and wraps the loader: `before` runs ahead of
        whatever the loader does (for a compiled module: before its library is loaded), `after` behind the module's own
        text. Each watch is used once; afterwards the module has its own loader again. Who only asks whether a module is
        there (importlib.util.find_spec, as torch does for Triton) uses nothing up.
Limits: a module that is imported already is not watched any more.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

Before = Callable[[], None]
After = Callable[[Any], None]  # it gets the module


def _nothing(*module: Any) -> None:
    pass


class Watch(importlib.abc.MetaPathFinder):
    def __init__(self) -> None:
        self._acts: dict[str, tuple[Before, After]] = {}

    def on(self, name: str, *, before: Before = _nothing, after: After = _nothing) -> None:
        self._acts[name] = (before, after)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._acts:
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self and hasattr(finder, "find_spec") else None
            if spec is not None and spec.loader is not None:
                spec.loader = _Around(spec.loader, lambda: self._acts.pop(name, (_nothing, _nothing)))  # type: ignore[assignment]
                return spec
        return None


class _Around:
    """A loader that is the one it wraps, but for two calls."""

    def __init__(self, loader: Any, take: Callable[[], tuple[Before, After]]) -> None:
        self._loader, self._take = loader, take
        self._after: After = _nothing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        before, self._after = self._take()
        before()
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._after(module)
