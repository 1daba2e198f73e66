"""Whether a text can hold a finding at all.

Asked:  a folder holds thousands of scripts: which of them have to be parsed?
Answer: those whose text holds one of these words, in whatever case. Each finding needs one: tests/porting/test_scan_folder.py
        holds every line that the rules find against them.
Limits: a word that is put together from pieces ("cu" "da") is not seen, and a file without any of the words isn't checked for its
        syntax either.
"""

from __future__ import annotations

from forebay.porting.known import CUDA_PACKAGES

_WORDS = (
    "torch",
    "cuda",
    "gpu",
    "nccl",
    "nvidia",
    "nvcc",
    "nvtx",
    "nvte_",
    "nsys",
    "ncu",
    "nvprof",
    "cudnn",
    "cublas",
    "triton",
    ".to(",
    "device",
    "pin_memory",
    "non_blocking",
    "map_location",
    "bfloat16",
    "double",
    "parallel",
    "gencode",
    "arch=",
    "compute_",
    "__global__",
    "threadidx",
    "blockidx",
    ".cu",
    ".ptx",
    "nvml",
    "flash",
    "faiss",
    "tensorrt",
    "compute-sanitizer",
    "-lineinfo",
    "--ptxas",
    "-expt-",
    "-xptxas",
    "-xfatbin",
    "-use_fast",
    "-extended-l",
    "-maxrreg",
)
WORDS = tuple(sorted({*_WORDS, *(package.split(".")[0].lower() for package in CUDA_PACKAGES)}, key=len))


def speaks(text: str) -> bool:
    """Whether a script's text holds a word that a finding can come from."""
    low = text.lower()
    return any(word in low for word in WORDS)
