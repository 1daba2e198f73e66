"""What of CUDA can't be carried to the host, by rule.

Asked:  which line of a .cu file can't run without a card, and which rule says so?
Answer: `refusals(tokens)`, on the user's own text after preprocessing: what is switched off by a macro doesn't count. Each
        says file, line, what stands there and what to use. `explain(words)` finds the rule behind a compiler's error.
Limits: names are what is looked at. A function of the user that is called like one of cuBLAS is refused too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forebay.porting.kernels.tokens import Token, closing, next_solid


@dataclass(frozen=True)
class Refusal:
    """A place in the user's source that can't be carried. Not an error of the user's: it runs on a card."""

    file: str
    line: int
    rule: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.what}; {self.hint}"


# rule -> (names that are refused where they are used, what to do about it)
NAMES = {
    "wmma": (
        r"wmma|mma_sync|load_matrix_sync|store_matrix_sync|__nvcuda\w*|mma_fill\w*",
        "tensor-core intrinsics: write the product as loops over a tile, or call at::mm",
    ),
    "cutlass": (r"cutlass|cute", "CUTLASS is made of PTX: call at::mm or at::scaled_dot_product_attention"),
    "library": (
        r"cublas(?!(?:Lt)?(?:Create|Destroy)\Z|SetStream\Z|SetMathMode\Z)(?:Lt|Xt)?[A-Z]\w*|cudnn[A-Z]\w*|cusparse[A-Z]\w*|cusolver(?:Dn|Sp)?[A-Z]\w*|cufft[A-Z]\w*|curand[A-Z]\w*|nccl[A-Z]\w*"
        r"|getCurrentCUDABlasHandle|getCudnnHandle|getCurrentCUDASparseHandle",
        "a CUDA library's call: use the operator of torch that does the same (at::mm, at::convolution, at::fft_fft)",
    ),
    "texture": (
        r"tex[123]D\w*|texture|textureReference|surf[123]D\w*|surface|cudaTextureObject_t|cudaSurfaceObject_t|cudaCreateTextureObject",
        "textures and surfaces: read the array itself",
    ),
    "graph": (r"cudaGraph\w*|cudaStreamBeginCapture|cudaStreamEndCapture", "CUDA graphs in C++: launch the kernels directly"),
    "driver": (
        r"cuLaunch\w+|cuModule\w+|cuInit|cuCtx\w+|cuTensorMap\w+|nvrtc\w+",
        "the driver's interface takes compiled device code: use the runtime's",
    ),
    "cooperative grid": (
        r"cudaLaunchCooperativeKernel\w*|this_grid|grid_group|cluster_group|this_cluster|cudaLaunchKernelEx\w*",
        "a barrier over the whole grid: split the kernel where it waits",
    ),
    "asynchronous copy": (
        r"__pipeline_\w+|memcpy_async|cp_async\w*",
        "copies in the background of a kernel: copy with ordinary loads and __syncthreads()",
    ),
}
_NAMES = [(rule, re.compile(f"(?:{names})\\Z"), hint) for rule, (names, hint) in NAMES.items()]
_TYPES = {"cudaTextureObject_t", "cudaSurfaceObject_t", "cudaGraph_t", "cudaGraphExec_t", "grid_group", "cluster_group"}
_FIRST_LETTERS = frozenset("wmlsctgn_")  # of all those names: most words are passed over quickly

# What a compiler says -> the rule behind it.
_WORDS = (
    (r"fatal error: (?:cutlass|cute)/", "cutlass", NAMES["cutlass"][1]),
    (r"fatal error: mma\.h", "wmma", NAMES["wmma"][1]),
    (r"fatal error: cub/", "header", "CUB isn't in the stand-in: write the reduction or the scan with shuffles"),
    (r"fatal error: thrust/", "header", "Thrust isn't in the stand-in: use torch's operators"),
    (r"fatal error: (\S+): No such file", "header", "the stand-in for CUDA's headers has no such file (see docs/kernels.md)"),
    (r"'(?:__\w+|cuda[A-Z]\w*|cu[A-Z]\w*)' (?:was not declared|does not name|has not been declared)", "intrinsic",
     "the stand-in for CUDA's headers doesn't have this function (see docs/kernels.md)"),
    (r"(?:has no member named|is not a member of|cannot convert|no matching function)", "source",
     "the same text may fail with nvcc: this torch's interfaces may differ from those that the project was written for"),
)  # fmt: skip


def refusals(tokens: list[Token], is_users: dict[str, bool]) -> list[Refusal]:
    """Every place in the user's files that can't be carried, in order."""
    return list(_refusals(tokens, is_users))


def _refusals(tokens: list[Token], is_users: dict[str, bool]) -> Iterator[Refusal]:
    own = set(_defined(tokens))
    inside = 0  # up to which token we are in the body of a kernel or of a device function
    for at, token in enumerate(tokens):
        if token.blank or not is_users.get(token.file, True):
            continue
        if token.text in ("__global__", "__device__"):
            body = _body(tokens, at)
            if body:
                inside = max(inside, closing(tokens, body))
                if token.text == "__global__" and next_solid(tokens, body + 1) == closing(tokens, body):
                    yield _refusal(
                        token,
                        "empty kernel",
                        "the kernel has no body when it isn't compiled for a card",
                        "its text depends on __CUDA_ARCH__: give it a body without",
                    )
        elif token.text == "<<<" and at < inside:
            yield _refusal(token, "dynamic parallelism", "a kernel launches a kernel", "launch it from the host")
        elif token.kind == "word" and token.text in ("asm", "__asm__", "__asm"):
            yield _refusal(token, "ptx", "inline PTX", "use the intrinsic or the plain C++ that does the same")
        elif token.kind == "word" and token.text[0] in _FIRST_LETTERS:
            for rule, names, hint in _NAMES:
                if names.match(token.text) and token.text not in own and _is_used(tokens, at):
                    yield _refusal(token, rule, token.text, hint)


def _refusal(token: Token, rule: str, what: str, hint: str) -> Refusal:
    return Refusal(token.file, token.line, rule, what, hint)


def _body(tokens: list[Token], at: int) -> int:
    """Where the body of the function that is marked here begins; 0 for a declaration or a variable."""
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "sign":
            if token.text in ("(", "["):
                at = closing(tokens, at)
            elif token.text in (";", "=", "}"):
                return 0
            elif token.text == "{":
                return at
        at += 1
    return 0


def _is_used(tokens: list[Token], at: int) -> bool:
    """Called, qualified or given template arguments: not a variable or a member that only has the name."""
    after = next_solid(tokens, at + 1)
    following = tokens[after].text if after < len(tokens) else ""
    return following in ("(", "::", "<") or tokens[at].text in _TYPES


def _defined(tokens: list[Token]) -> Iterator[str]:
    """The functions whose bodies are here: `cublasCheck` is often the user's own."""
    for at, token in enumerate(tokens):
        if token.kind == "word" and token.text[0] in _FIRST_LETTERS:
            call = next_solid(tokens, at + 1)
            if call < len(tokens) and tokens[call].text == "(":
                after = next_solid(tokens, closing(tokens, call) + 1)
                if after < len(tokens) and tokens[after].text == "{":
                    yield token.text


def explain(words: str) -> str:
    """The rule behind a compiler's first error, as a line to add to its words; "" where there is none."""
    plain = words.replace("\u2018", "'").replace("\u2019", "'")
    for line in plain.splitlines():
        if "error" not in line:
            continue
        for pattern, rule, hint in _WORDS:
            if re.search(pattern, line):
                return f"rule {rule}: {hint}"
    return ""
