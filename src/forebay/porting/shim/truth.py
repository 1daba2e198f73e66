"""Who hears that there is a GPU, and who hears the truth.

Asked:  a module asks torch.cuda.is_available(), or for NCCL: what serves the user who runs it?
Answer: a table of libraries. Scripts hear "cuda", and so does every library that isn't in it. Torch's compilers and Triton
        hear the truth, or they would look for a driver. On the simulated device the libraries of the table hear "cuda" like the
        script: there is nothing else that they could know. On a chip with a name of its own, a library that knows that chip
        by itself hears the truth, because its own way is better tried than a stand-in for cuda's.
Limits: the asking module is known by its __name__, one frame up. A library that asks through another is taken for that other.
"""

from __future__ import annotations

from dataclasses import dataclass

CUDA, TRUTH = "cuda", "the truth"
AVAILABLE, NCCL, VERSION = "is there a GPU", "is there NCCL", "which CUDA was torch built for"


@dataclass(frozen=True)
class Rule:
    """What one library hears to one question.

    It says nothing of what the library does with the answer.
    """

    library: str  # a module and all below it; the longest that fits counts
    simulated: str  # CUDA or TRUTH, on the simulated device and the mapped carrier
    chip: str  # the same on a chip with a device name of its own
    reason: str
    question: str = AVAILABLE


RULES = (
    Rule("torch._inductor", TRUTH, TRUTH, "would load libcuda and write kernels for a GPU"),
    Rule("torch._dynamo", TRUTH, TRUTH, "would keep CUDA's random state and look for a driver"),
    Rule("torch._dynamo.variables", CUDA, CUDA, "asks on behalf of the script's text that it traces"),
    Rule("torch._functorch", TRUTH, TRUTH, "chooses passes for CUDA kernels"),
    Rule("torch._export", TRUTH, TRUTH, "chooses passes for CUDA kernels"),
    Rule("torch.utils._triton", TRUTH, TRUTH, "decides whether Triton can compile"),
    Rule("torch._C", TRUTH, TRUTH, "guards uses of classes that a CUDA build has"),
    Rule("triton", TRUTH, TRUTH, "would load libcuda"),
    Rule("torch.utils.data", CUDA, TRUTH, "pins memory: for the simulated device that is cuda's, for a chip the chip's own"),
    Rule("transformers", CUDA, TRUTH, "knows npu, mlu, musa, xpu, hpu and mps by itself"),
    Rule("accelerate", CUDA, TRUTH, "knows npu, mlu, sdaa, musa, xpu, hpu and their backends by itself"),
    Rule("peft", CUDA, TRUTH, "asks for a device as accelerate does"),
    Rule("trl", CUDA, TRUTH, "asks for a device as accelerate does"),
    Rule("diffusers", CUDA, TRUTH, "knows npu, xpu and mps by itself"),
    Rule("deepspeed", CUDA, TRUTH, "has accelerators for npu, mlu, sdaa, supa, xpu, hpu and mps"),
    Rule("vllm", CUDA, TRUTH, "finds the chip's platform as a plug-in"),
    Rule("bitsandbytes", TRUTH, TRUTH, "would call its CUDA library; told the truth, its CPU kernels serve, or the chip's own"),
    Rule("lightning", CUDA, CUDA, "knows cuda, tpu and mps only; the chips' own plug-ins for it are rare"),
    Rule("megatron", CUDA, CUDA, "knows cuda only"),
    Rule("torch", TRUTH, TRUTH, "guards uses of ProcessGroupNCCL, a class that isn't there", NCCL),
    Rule("torch.nn.parallel", CUDA, CUDA, "asks whether a hook may send bf16: the groups here can", NCCL),
    Rule("torch", TRUTH, TRUTH, "would look for CUDA's parts", VERSION),
    Rule("torch.nn.parallel", CUDA, CUDA, "asks whether a hook may send bf16: the groups here can", VERSION),
    Rule("triton", TRUTH, TRUTH, "would look for CUDA's parts", VERSION),
    Rule("torch_triton", TRUTH, TRUTH, "would look for CUDA's parts", VERSION),
)


def rule_for(module: str, question: str = AVAILABLE) -> Rule | None:
    """The rule of the longest library that this module belongs to."""
    fitting = [
        rule for rule in RULES if rule.question == question and (module == rule.library or module.startswith(rule.library + "."))
    ]
    return max(fitting, key=lambda rule: len(rule.library), default=None)


def told_the_truth(module: str, question: str = AVAILABLE, *, chip: bool = False) -> bool:
    rule = rule_for(module, question)
    return rule is not None and (rule.chip if chip else rule.simulated) == TRUTH
