"""Compile the simulated cuda device, or a chip's identity layer, once for each torch and compiler.

Asked:  where is the library that gives this torch a cuda device?
Answer: in the cache, under a name made of torch's version, the compiler's and a hash of our sources. What isn't there is
        compiled by a direct call of the C++ compiler against torch's own headers; Python's aren't needed. Two builders wait
        for each other, a half-written library is never seen, and its SHA-256 lies beside it for `verify`.
Limits: torch is found, not imported: its version is read from its files. POSIX only (flock).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from forebay.errors import ForebayError, Unavailable

HERE = Path(__file__).resolve().parent
LINKED = ("torch_cpu", "c10")
OLDEST = (2, 4)


class NoCompiler(Unavailable):
    """There is no C++ compiler: the mapped carrier is what is left."""


class NoTorch(Unavailable):
    """PyTorch isn't installed for this Python, or not one that can be carried."""


class BadLibrary(ForebayError):
    """The cached library isn't the one that was built, or was built for another torch."""


class Torch(NamedTuple):
    """The torch that this Python would import."""

    folder: Path
    version: str
    gpu: str = ""  # what it is a build for: "cuda", "hip" (ROCm), or "" for the CPU

    @property
    def release(self) -> tuple[int, int]:
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)


class Recipe(NamedTuple):
    """What is compiled into one library."""

    title: str  # in sentences
    stem: str  # of its file name
    parts: tuple[tuple[str, ...], ...]  # sources under this folder, those of a part compiled as one; the slowest part first
    header: str
    defines: tuple[str, ...] = ()


SIMULATED = Recipe(
    "the simulated CUDA device",
    "cuda",
    (
        ("operators.cpp", "layers.cpp", "graphs.cpp", "batch_norm.cpp"),
        ("collectives.cpp",),
        ("device.cpp", "sparse.cpp", "memory.cpp", "profiler.cpp", "aliases.cpp", "wide.cpp"),
    ),
    "shim.h",
)


class Compiler(NamedTuple):
    path: str
    version: str


def find_torch() -> Torch:
    spec = importlib.util.find_spec("torch")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise NoTorch(
            "PyTorch isn't installed for this Python.", found=sys.executable, hint=f"{sys.executable} -m pip install torch"
        )
    folder = Path(places[0])
    try:
        text = (folder / "version.py").read_text()
    except OSError as error:
        raise NoTorch("PyTorch's folder has no version.py.", found=str(error)) from error
    version = re.search(r"__version__\s*=\s*'([^']+)'", text)
    if version is None:
        raise NoTorch("PyTorch's version can't be read.", found=str(folder / "version.py"))
    gpu = re.search(r"^(cuda|hip)\b[^=]*=\s*'", text, re.MULTILINE)
    return Torch(folder, version.group(1), gpu.group(1) if gpu else "")


def find_compiler() -> Compiler:
    for name in (os.environ.get("CXX"), "g++", "c++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            first = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()[:1]
            number = re.search(r"\d+\.\d+(?:\.\d+)?", first[0]) if first else None
            if number:
                return Compiler(path, f"{Path(path).name}-{number.group(0)}")
    raise NoCompiler(
        "There is no C++ compiler, so the simulated cuda device can't be built.",
        asked="g++, c++ or clang++ on PATH, or CXX",
        hint="install g++ (Debian, Ubuntu: apt-get install g++); until then scripts run on the mapped carrier",
    )


def library_name(torch: Torch, compiler: Compiler, recipe: Recipe = SIMULATED) -> str:
    digest = hashlib.sha256(" ".join(recipe.defines).encode())
    for name in (recipe.header, *sorted(itertools.chain(*recipe.parts))):
        digest.update((HERE / name).read_bytes())
    return f"forebay-{recipe.stem}-torch{torch.version}-{compiler.version}-{digest.hexdigest()[:12]}.so"


def build(cache: Path, say: Callable[[str], None] = lambda line: None, recipe: Recipe = SIMULATED) -> Path:
    """The compiled library, from the cache or made now (under a minute)."""
    torch = find_torch()
    if torch.release < OLDEST:
        raise NoTorch(
            f"{recipe.title[0].upper()}{recipe.title[1:]} needs torch {OLDEST[0]}.{OLDEST[1]} or newer.",
            found=f"torch {torch.version}",
            hint="install a newer torch",
        )
    if torch.gpu == "hip" and recipe == SIMULATED:
        raise NoTorch(
            "A ROCm build of torch has its own device in the place of the simulated one.",
            found=f"torch {torch.version}",
            hint="a CPU or CUDA build of torch has a truer cuda device",
        )
    compiler = find_compiler()
    library = cache / library_name(torch, compiler, recipe)
    if library.exists():
        return library
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / ".lock") as lock:
            if not library.exists():
                _compile_into(library, torch, compiler, recipe, say, lock)
    except OSError as error:
        raise Unavailable(
            f"{recipe.title[0].upper()}{recipe.title[1:]} can't be written to its cache.",
            asked=str(library),
            found=str(error),
            hint="give a folder that can be written: --cache DIR",
        ) from error
    return library


def verify(library: Path) -> None:
    """Raise BadLibrary unless these are the bytes that were built, for the torch that is installed."""
    try:
        card = json.loads(_card(library).read_text())
        found = hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise BadLibrary(
            "The compiled library can't be read.", asked=str(library), found=str(error), hint=_again(library)
        ) from error
    if found != card.get("sha256"):
        raise BadLibrary(
            "The compiled library was changed after it was built.",
            asked=f"{library}: sha256 {card.get('sha256')}",
            found=f"sha256 {found}",
            hint=_again(library),
        )
    torch = find_torch()
    if card.get("torch") != torch.version:
        raise BadLibrary(
            "The compiled library was built for another torch.",
            asked=f"torch {torch.version}",
            found=f"{library.name}, built for torch {card.get('torch')}",
            hint=_again(library),
        )


def _again(library: Path) -> str:
    return f"delete {library} and build it again: python -m forebay.porting.shim build --cache {library.parent}"


def _card(library: Path) -> Path:
    return library.with_name(library.name + ".json")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The lock's descriptor. Compilers inherit it: when we are killed they end by themselves, and the next builder waits."""
    import fcntl

    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held.fileno()


def _compile_into(library: Path, torch: Torch, compiler: Compiler, recipe: Recipe, say: Callable[[str], None], lock: int) -> None:
    """Compile in a folder beside the library, then move the hash and, last, the library to their names."""
    say(f"compiling {recipe.title} for torch {torch.version} with {compiler.version} (once; about a minute)")
    start = time.monotonic()
    for left in library.parent.glob(".build-*"):  # by builders that were killed: we hold the lock, so none is at work
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".build-") as name:
        folder = Path(name)
        commands = [_compile_command(torch, compiler, recipe, part, folder) for part in recipe.parts]
        _run_all(commands, min(len(commands), max(2, os.cpu_count() or 2)), say, lock)
        draft = folder / "library.so"
        _run_all([_link_command(torch, compiler, recipe, folder, draft)], 1, say, lock)
        card = {
            "sha256": hashlib.sha256(draft.read_bytes()).hexdigest(),
            "torch": torch.version,
            "compiler": compiler.version,
        }
        (folder / "card.json").write_text(json.dumps(card))
        for path in (draft, folder / "card.json"):
            path.chmod(0o444)  # jobs read it, never write it
        os.replace(folder / "card.json", _card(library))
        os.replace(draft, library)
    say(f"compiled in {time.monotonic() - start:.0f} s: {library}")


def _compile_command(torch: Torch, compiler: Compiler, recipe: Recipe, part: tuple[str, ...], folder: Path) -> list[str]:
    """Writes the part's file too: it includes each source. Torch's headers are half of the work, and are read once a part."""
    source = _object(folder, part).with_suffix(".cpp")
    source.write_text("".join(f'#include "{HERE / name}"\n' for name in part))
    major, minor = torch.release
    include = torch.folder / "include"
    return [
        compiler.path,
        "-std=c++20" if (major, minor) >= (2, 10) else "-std=c++17",
        "-O2",
        "-fPIC",
        "-w",  # torch's headers warn by the page
        f"-D_GLIBCXX_USE_CXX11_ABI={_string_abi(torch)}",
        f"-DFOREBAY_TORCH={100 * major + minor}",
        *(f"-D{define}" for define in recipe.defines),
        f"-I{include}",
        f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}",
        "-c",
        str(source),
        "-o",
        str(_object(folder, part)),
    ]


def _object(folder: Path, part: tuple[str, ...]) -> Path:
    return folder / ("-".join(Path(name).stem for name in part) + ".o")


def _link_command(torch: Torch, compiler: Compiler, recipe: Recipe, folder: Path, draft: Path) -> list[str]:
    objects = [str(_object(folder, part)) for part in recipe.parts]
    libraries = [f"-l{name}" for name in LINKED]
    return [compiler.path, "-shared", "-o", str(draft), *objects, f"-L{torch.folder / 'lib'}", *libraries]


def _string_abi(torch: Torch) -> int:
    """Which std::string torch was compiled with: the new one's name is in the name of c10::Error's constructor."""
    symbols = (torch.folder / "lib" / "libc10.so").read_bytes()
    return int(re.search(rb"_ZN3c105ErrorC[12][^\0]*__cxx1112basic_string", symbols) is not None)


def _run_all(commands: list[list[str]], at_once: int, say: Callable[[str], None], lock: int) -> None:
    """Run compiler calls, `at_once` of them at a time. The first that fails ends the rest."""
    waiting = list(commands)
    running: list[tuple[list[str], subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                command = waiting.pop(0)
                with _words_of(command).open("wb") as words:
                    running.append((command, subprocess.Popen(command, stdout=words, stderr=words, pass_fds=[lock])))
            command, process = running.pop(0)
            code = process.wait()
            if code != 0:
                raise BadLibrary(
                    "The simulated cuda device didn't compile.",
                    asked=" ".join(command),
                    found=_first_errors(_words_of(command).read_text(errors="replace")) or f"exit code {code}",
                    hint="the mapped carrier works without it; please report this with the compiler's words",
                )
            if "-c" in command:
                say(f"compiled {Path(command[command.index('-c') + 1]).stem.replace('-', ', ')}")
    finally:
        for _, process in running:
            process.kill()
            process.wait()


def _words_of(command: list[str]) -> Path:
    """Where the compiler's words go: beside what it makes."""
    return Path(command[command.index("-o") + 1] + ".txt")


def _first_errors(text: str) -> str | None:
    return "\n".join([line for line in text.splitlines() if "error" in line][:5]) or None
