"""Why a finding is left to a person, and what to do about it, by rule.

Asked:  the rewrite found no safe change for this line: why?
Answer: one sentence that begins with the reason and ends with what a person does.
Limits: a rule that isn't here is one whose every form the rewrite knows; what it then left was written in a way that it doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping

from forebay.porting.rules import RULES

OTHERWISE = "it is written in a way that this release doesn't rewrite; use DEVICE, or the device's module, by hand"
REASONS: Mapping[str, str] = {
    "backends": "it switches CUDA's libraries and has no effect elsewhere, so it can stay as it is",
    "tf32": "it allows a number format of NVIDIA's and has no effect elsewhere, so it can stay as it is",
    "distributed": "it is the same call on every device, so it can stay as it is",
    "pinned-memory": "a DataLoader pins only where there is an accelerator, so it can stay as it is",
    "non-blocking": "it has no effect where a copy can't overlap, so it can stay as it is",
    "map-location": "where it leads is decided elsewhere in the text; see that that place names the device that is there",
    "device-ids": "DataParallel ignores card numbers where there is no accelerator; for another wrapper, say None there",
    "device-comparison": "it tells kinds of devices apart, the text doesn't say why; decide what other chips shall get",
    "device-string": "what takes this string can't be told from the text; hand it DEVICE.type if it is a torch device",
    "device-index": "whether this number is a card can't be told; if it is, write torch.device(DEVICE.type, number)",
    "choice": "it asks for what only CUDA's cards have, such as compute capability; ask for what the code needs",
    "memory": "a host has no figure for this; keep it behind torch.accelerator.is_available()",
    "streams": "a host has no such streams; keep it behind torch.accelerator.is_available()",
    "graphs": "CUDA graphs have no counterpart on most chips; keep them behind a check for CUDA, or use torch.compile",
    "nvtx": "it marks ranges for NVIDIA's profiler; torch.profiler.record_function does so for every device",
    "telemetry": "it reads NVIDIA's own counters; ask the chip's own tool, or leave the figures out elsewhere",
    "card-only": "only NVIDIA's cards have it; keep it behind a check for CUDA",
    "cuda-comm": "it calls NCCL or an old collective directly; torch.distributed does the same on every device",
    "cuda-other": "it is a rare part of torch.cuda without a general counterpart; keep it behind a check for CUDA",
    "rng": "generators are handled one by one here; torch.random's functions and torch.Generator(DEVICE) do so on every device",
    "nccl": "it names NCCL where a choice isn't made; torch.distributed.get_default_backend_for_device(DEVICE) chooses",
    "amp": "torch.cuda.amp is handed on rather than called; use torch.amp's names with a device type",
    "is-cuda": "what it asks of can't be told from the text; a tensor says x.device.type",
    "cuda-tensor-type": "a legacy type with CUDA in its name; use a dtype and a device",
    "cuda-extension": "it builds kernels in CUDA's language, which other chips need in theirs",
    "cu-file": "it holds kernels in CUDA's language, which other chips need in theirs",
    "cpp-extension": "it builds C++ that was not read; see whether it includes CUDA's headers",
    "cuda-library": "it loads a library of CUDA's by its file name; keep it behind a check for CUDA",
    "triton": "Triton kernels need a Triton for the chip; keep a way in plain torch beside them",
    "cuda-package": "the package brings CUDA binaries; use it where it is installed, and plain torch elsewhere",
    "cuda-package-stood-in": "the package brings CUDA binaries; use it where it is installed, and plain torch elsewhere",
    "cuda-package-optional": "the package brings CUDA binaries, and the text does without it where it is missing",
    "nvidia-smi": "it asks NVIDIA's monitor; ask torch.accelerator, or the chip's own tool",
    "visible-devices": "other chips have a variable of their own, and this one has no effect there; set it outside the program",
    "cuda-environment": "it tunes CUDA or NCCL and has no effect elsewhere, so it can stay as it is",
}


def reason(rule: str) -> str:
    """Of a rule that the rewrite knows nothing of, what the scan says: what it is, and what a person does about it."""
    known = RULES[rule]
    return REASONS.get(rule) or (f"{known.meaning}: {known.todo}" if known.todo else OTHERWISE)


def reason_elsewhere(path: str) -> str:
    """Why a file that is no Python is left, by its kind; empty where the rule says it."""
    if path.endswith(".ipynb"):
        return "a notebook isn't rewritten; jupyter nbconvert --to script makes a script of it that is"
    if path.endswith((".yaml", ".yml", ".json", ".toml", ".cfg", ".ini")):
        return "what reads this setting isn't known; let the program choose where it says nothing"
    if path.endswith((".sh", ".bash", ".slurm", "Dockerfile", "Makefile")):
        return "it prepares a machine or starts the program; that is the machine's affair, not the text's"
    return ""
