"""Find in build files what needs CUDA's toolkit: CMake, Makefiles, Meson, Bazel, Dockerfiles.

Asked:  which lines of a CMakeLists.txt or a Makefile look for CUDA, call nvcc, or name NVIDIA's architectures?
Answer: line by line, comments left out; recipes of Makefiles and RUN lines of Dockerfiles are read as shell too. One finding a
        line: the architecture before the compiler, the library before the source's name.
Limits: variables aren't expanded: a line that only says $(FLAGS) isn't found, the line that sets FLAGS is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from forebay.porting.sources import shell
from forebay.porting.sources.place import Place

_NAMES = frozenset(
    {"CMakeLists.txt", "Makefile", "makefile", "GNUmakefile", "meson.build", "BUILD", "BUILD.bazel", "WORKSPACE", "MODULE.bazel"}
)
_ENDINGS = (".cmake", ".mk", ".bzl", ".bazel", ".make", ".cmake.in")
_DOCKER = re.compile(r"(?i)(?:.*[._-])?(?:dockerfile|containerfile)(?:[._-].*)?|.*\.dockerfile")

IMAGE = re.compile(
    r"(?i)(?<![\w./:@-])(?:docker\.io/)?nvidia/[\w./-]+(?::[\w.${}-]+)?|nvcr\.io/[\w./:${}-]+"
    r"|[\w./-]+:[\w.${}-]*(?:cuda|cu1[0-3]\d|-gpu)[\w.${}-]*"
)
_VERSION = re.compile(r"\b(?:CUDA|CUDA_VERSION|CUDNN|CUDNN_VERSION)\s*=\s*\S+")  # ARG CUDA="12.1"
_INDEX = re.compile(r"developer\.download\.nvidia\.com\S*|sources\.list\.d/(?:cuda|nvidia)\S*")
_LINES = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("build-arch", r"\b(?:sm|compute)_\d{2,3}a?\b|-{1,2}gencode\b|\b(?:CMAKE_)?CUDA_ARCH\w*"
                       r"|\bTORCH_CUDA_ARCH_LIST\b|\bcuda_select_nvcc_arch_flags\b"
         r"|\bNVCC_APPEND_FLAGS\b|\bCUDA_GEN\w*"),
        ("build-library", r"-l(?:cudart|cublas\w*|cudnn\w*|cusparse|cufft|curand|cusolver|nccl|nvidia-ml|nvrtc"
                          r"|nvToolsExt|cuda)\b|\bCUDA::\w+"
         r"|\bcudnn[-_]frontend\b|\bCUDNN_\w+|\b(?:grep|-name)\b[^|]*\bnccl|(?i:\b(?:find_package|find_library)\s*\(\s*\"?(?:CUDNN|NCCL|CUBLAS|TensorRT|CUTLASS)\b)|\b(?:CUDNN"
         r"|NCCL)_(?:LIBRAR\w+|INCLUDE\w*|PATH|ROOT|LDFLAGS)\b"
         r"|\b(?:CUDNN_FRONTEND\w*|NCCL_FOUND|OPENMPI_NCCL)\b|\bcublas(?:Lt)?\.lib\b|\bcudart\w*\.lib\b"
         r"|\bCUDA_(?:\w+_)?LIBRAR(?:Y|IES)\b"),
        ("build-cuda", r"\bnvcc\b|\b\w*NVCC\w*|\bCUDA_(?:HOME|PATH|ROOT|TOOLKIT|NVCC|INCLUDE|SOURCE|SEPARABLE|FLAGS"
                       r"|VERSION|COMPILER|STANDARD|FOUND|BIN|HOST|PROPAGATE"
         r"|RESOLVE|RUNTIME|ARCHITECTURES|SRCS?)\w*|\bCMAKE_CUDA_\w+|(?i:\bfind_package\s*\(\s*CUDA(?:Toolkit)?\b)"
         r"|(?i:\b(?:enable|check)_language\s*\(\s*CUDA\b)"
         r"|\bLANGUAGES\b[^)]*\bCUDA\b|(?i:\bproject\s*\([^)]*\bCUDA\b)|(?i:\bcuda_(?:add_\w+|compile\w*"
         r"|include_directories|wrap_srcs))|\bCOMPILE_LANGUAGE:CUDA\b"
         r"|\b(?:c10|torch)_cuda\b|-D__CUDA\w+|\bcuda_library\b|@local_config_cuda|\brules_cuda\b"
         r"|dependency\(\s*'cuda'|--expt-\w+"
         r"|-Xcompiler\b|--use_fast_math\b|/usr/local/cuda\b|\bCUDAToolkit_\w+|\bCUDACXX\b|^\s*CUDA\s*$"
         r"|--threads=?\s*\d+\s+-O"),
        ("cu-switch", r"(?:\b|-D)(?:USE|WITH|ENABLE|BUILD|HAVE|NO|FORCE|DISABLE)_(?:\w+_)?(?:CUDA|NCCL|CUDNN)\b|\bUSING_CUDA\b"),
        ("build-source", r"[\w*%./$(){}-]*[\w*%)}]\.cuh?\b"),
    )
)  # fmt: skip


def reads(path: str) -> bool:
    name = PurePath(path).name
    return name in _NAMES or name.endswith(_ENDINGS) or is_docker(path)


def is_docker(path: str) -> bool:
    return _DOCKER.fullmatch(PurePath(path).name) is not None


def find(path: str, text: str) -> list[Place]:
    if not re.search(r"(?i)cuda|nvcc|nccl|nvidia|\.cu\b|nvcr\.io|cudnn|cublas", text):
        return []
    return list(_docker(text) if is_docker(path) else _make(text))


def _make(text: str) -> Iterator[Place]:
    for number, line in enumerate(text.split("\n"), 1):
        code = _without_comment(line)
        if line.startswith("\t") and (found := shell.find_line(code, number)):
            yield from found
            continue
        if re.match(r"\s*(?:@?echo\b|message\s*\(|\$\(info\b|\$\(warning\b|@printf\b)", code, re.IGNORECASE):
            continue
        yield from _first(code, number)


def _first(code: str, number: int) -> Iterator[Place]:
    for rule, pattern in _LINES:
        found = pattern.search(code)
        if found:
            yield Place(number, found.start() + 1, rule, " ".join(found.group().split())[:60])
            return


def _docker(text: str) -> Iterator[Place]:
    """FROM and ARG name images; ENV and RUN are shell, also in their continued lines."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("#"):
            continue
        word = re.match(r"\s*(FROM|ARG)\s", line, re.IGNORECASE)
        image = (IMAGE.search(line, word.end()) or _VERSION.search(line, word.end())) if word else None
        if image:
            yield Place(number, image.start() + 1, "build-image", image.group())
            continue
        found = shell.find_line(line, number)
        if not found and (index := _INDEX.search(_without_comment(line))):
            found = [Place(number, index.start() + 1, "req-cuda-torch", index.group())]
        if not found and (path := re.search(r"/usr/local/(?:cuda|nvidia)\b", _without_comment(line))):
            found = [Place(number, path.start() + 1, "cuda-environment", path.group())]
        yield from found if found else (place for place in _first(_without_comment(line), number) if place.rule != "build-source")


def _without_comment(line: str) -> str:
    """Up to a # that begins a comment: at the start, or after a space and in no string."""
    for found in re.finditer(r"(?:^|(?<=\s))#", line):
        before = line[: found.start()]
        if before.count('"') % 2 == 0 and before.count("'") % 2 == 0:
            return before
    return line
