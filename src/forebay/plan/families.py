"""What a config.json leaves unsaid because the family of the model decides it.

Asked:  has a `gpt_neox` a gated MLP, does a `gemma2` tie its embeddings, and how wide is the MLP of a `bloom`?
Answer: one line a `model_type`, from the classes of the same names in huggingface/transformers, src/transformers/models/
        (configuration_*.py for what is tied and the defaults, modeling_*.py for the MLP), and for grok-1, dbrx and Pangu from the
        files that their makers published beside the weights.
Limits: decoder-only transformers. What has recurrent, convolutional or state-space layers, or an encoder, is in REFUSED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What all models of a `model_type` share."""

    gated: bool = True
    tied: bool = False  # where the file doesn't say
    wide: int = 0  # the MLP is so many times the width where the file doesn't say; 0: the file must say
    full_every: int = 0  # with a window: one layer in so many sees all, where the file doesn't say
    biased: bool = False  # experts have biases
    clamped: bool = False  # and limits before their activation
    unsaid: Mapping[str, int] = field(default_factory=dict)  # defaults of the class, which nested files leave out


PLAIN = Family(gated=False, wide=4)
TIED = Family(gated=False, tied=True, wide=4)


def _each(names: str, family: Family) -> dict[str, Family]:
    return dict.fromkeys(names.split(), family)


FAMILIES: Mapping[str, Family] = {
    **_each(
        """llama mistral ministral qwen qwen2 qwen3 phi3 glm glm4 chatglm olmo olmo2 olmo3 internlm2 internlm3 baichuan stablelm
        granite exaone4 seed_oss helium minicpm3 deepseek aquila orion hunyuan_v1_dense PanguEmbedded""",
        Family(),
    ),
    **_each(
        """mixtral qwen2_moe qwen3_moe deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 glm4_moe glm4_moe_lite glm_moe_dsa olmoe
        phimoe granitemoe dbrx llama4_text minimax_m2 dots1 bailing_moe hunyuan_v1_moe pangu_ultra_moe PanguProMoE""",
        Family(),
    ),
    **_each(
        "qwen2_vl qwen2_5_vl qwen2_vl_text qwen2_5_vl_text qwen3_vl_text qwen3_vl_moe_text glm4v_text glm4v_moe_text",
        Family(),
    ),
    **_each("cohere smollm3 minicpm gemma ernie4_5 ernie4_5_moe grok-1 grok", Family(tied=True)),
    "gpt_oss": Family(full_every=2, biased=True, clamped=True),
    "gemma2": Family(tied=True, full_every=2),
    "cohere2": Family(tied=True, full_every=4),
    "gemma3_text": Family(
        tied=True,
        full_every=6,
        unsaid={
            "vocab_size": 262_208,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 4096,
        },
    ),
    **_each("nemotron phi persimmon gpt_neox gptj codegen arcee apertus nanochat", PLAIN),
    **_each("starcoder2 gpt2 gpt_bigcode gpt_neo opt bloom falcon RefinedWeb RefinedWebModel mpt xglm", TIED),
}

_WHY = {
    "it has state-space or recurrent layers instead of attention": "mamba mamba2 falcon_mamba rwkv rwkv7 xlstm",
    "some of its layers are state-space, linear-attention or convolution layers": """jamba zamba zamba2 bamba nemotron_h falcon_h1
        recurrent_gemma qwen3_next kimi_linear lfm2 lfm2_moe granitemoehybrid""",
    "its layers attend twice, or choose heads as others choose experts": "longcat_flash jetmoe",
    "it has an encoder and a decoder": "t5 mt5 umt5 bart mbart pegasus marian whisper m2m_100 t5gemma led",
    "it is an encoder": "bert roberta xlm-roberta distilbert electra deberta deberta-v2 albert modernbert vit clip siglip",
}
REFUSED: Mapping[str, str] = {name: why for why, names in _WHY.items() for name in names.split()}
