"""Find in shell scripts, batch jobs and recipes what speaks of CUDA.

Asked:  which words of `CUDA_VISIBLE_DEVICES=0 python train.py --device cuda` tie it to NVIDIA's cards?
Answer: a line is cut into words as a shell cuts it, quotes and comments known. Words are judged by where they stand: a
        variable that is set, a command, the value of an option, a package that pip is told to install. What echo prints is
        a word.
Limits: nothing is expanded. A here-document is read line by line like the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.porting.sources.packages import INDEX
from forebay.porting.sources.place import Place
from forebay.porting.sources.requirements import required

ENDINGS = (".sh", ".bash", ".zsh", ".slurm", ".sbatch", ".sub", ".pbs", ".ksh", ".bat", ".cmd", ".ps1")
DEVICE = re.compile(r"cuda(?::\d+|:\$\{?\w+\}?)?")
_PIECE = re.compile(
    r"""\s+|(?P<end>\#.*$)|(?P<cut>;;?|&&?|\|\|?|\n|\(|\)|`)|(?P<word>(?:\$\([^()\s]*|\\.|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&|()`"'\\\#]|(?<=\S)\#)+)"""
)
_SETS = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\+?=(.*)", re.DOTALL)
_VARIABLE = re.compile(
    r"(?:CUDA|NCCL|CUDNN|CUBLAS|NVIDIA|PYTORCH_CUDA|TORCH_CUDA|TORCH_NCCL|TORCH_CUDNN|NVTE|FLASH_ATTENTION"
    r"|PYTORCH_NVML)_\w+|CUDADIR"
)
_USED = re.compile(r"\$\{?(CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|CUDA_\w+|NCCL_\w+)")
_SPEAKS = re.compile(
    r"(?:.*[._-])?(?:device|devices|dev|accelerator|platform|map[_-]location|device[_-]type|gpu"
    r"|target[_-]device)(?:[._-](?:type|name|id))?",
    re.IGNORECASE,
)
_BACKEND = re.compile(r"(?:.*[._-])?backend", re.IGNORECASE)
_SWITCH = re.compile(r"-{1,2}(?:(?:no|use|enable|disable|with)[_-]?)?cuda", re.IGNORECASE)
_LONGEST = 1_000  # letters of a line; a command in a block of YAML may be written by a program
_TOOLS = frozenset(
    {
        "nsys",
        "ncu",
        "nvprof",
        "nv-nsight-cu-cli",
        "cuda-gdb",
        "cuda-memcheck",
        "compute-sanitizer",
        "dcgmi",
        "nvidia-cuda-mps-control",
        "trtexec",
    }
)
_PRINTS = frozenset({"echo", "printf", "warn", "error", "die", "log", "info"})
_CARDS = re.compile(
    r"(?i)(?:^|[:=,&|\[])(?:nvidia[_-])?(?:tesla[_-]?)?(?:a100|h100|h200|h800|a800|v100|p100|t4|a10g?|a40|a30|l40s?|l4"
    r"|b200|gh200|k80|titan\w*|(?:rtx|gtx|quadro|geforce)[_-]?\w+|rtx\d+|\d080ti)(?:[_-]\w+)?(?=$|[:,&|\]])"
)
_WORTH_READING = re.compile(
    r"(?i)cuda|nccl|nvidia|nvcc|nsys|ncu|nvprof|compute-sanitizer|dcgmi|trtexec|gpus|gres|constraint|pip|conda"
    r"|accelerator|triton|cudnn|torch"
)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str  # without its quotes
    column: int  # from 1
    first: bool  # of a command


def find(text: str) -> list[Place]:
    places: list[Place] = []
    for number, line in enumerate(text.split("\n"), 1):
        places += find_line(line, number)
    return places


def find_line(line: str, number: int = 1, shift: int = 0) -> list[Place]:
    """What one line speaks of; `shift` columns stand before it in its file."""
    line = line[:_LONGEST]
    if not _WORTH_READING.search(line):
        return []
    batch = re.match(r"\s*#(SBATCH|PBS|\$|BSUB)\b", line)
    words = _words(line[batch.end() :], batch.end()) if batch else _words(line, 0)
    found = list(_batch(words, number)) if batch else list(_commands(words, number))
    return [Place(place.line, place.column + shift, place.rule, place.what) for place in found]


def _words(line: str, shift: int) -> list[_Word]:
    words, first = [], True
    for piece in _PIECE.finditer(line):
        if piece.lastgroup == "end":
            break
        if piece.lastgroup == "cut":
            first = True
        elif piece.lastgroup == "word":
            text = re.sub(r"^\$\(", "", piece.group())
            words.append(
                _Word(
                    re.sub(r"[\"']", "", text),
                    piece.start() + shift + 1 + len(piece.group()) - len(text),
                    first or text != piece.group(),
                )
            )
            first = bool(_SETS.fullmatch(text)) or text in (
                "export",
                "sudo",
                "env",
                "exec",
                "time",
                "nohup",
                "if",
                "then",
                "else",
                "do",
                "while",
                "!",
                "srun",
                "ENV",
                "RUN",
                "-",
                "@",
                "set",
            )
    return words


def _batch(words: list[_Word], number: int) -> Iterator[Place]:
    for at, word in enumerate(words):
        if re.search(r"gres|gpu|constraint|^-[CG]|^-l|select", word.text):
            value = word.text if "=" in word.text else " ".join(other.text for other in words[at : at + 2])
            if card := _CARDS.search(value.replace(" ", "=")):
                yield Place(number, word.column, "container-gpu", f"{value[:60]}" if card else value)
                return


def _commands(words: list[_Word], number: int) -> Iterator[Place]:
    command, installs = "", ""
    for at, word in enumerate(words):
        before = words[at - 1].text if at else ""
        if word.first:
            command, installs = word.text.rsplit("/", 1)[-1], ""
        if word.text in ("install", "create", "update") and re.fullmatch(
            r"pip\d?(?:\.\d+)?|conda|mamba|micromamba|uv|python\d?|apt-get|apt|yum|dnf", command
        ):
            installs = command
        place = _judge(word, before, command, number)
        if place:
            yield place
        elif command not in _PRINTS and (address := INDEX.search(word.text)):
            yield Place(number, word.column, "req-cuda-torch", address.group()[:60])
        elif installs in ("apt-get", "apt", "yum", "dnf"):
            if re.match(r"(?:cuda|nvidia|libcu(?:blas|dnn|sparse|fft|rand|solver)|libnccl|libnv|tensorrt)", word.text):
                yield Place(number, word.column, "req-needless", word.text[:60])
        elif (
            installs
            and not word.text.startswith("-")
            and word.text != installs
            and before not in ("-r", "--requirement", "-n", "--name", "-f")
        ):
            if before in ("-c", "--channel"):
                if word.text.startswith("nvidia"):
                    yield Place(number, word.column, "req-cuda-torch", f"channel {word.text}")
            else:
                yield from required(word.text, number, word.column)


def _judge(word: _Word, before: str, command: str, number: int) -> Place | None:
    def place(rule: str, what: str = "") -> Place:
        return Place(number, word.column, rule, (what or word.text)[:60])

    if command in _PRINTS:
        used = _USED.search(word.text) or re.search(r"\$\((nvidia-smi)", word.text)
        return place("nvidia-smi" if "smi" in used.group(1) else _variable(used.group(1)), used.group(1)) if used else None
    if word.first and command in ("nvidia-smi", "nvidia-smi.exe"):
        return place("nvidia-smi")
    if word.first and (command == "nvcc" or command.startswith("nvcc-")):
        return place("build-cuda")
    if (word.first and command in _TOOLS) or (
        before in ("load", "add") and re.match(r"(?i)(?:nvidia/)?(?:cuda|cudnn|nccl|tensorrt)(?:toolkit)?(?:[/-]|$)", word.text)
    ):
        return place("nvidia-tool")
    sets = _SETS.fullmatch(word.text)
    if sets and _VARIABLE.fullmatch(sets.group(1)):
        return place(_variable(sets.group(1)), sets.group(1))
    if sets and re.search(r"(?i)image|container|docker", sets.group(1)) and "cuda" in sets.group(2):
        return place("build-image")
    if before in ("export", "unset", "ENV", "ARG", "set", "-x", "-e", "--env") and _VARIABLE.fullmatch(word.text):
        return place(_variable(word.text))
    if re.search(r"(?:\$\(|`|^)\s*(?:\S*/)?nvidia-smi(?:\.exe)?\s", word.text) or re.search(
        r"\$\(\s*nvidia-smi|^/\S*/nvidia-smi$|=/\S*/nvidia-smi$", word.text
    ):
        return place("nvidia-smi", "nvidia-smi")
    if used := _USED.search(word.text):
        return place(_variable(used.group(1)), used.group(1))
    if word.text in ("--runtime=nvidia", "nvidia-docker") or (word.text.startswith("--gpus") and command in ("docker", "podman")):
        return place("container-gpu")
    if re.match(r"(?:--gres|--gpus\S*|--constraint|-C)\b", word.text) and _CARDS.search(word.text):
        return place("container-gpu")
    return _option(word, before, number)


def _option(word: _Word, before: str, number: int) -> Place | None:
    """`--device cuda`, `--device=cuda:0`, `trainer.accelerator=gpu`: a name, and a value that is a device."""
    name, _, value = word.text.lstrip("-+").rpartition("=")
    if not name and before.startswith("-") and "=" not in before:
        name, value = before.lstrip("-"), word.text
    if _SWITCH.fullmatch(word.text.split("=")[0]):
        return Place(number, word.column, "cuda-switch", word.text[:60])
    if name and DEVICE.fullmatch(value) and _SPEAKS.fullmatch(name):
        return Place(number, word.column, "device-string", f"{name} {value}")
    if value == "gpu" and name.rsplit(".", 1)[-1] == "accelerator":
        return Place(number, word.column, "accelerator", f"{name} {value}")
    if value == "nccl" and _BACKEND.fullmatch(name):
        return Place(number, word.column, "nccl", f"{name} {value}")
    return None


def _variable(name: str) -> str:
    return "visible-devices" if name.endswith("_VISIBLE_DEVICES") else "cuda-environment"
