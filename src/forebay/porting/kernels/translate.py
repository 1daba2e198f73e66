"""Translate CUDA sources for chips whose compilers know other names: HIP's and MUSA's.

    python -m forebay.porting.kernels.translate --to musa SOURCES... --out DIR [--build]

Asked:  what does a .cu file become for a chip that has a compiler of its own?
Answer: for HIP-like chips what torch's own hipify makes of it. For MUSA-like ones, whole words are renamed by a short table of
        rules, and .cu becomes .mu. What a renaming can't know is told: lines that count on 32 lanes. With --build the vendor's
        compiler is called; where it is missing that is refused by its name, and the translation is there all the same.
Limits: names, not meaning. Comments and strings are left as they are, but for the paths of includes. Nothing here ran on
        such a chip yet. Sources of facts: torch.utils.hipify; MooreThreads/torch_musa, torch_musa/utils/mapping and
        musa_extension.py (state of 2026-01-19).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.errors import BadInput, ForebayError, RunFailed, Unavailable

ENDINGS = (".cu", ".cuh", ".cpp", ".cc", ".cxx", ".h", ".hpp", ".c")


@dataclass(frozen=True)
class Family:
    """Chips that share a compiler's language. Not a chip: which one it is, is for forebay.chips to say."""

    name: str
    compiler: str
    home: str  # the variable that names the folder with bin/compiler
    ending: str  # what .cu becomes


@dataclass(frozen=True)
class Trap:
    """A line that a renaming can't make right."""

    file: str
    line: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.why}: {self.text}"


FAMILIES = {
    "hip": Family("hip", "hipcc", "ROCM_HOME", ".hip"),
    "musa": Family("musa", "mcc", "MUSA_HOME", ".mu"),
}

# Whole words, first match wins. A rule may keep the rest of a word: cudaMalloc -> musaMalloc.
_MUSA_WORDS = (
    (r"__nv_bfloat16(\w*)", r"__mt_bfloat16\1"),
    (r"cudnn(\w*)", r"mudnn\1"),
    (r"cublas(\w*)", r"mublas\1"),
    (r"curand(\w*)", r"murand\1"),
    (r"cusparse(\w*)", r"musparse\1"),
    (r"cusolver(\w*)", r"musolver\1"),
    (r"cufft(\w*)", r"mufft\1"),
    (r"nccl(\w*)", r"mccl\1"),
    (r"nvrtc(\w*)", r"mtrtc\1"),
    (r"cuda([A-Z_]\w*)?", r"musa\1"),
    (r"cu([A-Z]\w*)", r"mu\1"),
    (r"CU(stream|event|context|device|module|function|result|deviceptr)(\w*)", r"MU\1\2"),
    (r"(\w*)CUDA(\w*)", r"\1MUSA\2"),
    (r"is_cuda", r"is_privateuseone"),
    (r"kCUDA", r"kPrivateUse1"),
)
_MUSA_RULES = tuple((re.compile(words + r"\Z"), to) for words, to in _MUSA_WORDS)
_MUSA_KEPT = {"TORCH_CUDA_CPP_API", "TORCH_CUDA_CU_API"}
_MUSA_INCLUDES = (
    (re.compile(r"\b(?:ATen|c10)/cuda/(?:impl/|detail/)?CUDA(\w+)\.(h|cuh)"), r"torch_musa/csrc/core/MUSA\1.\2"),
    (re.compile(r"\bcuda_runtime(_api)?\.h"), r"musa_runtime\1.h"),
    (re.compile(r"\bcuda_(fp16|bf16)\.(h|hpp)"), r"musa_\1.\2"),
    (re.compile(r"\bcuda\.h"), "musa.h"),
    (re.compile(r"\bcublas(?:_v2)?\.h"), "mublas.h"),
    (re.compile(r"\bcublas(Lt|Xt)\.h"), r"mublas\1.h"),
    (re.compile(r"\bcurand(\w*)\.h"), r"murand\1.h"),
    (re.compile(r"\bcusparse(\w*)\.h"), r"musparse\1.h"),
    (re.compile(r"\bcufft(\w*)\.h"), r"mufft\1.h"),
    (re.compile(r"\bcudnn(\w*)\.h"), r"mudnn\1.h"),
    (re.compile(r"\bnccl\.h"), "mccl.h"),
    (re.compile(r"\.cu\b"), ".mu"),
    (re.compile(r"\.cuh\b"), ".muh"),
)
_PIECES = re.compile(r'(//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')', re.DOTALL)
_INCLUDE = re.compile(r"^([ \t]*#[ \t]*include[ \t]*)([<\"][^>\"\n]*[>\"])", re.MULTILINE)

_TRAPS = (
    (re.compile(r"\b0[xX][fF]{8}[uU]?\b|(?<!\w)~0[uU]?(?!\w)"), "a mask for 32 lanes; with 64 it needs 64 bits"),
    (re.compile(r"\b(?:C10_)?warp_?size\s*(?:=\s*)?32\b", re.IGNORECASE), "a warp of 32 lanes, written down"),
    (re.compile(r"(?:threadIdx\.x|\btid\b|\bthread\w*)\s*(?:%|/|&|>>)\s*(?:32|31|5)\b"), "counts on 32 lanes"),
    (re.compile(r"\b__(?:shfl|ballot|any|all|activemask|match|syncwarp)\w*"), "a warp operation: check its width and its mask"),
    (re.compile(r"\basm\b\s*(?:volatile)?\s*\("), "inline PTX, which only NVIDIA's compiler takes"),
)  # fmt: skip


def to_musa(text: str) -> str:
    """The same source with MUSA's names. Doing it twice changes nothing."""
    text = _INCLUDE.sub(lambda found: found.group(1) + _musa_include(found.group(2)), text)
    parts = _PIECES.split(text)
    return "".join(part if number % 2 else re.sub(r"\b[A-Za-z_]\w*", _musa_word, part) for number, part in enumerate(parts))


def _musa_include(path: str) -> str:
    for pattern, to in _MUSA_INCLUDES:
        path = pattern.sub(to, path)
    return path


def _musa_word(found: re.Match[str]) -> str:
    word = found.group(0)
    if word in _MUSA_KEPT:
        return word
    if word.startswith("__CUDA"):
        return word.replace("__CUDA", "__MUSA", 1)
    for pattern, to in _MUSA_RULES:
        if pattern.match(word):
            return pattern.sub(to, word)
    return word


def to_hip(text: str) -> str:
    """What torch's hipify makes of the text. Launches keep <<<>>>, which hipcc takes."""
    from torch.utils.hipify import cuda_to_hip_mappings

    table: dict[str, str] = {}
    for mapping in cuda_to_hip_mappings.CUDA_TO_HIP_MAPPINGS:
        for name, value in mapping.items():
            table.setdefault(name, value[0] if isinstance(value, (tuple, list)) else value)
    names = re.compile("|".join(rf"(?<![\w/]){re.escape(name)}(?!\w)" for name in sorted(table, key=len, reverse=True)))
    return names.sub(lambda found: str(table[found.group(0)]), text)


def traps(text: str, file: str) -> list[Trap]:
    """Lines of the original that may mean something else where a warp has 64 lanes."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        why = next((why for pattern, why in _TRAPS if pattern.search(line.split("//")[0])), None)
        if why:
            found.append(Trap(file, number, line.strip(), why))
    return found


def translate(sources: Sequence[Path], out: Path, family: Family) -> tuple[list[Path], list[Trap]]:
    """Write each source's translation below `out`, under its own name with the family's ending; the originals stay."""
    made, told = [], []
    for source in sources:
        if source.suffix not in ENDINGS:
            raise BadInput("Only C++ and CUDA sources are translated.", asked=str(source), hint=", ".join(ENDINGS))
        try:
            text = source.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise BadInput("A source can't be read.", asked=str(source), found=str(error)) from error
        name = source.with_suffix(family.ending).name if source.suffix == ".cu" else source.name
        if family.name == "musa" and source.suffix == ".cuh":
            name = source.with_suffix(".muh").name
        target = out / name
        if target.exists() and target.resolve() == source.resolve():
            raise BadInput(
                "A translation would take the place of its source.", asked=str(target), hint="give another folder: --out DIR"
            )
        out.mkdir(parents=True, exist_ok=True)
        target.write_text(to_musa(text) if family.name == "musa" else to_hip(text), encoding="utf-8", errors="surrogateescape")
        made.append(target)
        told += traps(text, str(source))
    return made, told


def compiler_of(family: Family) -> str:
    """The vendor's compiler, or Unavailable with its name."""
    home = os.environ.get(family.home)
    beside = Path(home) / "bin" / family.compiler if home else None
    found = str(beside) if beside and beside.exists() else shutil.which(family.compiler)
    if found is None:
        raise Unavailable(
            f"{family.compiler}, the vendor's compiler for {family.name} sources, isn't here.",
            asked=f"{family.compiler} on PATH, or {family.home}",
            hint="build on a machine with the vendor's toolkit; the translated sources are ready for it",
        )
    return found


def build(sources: Sequence[Path], out: Path, family: Family) -> list[Path]:
    """Compile translated sources to objects with the vendor's compiler."""
    compiler = compiler_of(family)
    made = []
    for source in sources:
        if source.suffix != family.ending:
            continue
        target = out / (source.stem + ".o")
        ended = subprocess.run(
            [compiler, "-c", "-fPIC", "-O2", str(source), "-o", str(target)], capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise RunFailed(
                "The vendor's compiler refused a translated source.", asked=str(source), found=ended.stderr.strip()[:2000]
            )
        made.append(target)
    return made


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m forebay.porting.kernels.translate", description="translate CUDA sources")
    parser.add_argument("--to", choices=sorted(FAMILIES), required=True, help="the chips' language")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the translations")
    parser.add_argument("--build", action="store_true", help="compile them with the vendor's compiler")
    parser.add_argument("sources", type=Path, nargs="+")
    asked = parser.parse_args(words)
    family = FAMILIES[asked.to]
    try:
        made, told = translate(asked.sources, asked.out, family)
        for path in made:
            print(path)
        for trap in told:
            print(f"forebay: {trap}", file=sys.stderr)
        if asked.build:
            for path in build(made, asked.out, family):
                print(path)
    except ForebayError as error:
        print(f"{error.kind}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
