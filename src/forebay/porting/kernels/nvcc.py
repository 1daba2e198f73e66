"""The command nvcc of the stand-in toolkit: it compiles .cu files for the host.

Asked:  how does what calls nvcc (torch.utils.cpp_extension, a setup.py, a Makefile) get objects for the host?
Answer: it finds this command where nvcc would be, with the same words. A .cu file is preprocessed against the headers of
        ours, looked over for what can't be carried, rewritten, and compiled by the C++ compiler. Everything else goes to the
        C++ compiler as it is.
Limits: words of nvcc that only choose the card or tune its code are dropped. Programs that read PTX or cubin are refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from forebay.errors import BadInput, ForebayError, Refused, RunFailed
from forebay.porting.kernels.rewrite import rewrite
from forebay.porting.kernels.rules import explain, refusals
from forebay.porting.kernels.tokens import Token, tokenize

INCLUDE = Path(__file__).resolve().parent / "include"
RELEASE = "12.6"  # what `nvcc --version` says where torch is a build for no CUDA

_WITH_VALUE = {
    "-gencode", "--generate-code", "-arch", "--gpu-architecture", "-code", "--gpu-code", "-ccbin", "--compiler-bindir",
    "-maxrregcount", "--maxrregcount", "-Xptxas", "--ptxas-options", "-Xnvlink", "--nvlink-options", "-Xfatbin",
    "--threads", "-t", "-Xcudafe", "-diag-suppress", "--diag-suppress", "-cudart", "--cudart", "-keep-dir", "-split-compile",
}  # fmt: skip
_ALONE = re.compile(
    r"-(?:gencode|arch|code|ccbin|maxrregcount|Xptxas|Xcudafe|Xfatbin|rdc|dc|cudart|lineinfo|use_fast_math|G|res-usage|keep|dlto)\b"
    r"|--(?:expt-|extended-lambda|ptxas-options|use_fast_math|generate-|gpu-|relocatable-device-code|resource-usage|keep|fmad|ftz|prec-|"
    r"threads|compiler-bindir|default-stream|source-in-ptx|display_error|diag|Werror|restrict|extra-device|device-debug|split-compile|maxrregcount)"
    r"|-(?:extended-lambda|expt-|allow-unsupported-compiler|ftz|prec-|fmad|default-stream|diag|Werror|t\d|restrict)"
    r"|--allow-unsupported-compiler"
)
_LONG = {
    "--output-file": "-o", "--include-path": "-I", "--define-macro": "-D", "--compile": "-c", "--std": "-std",
    "--shared": "-shared", "--library": "-l", "--library-path": "-L", "--optimize": "-O", "--debug": "-g", "--x": "-x",
    "--system-include": "-isystem",
}  # fmt: skip
_SOURCES = (".cu", ".cpp", ".cc", ".cxx", ".c")


@dataclass(frozen=True)
class Order:
    """What a command line of nvcc asks for, in words of the host's compiler."""

    sources: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    linking: tuple[str, ...] = ()
    output: str = ""
    dependencies: tuple[str, ...] = ()
    only_compile: bool = False
    device_link: bool = False
    as_cuda: bool = False  # -x cu: whatever the file is called


def read(words: list[str]) -> Order:
    """The order in these words (without the command's own name)."""
    order = Order()
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in _LONG and (equals or _LONG[name] in ("-c", "-shared")):
            word = _LONG[name] + ("=" if name == "--std" else "") + value
        elif name in _LONG:
            word = _LONG[name]
        if word in ("-Xcompiler", "--compiler-options"):
            order = replace(order, flags=order.flags + _of_the_compiler(left.pop(0)))
        elif word.startswith(("-Xcompiler=", "--compiler-options=")):
            order = replace(order, flags=order.flags + _of_the_compiler(value))
        elif word in ("-Xlinker", "--linker-options"):
            order = replace(order, linking=(*order.linking, "-Wl," + left.pop(0)))
        elif word in ("-ptx", "-cubin", "-fatbin", "--ptx", "--cubin", "--fatbin"):
            raise Refused("There is no card to make device code for.", asked=f"nvcc {word}", hint="compile with -c")
        elif word in ("-dlink", "--device-link"):
            order = replace(order, device_link=True)
        elif word == "-dc" or word == "-c":
            order = replace(order, only_compile=True)
        elif word == "-o":
            order = replace(order, output=left.pop(0))
        elif word == "-x":
            order = replace(order, as_cuda=left.pop(0) == "cu")
        elif word in ("-MD", "-MMD"):
            order = replace(order, dependencies=(*order.dependencies, word))
        elif word in ("-MF", "-MT", "-MQ"):
            order = replace(order, dependencies=(*order.dependencies, word, left.pop(0)))
        elif word in ("--generate-dependencies-with-compile", "--generate-nonsystem-dependencies-with-compile"):
            order = replace(order, dependencies=(*order.dependencies, "-MD"))
        elif word == "--dependency-output":
            order = replace(order, dependencies=(*order.dependencies, "-MF", left.pop(0)))
        elif word in _WITH_VALUE:
            left.pop(0)
        elif _ALONE.match(word):
            continue
        elif word in ("-I", "-D", "-U", "-isystem", "-include", "-O", "-std"):
            order = replace(order, flags=(*order.flags, word, left.pop(0)))
        elif word in ("-L", "-l"):
            order = replace(order, linking=(*order.linking, word + left.pop(0)))
        elif word.startswith(("-l", "-L", "-Wl,")) or word == "-shared":
            order = replace(order, linking=(*order.linking, word))
        elif word.startswith("-"):
            order = replace(order, flags=(*order.flags, word))
        elif word.endswith(_SOURCES):
            order = replace(order, sources=(*order.sources, word))
        else:
            order = replace(order, objects=(*order.objects, word))
    return order


def _of_the_compiler(value: str) -> tuple[str, ...]:
    return tuple(word for word in value.strip("'\"").split(",") if word) if "-Wl," not in value else (value,)


def preprocess_command(order: Order, source: str, compiler: str, to: str) -> list[str]:
    dependencies = list(order.dependencies)
    if dependencies and not {"-MT", "-MQ"} & set(dependencies):
        dependencies += ["-MQ", order.output]
    return [
        compiler, "-E", "-x", "c++", f"-I{INCLUDE}", *order.flags, *dependencies,
        "-DFOREBAY_CUDA_SOURCE", "-D__CUDACC__", "-D__NVCC__", "-D__CUDACC_EXTENDED_LAMBDA__",
        "-D__CUDACC_VER_MAJOR__=12", "-D__CUDACC_VER_MINOR__=6", "-include", "cuda_runtime.h", source, "-o", to,
    ]  # fmt: skip


def compile_command(order: Order, source: str, compiler: str, to: str) -> list[str]:
    """Compile what was preprocessed and rewritten. The markers that are left stand in torch's headers."""
    kept = [flag for flag in order.flags if not flag.startswith(("-D", "-U"))]
    optimise = [] if any(flag.startswith("-O") for flag in kept) else ["-O2"]
    return [
        compiler, "-c", "-x", "c++", *_without_includes(kept), *optimise, "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off",
        "-w", "-D__host__=", "-D__device__=", "-D__global__=", "-D__forceinline__=inline", "-D__launch_bounds__(...)=",
        "-D__shared__=static thread_local", "-D__constant__=static", source, "-o", to,
    ]  # fmt: skip


def _without_includes(flags: list[str]) -> list[str]:
    kept, left = [], list(flags)
    while left:
        flag = left.pop(0)
        if flag in ("-I", "-isystem", "-include", "-D", "-U"):
            left.pop(0)
        elif not flag.startswith(("-I", "-isystem")):
            kept.append(flag)
    return kept


def carry(preprocessed: str, is_users: dict[str, bool]) -> str:
    """The text for the host's compiler, or Refused with every line that can't be carried. Torch's own text is passed by."""
    pieces: list[str | list[Token]] = []
    for users, text in _by_owner(preprocessed, is_users):
        pieces.append(tokenize(text) if users else text)
    found = refusals([token for piece in pieces if isinstance(piece, list) for token in piece], is_users)
    if found:
        raise Refused(
            "This .cu file has what can't be carried to a machine without a card.",
            found="\n         ".join(dict.fromkeys(map(str, found))),
            hint="run it on a card, or switch these lines off; docs/kernels.md has the rules",
        )
    return "".join(rewrite(piece) if isinstance(piece, list) else piece for piece in pieces)


def _by_owner(text: str, is_users: dict[str, bool]) -> list[tuple[bool, str]]:
    """The text in pieces, each of one owner: the user's files, or the headers of others."""
    pieces: list[tuple[bool, list[str]]] = []
    users = True
    for line in text.splitlines(keepends=True):
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            file = marker.group(1)
            if file not in is_users:
                is_users[file] = _belongs_to_the_user(file)
            users = is_users[file]
        if not pieces or pieces[-1][0] != users:
            pieces.append((users, []))
        pieces[-1][1].append(line)
    return [(users, "".join(lines)) for users, lines in pieces]


def _belongs_to_the_user(file: str) -> bool:
    path = os.path.realpath(file)
    foreign = (
        "/usr/include/",
        "/usr/lib/",
        "/usr/local/include/",
        str(INCLUDE) + os.sep,
        os.path.join(sys.base_prefix, "include"),
    )
    return not (file.startswith("<") or path.startswith(foreign) or "/torch/include/" in path or "/include/python3" in path)


def compile_cuda(order: Order, source: str, compiler: str, to: str) -> None:
    with tempfile.TemporaryDirectory(prefix="forebay-cu-") as name:
        draft, ready = os.path.join(name, "preprocessed.ii"), os.path.join(name, "host.cpp")
        _call(preprocess_command(order, source, compiler, draft), source)
        with open(draft, encoding="utf-8", errors="surrogateescape") as file:
            text = carry(file.read(), {})
        with open(ready, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        _call(compile_command(order, ready, compiler, to), source)


def _call(command: list[str], source: str) -> None:
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if ended.returncode:
        sys.stderr.write(ended.stdout)
        raise RunFailed(
            "A .cu file doesn't compile for the host.",
            asked=source,
            found=next((line for line in ended.stdout.splitlines() if "error" in line), f"exit code {ended.returncode}"),
            hint=explain(ended.stdout) or "the compiler's words are above",
        )


def main(words: list[str], *, release: str = RELEASE, compiler: str = "") -> int:
    compiler = compiler or os.environ.get("CXX") or "g++"
    if set(words) & {"--version", "-V"}:
        print("nvcc: NVIDIA (R) Cuda compiler driver, the stand-in of Forebay for machines without a card")
        print(f"Cuda compilation tools, release {release}, V{release}.0")
        return 0
    try:
        return _carry_out(read(words), compiler.split()[0])
    except ForebayError as error:
        print(f"forebay: {error}", file=sys.stderr)
        return error.exit_code


def _carry_out(order: Order, compiler: str) -> int:
    if not (order.sources or order.objects):
        raise BadInput("nvcc was given no file to compile.")
    if order.device_link:  # there is no device code to link: an object without anything in it
        return subprocess.run([compiler, "-c", "-x", "c++", os.devnull, "-o", order.output], check=False).returncode
    with tempfile.TemporaryDirectory(prefix="forebay-cu-") as name:
        made = []
        for number, source in enumerate(order.sources):
            last = order.only_compile and len(order.sources) == 1
            to = (
                order.output
                if last and order.output
                else os.path.join("." if order.only_compile else name, f"{Path(source).stem}.o")
            )
            to = os.path.join(name, f"{number}-{Path(source).stem}.o") if not order.only_compile else to
            if source.endswith(".cu") or order.as_cuda:
                compile_cuda(replace(order, output=to), source, compiler, to)
            else:
                _call([compiler, "-c", f"-I{INCLUDE}", *order.flags, *order.dependencies, source, "-o", to], source)
            made.append(to)
        if order.only_compile:
            return 0
        flags = _without_includes(list(order.flags))
        command = [
            compiler,
            *flags,
            *made,
            *order.objects,
            "-o",
            order.output or "a.out",
            f"-L{_libraries()}",
            *order.linking,
            "-pthread",
        ]
        _call(command, " ".join(order.sources))
    return 0


def _libraries() -> str:
    """The folder with the empty libraries: lib64 of the toolkit that this command was called from."""
    return os.path.join(os.environ.get("FOREBAY_TOOLKIT", ""), "lib64")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], release=os.environ.get("FOREBAY_NVCC_RELEASE", RELEASE)))
