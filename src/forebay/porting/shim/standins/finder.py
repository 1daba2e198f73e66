"""Answer the import of a library that exists only for CUDA.

Asked:  a script imports flash_attn, apex, xformers or pynvml where no GPU is: what does it get?
Answer: a package of ours under that name, over torch's own operators. The finder stands first on sys.meta_path, so that
        `import`, importlib.util.find_spec and importlib.metadata agree: all say that it is there, and the metadata's summary
        says what it is. A name that the package doesn't have fails as any missing name does; what is known and can't be
        carried is refused when it is called, with what to use.
        FOREBAY_SHIM_STANDINS chooses: "none", or names with commas between them. Without it: all.
Limits: an installed library of the same name is hidden, since its kernels need a GPU. With "none" it is seen again.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from forebay.errors import BadInput
from forebay.porting.shim.journal import note

PACKAGES = Path(__file__).resolve().parent / "packages"
VARIABLE = "FOREBAY_SHIM_STANDINS"


@dataclass(frozen=True)
class StandIn:
    """A library that we answer for.

    It is no copy of it: `version` is the release whose calls ours takes, for those who ask for a version before they call.
    """

    distribution: str  # the name that pip knows
    version: str
    modules: tuple[str, ...]  # the top-level names that it brings
    counts: bool = True  # whether its import alone is worth a line of the report; torch imports pynvml by itself


STANDINS = (
    StandIn("flash_attn", "2.8.3", ("flash_attn",)),
    StandIn("apex", "0.1", ("apex", "amp_C")),
    StandIn("xformers", "0.0.32", ("xformers",)),
    StandIn("nvidia-ml-py", "13.580.82", ("pynvml",), counts=False),
)


def chosen(text: str | None) -> tuple[StandIn, ...]:
    """Those that the variable's text asks for."""
    if text is None or text.strip() == "all":
        return STANDINS
    words = {word.strip().replace("-", "_") for word in text.split(",")} - {"", "none"}
    known = {name.replace("-", "_"): standin for standin in STANDINS for name in (standin.distribution, *standin.modules)}
    wrong = sorted(words - known.keys())
    if wrong:
        raise BadInput(
            "There is no stand-in of that name.",
            asked=f"{VARIABLE}={text}",
            found=", ".join(wrong),
            hint=f"all, none, or some of: {', '.join(sorted(known))}",
        )
    return tuple(
        standin for standin in STANDINS if words & {name.replace("-", "_") for name in (standin.distribution, *standin.modules)}
    )


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, standins: Iterable[StandIn]) -> None:
        self._standins = {name: standin for standin in standins for name in standin.modules}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in self._standins:
            return None
        place = PACKAGES.joinpath(*name.split("."))
        package = place / "__init__.py"
        file = package if package.is_file() else place.with_suffix(".py")
        if not file.is_file():
            note(f"import {name}", "refused")
            return None
        loader = _Loader(name, str(file), self._standins.get(name))
        inside = [str(place)] if file == package else None
        return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        """What importlib.metadata asks every finder."""
        wanted = getattr(context, "name", None)
        plain = wanted.lower().replace("-", "_").replace(".", "_") if wanted else None
        for standin in dict.fromkeys(self._standins.values()):
            if plain in (None, standin.distribution.lower().replace("-", "_")):
                yield _Distribution(standin)


class _Loader(importlib.machinery.SourceFileLoader):
    """Notes which stand-ins a run imported, once it did: asking for a spec is no use yet."""

    def __init__(self, name: str, file: str, standin: StandIn | None) -> None:
        super().__init__(name, file)
        self._standin = standin

    def exec_module(self, module: ModuleType) -> None:
        if self._standin is not None and self._standin.counts:
            note(f"import {module.__name__}", "emulated")
        super().exec_module(module)


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return (
                f"Metadata-Version: 2.1\nName: {self._standin.distribution}\nVersion: {self._standin.version}\n"
                "Summary: Forebay's stand-in over torch's own operators; not the library itself\n"
            )
        return "\n".join(self._standin.modules) if filename == "top_level.txt" else None

    def locate_file(self, path: Any) -> Any:
        return PACKAGES / path


def standins_wanted() -> Finder:
    return Finder(chosen(os.environ.get(VARIABLE)))
