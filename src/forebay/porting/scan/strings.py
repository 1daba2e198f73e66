"""Which rule a string falls under.

Asked:  does this string name a device, a backend, a file of kernels, a variable, a command, or is it a word?
Answer: by its text where that says enough ("nvidia-smi -L", "torch.cuda.FloatTensor"), otherwise by its place (`scan.roles`).
Limits: a docstring and the middle of a printed line are never uses. What is put together ("cu" + "da") isn't seen, but for a
        device with a number: f"cuda:{i}", "cuda:" + str(i), "cuda:%d" % i, "cuda:{}".format(i).
"""

from __future__ import annotations

import ast
import re

from forebay.porting.known import CUDA_PACKAGES, STOOD_IN, VARIABLE, rule_of_name
from forebay.porting.scan.called import last_name
from forebay.porting.scan.page import Page
from forebay.porting.scan.roles import Role, place_of, role
from forebay.porting.scan.surroundings import (
    asks_attribute,
    is_built,
    is_run,
    is_told,
    is_variable,
    keyword_of,
    registers,
)

_DEVICE = re.compile(r"cuda(:\d+)?")
_NUMBERED = re.compile(r"cuda:(%[dis]|\{[\w:]*\})?")  # to be filled in
_TYPE = re.compile(r"torch\.(cuda|backends\.cuda|backends\.cudnn|version\.cuda)(\.\w+)*")
_BACKEND = re.compile(r"((cpu|cuda):\w+,)*(cuda:)?nccl(,(cpu|cuda):\w+)*", re.IGNORECASE)
_LIBRARY = re.compile(r"\b(lib(cuda|cudart|cublas\w*|cudnn\w*|cufft|curand|cusparse|cusolver|nccl|nvrtc|nvToolsExt|nvidia-ml)"
                      r"\.(so|dylib)|(cuda|cudart|cublas|cudnn|nvcuda|nvml)\w*\.dll)")  # fmt: skip
_KERNELS = re.compile(r"[\w./{}*-]*[\w}*]\.(cu|cuh|ptx)")
_SOURCE = re.compile(r"__global__|__device__|\bthreadIdx\.|\bblockIdx\.")
_FLAGS = re.compile(
    r"-?-?gencode|-?-?(gpu-)?arch[= ]?(=?sm_|compute_)|compute_\d\d|-gencode.*|-D\w*CUDA\w*|-U__CUDA\w*"
    r"|-l(cuda|cudart|cublas|cudnn|nccl)\w*|--ptxas-options.*|-lineinfo|-Xptxas.*|-Xfatbin|--?expt-\w[\w-]*|--extended-lambda"
    r"|--use_fast_math|-?-maxrregcount.*"
)
_TOOLS = re.compile(r"([\w./-]*/)?(nvcc|nsys|ncu|nvprof|nvidia-settings|compute-sanitizer|cuda-memcheck)")
_TOOL_COMMAND = re.compile(r"(^|[;&|] *|\bwhich )([\w./-]*/)?(nvcc|nsys|ncu|nvprof) ")
_CUDA_FOLDER = re.compile(r"(/usr/local/|/opt/)(nvidia/)?cuda(-[\d.]+)?(/\S*)?")
_SMI = re.compile(r"(^|[;&|(` ]|/)nvidia-smi(\.exe)?($|[ \"')|;&<>`])")
_OURS = re.compile(r"[A-Z0-9_]*(CUDA|CUDNN|NCCL|NVCC|NVIDIA)[A-Z0-9_]*")  # a variable of the script's own, if it is one
_VISIBLE = re.compile(r"\bCUDA_(VISIBLE_DEVICES|LAUNCH_BLOCKING|DEVICE_ORDER)=")
_OPTION = re.compile(r"(^|[ ,])[-\w.+]*(device|device[-_]type)[ =]cuda(:\d+)?\b")
_PROFILED = re.compile(r"(self_)?cuda_(time|memory)\w*")
_OPERATOR = re.compile(r"aten::\w*(cuda|cudnn)\w*")
_REQUIREMENT = re.compile(r"(cupy-cuda\w+|nvidia-[\w-]+|flash[-_]attn|xformers|bitsandbytes|apex|triton|pynvml|pycuda|cuda-python"
                          r"|transformer[-_]engine|tensorrt\w*)\s*(\[.*\])?\s*([<>=!~;@ ].*)?")  # fmt: skip
_ERROR = re.compile(r"\bcuda\b|cublas|cudnn|nccl", re.IGNORECASE)


def rule_of_string(page: Page, node: ast.Constant) -> tuple[str, ast.expr, str] | None:
    """The rule, the expression that is the use, and how it is shown; None for a string that is none of our business."""
    text = str(node.value)
    above = page.parents[node]
    if isinstance(above, ast.Expr) or _is_annotation_only(page, node):
        return None  # a docstring
    place: ast.expr = node
    if isinstance(above, ast.JoinedStr):
        place = above
    elif isinstance(above, ast.FormattedValue):
        return None  # what is chosen between the braces of a printed line
    found = _by_text(page, node, text, place) or _by_place(page, node, text, place)
    return (found, place, _shown(place, text)) if found is not None else None


def _by_text(page: Page, node: ast.Constant, text: str, place: ast.expr) -> str | None:
    """Where the text says enough by itself; only whether it is handed to someone who only tells it is still asked."""
    if _SOURCE.search(text) and "\n" in text:
        return "cuda-source"
    whole = place is node
    if whole and (VARIABLE.fullmatch(text) or (_OURS.fullmatch(text) and is_variable(page, node))):
        named = "visible-devices" if text == "CUDA_VISIBLE_DEVICES" else "cuda-environment"
        return None if is_told(page, node) else named
    if _VISIBLE.search(text) and not is_told(page, place):
        return "visible-devices" if "CUDA_VISIBLE_DEVICES=" in text else "cuda-environment"
    if _SMI.search(text) and "\n" not in text.strip():
        return "nvidia-smi" if (_starts_command(text, "nvidia-smi") and not is_told(page, place)) or is_run(page, place) else None
    if _OPTION.search(text) and not is_told(page, place) and keyword_of(page, place) != "help":
        return "device-string"
    if _TOOL_COMMAND.search(text) and not is_told(page, place):
        return "nvcc"
    if not whole:
        return "cu-file" if re.fullmatch(r"[\w./-]*\.cuh?", text) and not is_told(page, place) else None
    if _TYPE.fullmatch(text):
        named = rule_of_name(text) or "cuda-module"
        return None if is_told(page, node) else named
    if _LIBRARY.search(text) and not is_told(page, node):
        return "cuda-library"
    if _KERNELS.fullmatch(text) and not is_told(page, node):
        return "cu-file"
    if (_TOOLS.fullmatch(text) or _CUDA_FOLDER.fullmatch(text)) and not is_told(page, node):
        return "nvcc"
    if _FLAGS.match(text) and not is_told(page, node):
        return None if is_built(page, node) else "nvcc"
    if _PROFILED.fullmatch(text):
        return "profiler"
    if _OPERATOR.fullmatch(text):
        return "backends"
    if text in ("CUDAExecutionProvider", "TensorrtExecutionProvider") and not is_told(page, node):
        return "cuda-package"  # of onnxruntime
    if text in ("cudagraphs", "triton.cudagraphs") and not is_told(page, node):
        return "graphs"
    if text in ("flash_attention_2", "flash_attention_3") and not is_told(page, node):
        return "cuda-package-stood-in"
    return _asked_package(page, node, text)


def _by_place(page: Page, node: ast.Constant, text: str, place: ast.expr) -> str | None:
    if _BACKEND.fullmatch(text):
        return _backend(page, node)
    if place is not node:
        return _in_pieces(page, node, text, place)
    if _DEVICE.fullmatch(text) or (_NUMBERED.fullmatch(text) and (text == "cuda:" or _is_filled(page, node))):
        return _device(page, node)
    if text.lower() == "gpu":
        return "trainer-gpus" if place_of(page, node).name == "accelerator" else None
    if isinstance(page.parents[node], ast.Compare) and _ERROR.search(text):
        return "cuda-error" if text not in ("nccl", "NCCL") else "nccl-comparison"
    if text == "CUDA" and registers(page, node):
        return "cuda-dispatch"
    if (call := asks_attribute(page, node)) is not None:
        return "is-cuda" if text == "is_cuda" else rule_of_name(f"{page.full_name(call.args[0])}.{text}") or "word"
    return "word" if "cuda" in text.lower() and "\n" not in text and len(text) < 200 else None


def _device(page: Page, node: ast.expr) -> str | None:
    if (call := asks_attribute(page, node)) is not None:
        return _asked_attribute(page, call)
    return {
        Role.DEVICE: "device-string",
        Role.COMPARISON: "device-comparison",
        Role.CHECKPOINT: "map-location",
        Role.PART: None,
        Role.WORD: "word",
    }[role(page, node)]


def _in_pieces(page: Page, node: ast.Constant, text: str, place: ast.expr) -> str | None:
    """A piece of an f-string: f"cuda:{i}" is a device, f"cuda: {seconds} s" is a printed line."""
    assert isinstance(place, ast.JoinedStr)
    pieces = place.values
    first = pieces[0] is node
    if first and text == "cuda:" and (len(pieces) == 2 or all(_is_word(piece) for piece in pieces[1:])):
        return _device(page, place)
    if re.search(r"(^|_)cuda$", text) and last_name(place_of(page, place).call) == "find_spec":
        return "own-extension"
    return None


def _is_word(piece: ast.expr) -> bool:
    return isinstance(piece, ast.FormattedValue)


def _backend(page: Page, node: ast.expr) -> str | None:
    above = page.parents[node]
    if isinstance(above, (ast.Compare, ast.MatchValue)):
        return "nccl-comparison"
    place = place_of(page, node)
    if place.role is Role.COMPARISON:
        return "nccl-comparison"
    if place.role is Role.WORD or is_told(page, node):
        return None
    return None if re.search(r"(label|title|name|tag|key)s?$", place.name) and "backend" not in place.name else "nccl"


def _is_filled(page: Page, node: ast.expr) -> bool:
    """Whether "cuda:%d" or "cuda:{}" is filled in where it stands, or is kept for that."""
    return not isinstance(page.parents[node], ast.Compare)


def _asked_attribute(page: Page, call: ast.Call) -> str | None:
    """getattr(tensor, "cuda") is what tensor.cuda is."""
    of = page.full_name(call.args[0])
    if of in ("torch", "torch.version"):
        if isinstance(page.parents[call], ast.Attribute):
            return None  # getattr(torch, "cuda").synchronize() is found as a name
        return "cuda-module" if of == "torch" else "cuda-version"
    return "cuda-move"


def _asked_package(page: Page, node: ast.expr, text: str) -> str | None:
    """find_spec("flash_attn") asks whether there is such a package; install_requires=["flash-attn"] demands it."""
    place = place_of(page, node)
    called = last_name(place.call.func) if place.call is not None else ""
    if text.split(".")[0] in CUDA_PACKAGES and re.fullmatch(r"[\w.]+", text):
        if called in ("importorskip", "find_spec", "is_package_available", "_is_package_available", "version", "find_loader"):
            return "cuda-package-optional"
        if called in ("import_module", "__import__"):
            return "cuda-package-stood-in" if text.split(".")[0] in STOOD_IN else "cuda-package"
    if text == "triton" and called in ("importorskip", "find_spec", "import_module"):
        return "triton"
    if re.search(r"requires?$|requirements?$", place.name) and _REQUIREMENT.fullmatch(text):
        return "cuda-package-stood-in" if re.match(r"flash|xformers|apex|bitsandbytes|pynvml", text) else "cuda-package"
    return None


def _starts_command(text: str, command: str) -> bool:
    return re.match(rf"([\w./-]*/)?{command}(\.exe)?( |$)", text) is not None


def _is_annotation_only(page: Page, node: ast.expr) -> bool:
    """A string that is an annotation names a type, and is read by people: "torch.cuda.Stream" counts, "cuda" can't be one."""
    above = page.parents[node]
    return isinstance(above, ast.arg) and not _TYPE.fullmatch(str(getattr(node, "value", "")))


def _shown(place: ast.expr, text: str) -> str:
    if isinstance(place, ast.JoinedStr):
        return f"f{ast.unparse(place)[1:]}"[:40]
    first = text.split("\n", 1)[0] if "\n" not in text[:1] else text.strip().split("\n", 1)[0]
    return repr(text) if len(text) <= 40 and "\n" not in text else repr(first[:37] + "...")
