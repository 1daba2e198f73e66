"""A module's shape is seen on the meta device: as people write transformers, with each weight accounted for."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from forebay.errors import BadInput  # noqa: E402
from forebay.plan import profile as profiles  # noqa: E402
from forebay.plan.model import Experts, Latent, Model  # noqa: E402
from forebay.plan.presets import describe, preset  # noqa: E402
from forebay.plan.profile import from_text, profile  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_gpt.py"


class Attention(nn.Module):
    """Grouped queries, through torch's attention or by hand."""

    def __init__(self, width, heads, kv_heads, head=0, by_hand=False):
        super().__init__()
        self.heads, self.kv, self.head, self.by_hand = heads, kv_heads, head or width // heads, by_hand
        self.wq = nn.Linear(width, heads * self.head, bias=False)
        self.wk = nn.Linear(width, kv_heads * self.head, bias=False)
        self.wv = nn.Linear(width, kv_heads * self.head, bias=False)
        self.wo = nn.Linear(heads * self.head, width, bias=False)

    def forward(self, x):
        B, T, _ = x.shape
        q = self.wq(x).view(B, T, self.heads, self.head).transpose(1, 2)
        k, v = (w(x).view(B, T, self.kv, self.head).transpose(1, 2) for w in (self.wk, self.wv))
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        if self.by_hand:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(self.head)
            scores = scores.masked_fill(torch.ones(T, T).tril() == 0, float("-inf"))
            y = F.softmax(scores, dim=-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(y.transpose(1, 2).reshape(B, T, -1))


class Gated(nn.Module):
    def __init__(self, width, wide):
        super().__init__()
        self.w1, self.w2, self.w3 = (
            nn.Linear(width, wide, bias=False),
            nn.Linear(wide, width, bias=False),
            nn.Linear(width, wide, bias=False),
        )

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Fused(nn.Module):
    def __init__(self, width, wide):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * wide), nn.Linear(wide, width)

    def forward(self, x):
        gate, up = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Plain(nn.Sequential):
    def __init__(self, width, wide):
        super().__init__(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))


class Routed(nn.Module):
    """Experts as modules, each run on the tokens that chose it: which needs values."""

    def __init__(self, width, wide, count=4, top_k=2, shared=0):
        super().__init__()
        self.top_k = top_k
        self.gate = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(Gated(width, wide) for _ in range(count))
        self.shared = Gated(width, shared) if shared else None

    def forward(self, x):
        flat = x.view(-1, x.shape[-1])
        weights, picked = torch.topk(self.gate(flat).softmax(-1), self.top_k)
        out = torch.zeros_like(flat)
        for i, expert in enumerate(self.experts):
            token, nth = torch.where(picked == i)
            out[token] += weights[token, nth, None] * expert(flat[token])
        return out.view_as(x) + (self.shared(x) if self.shared else 0)


class Stacked(nn.Module):
    """Experts as weights of three dimensions, all run on all tokens."""

    def __init__(self, width, wide, count=4):
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.up = nn.Parameter(torch.empty(count, width, 2 * wide))
        self.down = nn.Parameter(torch.empty(count, wide, width))

    def forward(self, x):
        flat = x.view(1, -1, x.shape[-1]).expand(self.up.shape[0], -1, -1)
        picked = torch.topk(self.router(x).softmax(-1), 2)
        gate, up = torch.bmm(flat, self.up).chunk(2, -1)
        y = torch.bmm(F.silu(gate) * up, self.down)
        return y.mean(0).view_as(x) + 0 * picked.values.sum()


class Latents(nn.Module):
    """DeepSeek's attention: 4 heads of 16 + 8, values of 12."""

    def __init__(self, width=64, heads=4, query_rank=40, kv_rank=20, plain=16, rotary=8, value=12):
        super().__init__()
        self.s = SimpleNamespace(heads=heads, plain=plain, rotary=rotary, value=value, kv_rank=kv_rank)
        self.q_a = nn.Linear(width, query_rank, bias=False) if query_rank else None
        self.q_b = nn.Linear(query_rank or width, heads * (plain + rotary), bias=False)
        self.kv_a = nn.Linear(width, kv_rank + rotary, bias=False)
        self.kv_b = nn.Linear(kv_rank, heads * (plain + value), bias=False)
        self.o = nn.Linear(heads * value, width, bias=False)

    def forward(self, x):
        (B, T, _), s = x.shape, self.s
        q = self.q_b(self.q_a(x) if self.q_a else x).view(B, T, s.heads, -1).transpose(1, 2)
        small, turned = self.kv_a(x).split([s.kv_rank, s.rotary], -1)
        k, v = self.kv_b(small).view(B, T, s.heads, -1).transpose(1, 2).split([s.plain, s.value], -1)
        k = torch.cat([k, turned[:, None].expand(B, s.heads, T, s.rotary)], -1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(B, T, -1))


class Block(nn.Module):
    def __init__(self, attention, mlp, width, parallel=False):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(width), attention, nn.LayerNorm(width), mlp
        self.parallel = parallel

    def forward(self, x):
        if self.parallel:
            return x + self.attn(self.norm1(x)) + self.mlp(self.norm2(x))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    def __init__(self, blocks, width=64, words=100, tied=False, positions=0, head=True):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(positions, width) if positions else None
        self.layers = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False) if head else nn.Identity()
        self.turns = torch.ones(8, 1)  # a plain attribute stays on the CPU
        if tied:
            self.head.weight = self.words.weight

    def forward(self, ids, targets=None):
        x = self.words(ids)
        if self.places:
            x = x + self.places(torch.arange(ids.shape[1], device=ids.device))
        x = x * self.turns[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def decoder(attention=lambda: Attention(64, 4, 2), mlp=lambda: Gated(64, 160), layers=3, **more):
    parallel = more.pop("parallel", False)
    return Decoder([Block(attention(), mlp(), 64, parallel) for _ in range(layers)], **more)


PLAIN = {"layers": 3, "width": 64, "heads": 4, "kv_heads": 2, "mlp_width": 160, "vocabulary": 100}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda: decoder(), {}),
        (lambda: decoder(tied=True), {"tied_embeddings": True}),
        (lambda: decoder(positions=32), {"positions": 32}),
        (lambda: decoder(lambda: Attention(64, 4, 4, by_hand=True)), {"kv_heads": 4}),
        (lambda: decoder(lambda: Attention(64, 4, 1, by_hand=True)), {"kv_heads": 1}),
        (lambda: decoder(lambda: Attention(64, 4, 2, head=32)), {"head_width": 32}),
        (lambda: decoder(mlp=lambda: Plain(64, 256)), {"gated_mlp": False, "mlp_width": 256}),
        (lambda: decoder(mlp=lambda: Fused(64, 96)), {"mlp_width": 96}),
        (lambda: decoder(mlp=lambda: Gated(64, 64)), {"mlp_width": 64}),
        (lambda: decoder(parallel=True), {}),
        (lambda: decoder(layers=1), {"layers": 1}),
        (lambda: decoder(head=False), {"tied_embeddings": True}),
        (
            lambda: decoder(mlp=lambda: Routed(64, 48)),
            {"mlp_width": 0, "experts": Experts(count=4, chosen=2, width=48)},
        ),
        (
            lambda: decoder(mlp=lambda: Routed(64, 48, count=8, top_k=3, shared=80)),
            {"mlp_width": 0, "experts": Experts(count=8, chosen=3, width=48, shared_width=80)},
        ),
        (
            lambda: decoder(mlp=lambda: Stacked(64, 48)),
            {"mlp_width": 0, "experts": Experts(count=4, chosen=2, width=48)},
        ),
        (
            lambda: Decoder([Block(Attention(64, 4, 2), Gated(64, 160) if i < 1 else Routed(64, 48), 64) for i in range(3)]),
            {"experts": Experts(count=4, chosen=2, width=48, dense_layers=1)},
        ),
        (
            lambda: decoder(Latents),
            {"kv_heads": 4, "latent": Latent(query_rank=40, kv_rank=20, plain=16, rotary=8, value=12)},
        ),
        (
            lambda: decoder(lambda: Latents(query_rank=0)),
            {"kv_heads": 4, "latent": Latent(query_rank=0, kv_rank=20, plain=16, rotary=8, value=12)},
        ),
    ],
    ids=lambda value: "made" if callable(value) else str(sorted(value)),
)
def test_a_decoder_is_seen_as_it_is(made, expected):
    module = made()
    told = profile(module, name="mine")
    assert told.model == Model(name="mine", **{**PLAIN, **expected})
    matrices = sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
    loose = 3 * 64 if expected.get("experts") and expected.get("mlp_width", 1) else 0
    assert abs(told.model.parameters - matrices) <= loose + 0.01 * matrices * (not expected.get("head", True))


class Einsum(nn.Module):
    """Experts as weights of three dimensions in one einsum, which becomes one wide product."""

    def __init__(self, width, wide, count=8):
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.w1, self.w3 = (nn.Parameter(torch.empty(count, width, wide)) for _ in range(2))
        self.w2 = nn.Parameter(torch.empty(count, wide, width))

    def forward(self, x):
        chosen = torch.topk(self.router(x).softmax(-1), 2).values.sum()
        h = F.silu(torch.einsum("btd,edf->btef", x, self.w1)) * torch.einsum("btd,edf->btef", x, self.w3)
        return torch.einsum("btef,efd->btd", h, self.w2) * chosen


class Pair(Routed):
    """A mixture that gives its router's scores too."""

    def forward(self, x):
        return super().forward(x), self.gate(x)


class PairBlock(Block):
    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        y, _ = self.mlp(self.norm2(x))
        return x + y


def test_experts_in_one_einsum():
    assert profile(decoder(mlp=lambda: Einsum(64, 96))).model.experts == Experts(count=8, chosen=2, width=96)


def test_a_forward_that_ends_early_is_completed_by_names_and_said():
    module = Decoder([PairBlock(Attention(64, 4, 2), Pair(64, 48), 64) for _ in range(3)])
    told = profile(module, name="mine")
    mixture = Experts(count=4, chosen=2, width=48)
    assert told.model == Model(name="mine", **{**PLAIN, "mlp_width": 0, "experts": mixture})
    assert "was not run" in told.notes[0]
    assert "ended early" in told.notes[1]


def test_an_encoder_and_a_decoder_are_refused():
    with pytest.raises(BadInput, match="can't be described"):
        profile(nn.Transformer(64, 4, 2, 2, 128))

    class Crossed(Block):
        def __init__(self):
            super().__init__(Attention(64, 4, 2), Gated(64, 160), 64)
            self.cross = Attention(64, 4, 2)

        def forward(self, x):
            return super().forward(x + self.cross(x))

    with pytest.raises(BadInput, match="attends 2 times"):
        profile(Decoder([Crossed() for _ in range(3)]))


def test_a_module_that_asks_for_a_device_by_name():
    class Stubborn(Decoder):
        def forward(self, ids):
            return super().forward(ids.to("cuda:0") + torch.arange(ids.shape[1], device="cuda"))

    module = Stubborn([Block(Attention(64, 4, 2), Gated(64, 160), 64) for _ in range(3)])
    assert profile(module, name="mine").model == Model(name="mine", **PLAIN)


def test_the_same_on_the_meta_device_and_off_it():
    real = decoder()
    with torch.device("meta"):
        shapes = decoder()
    assert profile(real).model == profile(shapes).model


def test_a_module_is_left_as_it_was():
    module = decoder(mlp=lambda: Routed(64, 48)).eval()
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    profile(module)
    assert all(torch.equal(weight, before[name]) for name, weight in module.named_parameters())
    assert not module.training
    assert all("forward" not in vars(one) for one in module.modules())
    assert module(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 100)


def test_the_repositorys_own_small_gpt_is_its_preset():
    example = profiles._module(str(EXAMPLE))
    with torch.device("meta"):
        module = example.GPT(example.Shape(layers=2, width=64, heads=2, context=64))
    told = profile(module, name="forebay-gpt")
    assert told.model == preset("forebay-gpt")
    assert "recent.1.weight" in told.notes[0]


class Head(nn.Module):
    def __init__(self, width, head):
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(width, head, bias=False) for _ in range(3))

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(-2, -1) * x.shape[-1] ** -0.5
        return F.softmax(scores, dim=-1) @ self.value(x)


class Heads(nn.Module):
    """Attention as in lectures: a list of single heads."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = nn.ModuleList(Head(width, width // heads) for _ in range(heads))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        return self.proj(torch.cat([head(x) for head in self.heads], dim=-1))


def test_a_list_of_heads_is_attention_and_no_experts():
    model = profile(decoder(lambda: Heads(64, 4)), name="mine").model
    assert model == Model(name="mine", **{**PLAIN, "kv_heads": 4})


class NanoBlock(nn.Module):
    """nanoGPT's: one matrix for queries, keys and values, biases, attention in the block itself."""

    def __init__(self, width, heads):
        super().__init__()
        self.n_head = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.n_head, -1).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x))))


def test_gpt_2_of_124_million_weights():
    with torch.device("meta"):
        module = Decoder([NanoBlock(768, 12) for _ in range(12)], width=768, words=50257, tied=True, positions=1024)
    assert profile(module, name="gpt-2-124m").model == preset("gpt-2-124m")


@pytest.mark.parametrize("batch_first", [True, False])
def test_torchs_own_encoder(batch_first):
    layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=batch_first)
    told = profile(nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), name="mine")
    assert told.model == Model(
        name="mine", layers=3, width=128, heads=4, kv_heads=4, mlp_width=512, vocabulary=0, gated_mlp=False, tied_embeddings=True
    )
    assert "without a vocabulary" in told.notes[0]


def test_blocks_that_are_attributes_one_by_one():
    class Few(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(100, 64)
            self.a, self.b = (Block(Attention(64, 4, 2), Gated(64, 160), 64) for _ in range(2))
            self.head = nn.Linear(64, 100, bias=False)

        def forward(self, ids):
            return self.head(self.b(self.a(self.words(ids))))

    assert profile(Few(), name="mine").model == Model(name="mine", **{**PLAIN, "layers": 2})


def test_a_module_with_a_hugging_face_config_is_read_by_it_and_checked():
    module = decoder(tied=True)
    fields = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
              "num_key_value_heads": 2, "intermediate_size": 160, "vocab_size": 100, "tie_word_embeddings": True}  # fmt: skip
    module.config = SimpleNamespace(to_dict=lambda: fields)
    assert "checked against its weights" in profile(module).source
    fields["num_hidden_layers"] = 2  # a config that doesn't fit its module isn't believed
    told = profile(module)
    assert told.model.layers == 3
    assert "traced" in told.source


def test_a_factory_is_a_models_name_too(tmp_path):
    made = "nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256), 2, enable_nested_tensor=False)"
    (tmp_path / "own.py").write_text(f"from torch import nn\n\n\ndef make():\n    return {made}\n")
    assert describe(f"{tmp_path}/own.py:make").model.layers == 2
    sys.modules.pop("own", None)


KINDS = """
llama qwen3 mixtral qwen3_moe deepseek_v3 gpt_oss gpt2 gpt_neox opt bloom falcon mpt gpt_bigcode phi3 cohere
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS.split())
def test_a_transformers_model_is_traced_to_the_shape_that_its_config_tells(kind):
    transformers = pytest.importorskip("transformers")
    config = transformers.CONFIG_MAPPING[kind]()

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = transformers.AutoModelForCausalLM.from_config(config)

        def forward(self, ids):
            return self.inner(ids, use_cache=False).logits

    with torch.device("meta"):
        module = Bare()
    expected = profile(module.inner, name="it")  # by its config
    assert "config" in expected.source
    traced = profile(module).model
    experts = expected.model.experts and replace(expected.model.experts, biased=False, clamped=False)
    told = replace(expected.model, name="Bare", window=None, predicted=0, experts=experts)  # which a forward doesn't show
    assert traced == told


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: nn.Conv1d(64, 64, 3), "Conv1d"),
        (lambda: nn.LSTM(64, 64), "LSTM"),
        (lambda: nn.GRUCell(64, 64), "GRUCell"),
        (lambda: type("MambaMixer", (nn.Linear,), {})(64, 64), "MambaMixer"),
    ],
    ids=lambda value: "made" if callable(value) else None,
)
def test_layers_that_a_model_doesnt_have_are_refused_by_name_with_the_keys_to_write(layer, kind):
    module = decoder()
    module.layers[1].extra = layer()
    with pytest.raises(BadInput) as caught:
        profile(module)
    assert f"layers.1.extra ({kind})" in caught.value.found
    assert '"kv_heads"' in caught.value.hint and "docs/plan-models.md" in caught.value.hint


def test_weights_that_the_shape_doesnt_explain_are_named():
    module = decoder()
    module.side = nn.Linear(200, 300)
    with pytest.raises(BadInput, match="weights in matrices") as caught:
        profile(module)
    assert "side.weight (300, 200)" in caught.value.found


def test_layers_that_differ_are_named():
    blocks = [Block(Attention(64, 4, 2), Gated(64, 160 if i != 1 else 200), 64) for i in range(3)]
    with pytest.raises(BadInput, match="differ in shape") as caught:
        profile(Decoder(blocks))
    assert caught.value.found == "layers.1"


def test_a_forward_that_takes_something_else_asks_for_inputs():
    class Odd(Decoder):
        def forward(self, batch):
            return super().forward(batch["ids"])

    module = Odd([Block(Attention(64, 4, 2), Gated(64, 160), 64) for _ in range(3)])
    with pytest.raises(BadInput) as caught:
        profile(module)
    assert "inputs=" in caught.value.hint
    assert profile(module, ({"ids": torch.zeros(1, 4, dtype=torch.long)},), name="mine").model == Model(name="mine", **PLAIN)


@pytest.mark.parametrize(
    "made",
    [lambda: nn.Linear(4, 4), lambda: nn.ReLU(), lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))],
    ids=lambda value: "made" if callable(value) else None,
)
def test_what_is_no_transformer_is_said(made):
    with pytest.raises(BadInput) as caught:
        profile(made())
    assert caught.value.text


def test_a_factory_is_called_on_the_meta_device(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "def make():\n"
        "    assert torch.empty(1).device.type == 'meta'\n"
        "    layer = nn.TransformerEncoderLayer(8192, 64, 32768)\n"
        "    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)\n\n"
        "number = 3\n"
    )
    model = from_text(f"{tmp_path}/mine.py:make").model
    assert (model.name, model.layers, model.width) == ("TransformerEncoder", 4, 8192)
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("text", ["{}/whole.py:make", "whole:make"])
def test_a_module_of_the_folder_that_one_stands_in_and_what_lies_beside_a_file_are_found(text, tmp_path, monkeypatch):
    (tmp_path / "parts_of_it.py").write_text("from torch import nn\n\nLAYER = nn.TransformerEncoderLayer\n")
    (tmp_path / "whole.py").write_text(
        "from torch import nn\n\nimport parts_of_it\n\n"
        "def make():\n    return nn.TransformerEncoder(parts_of_it.LAYER(1024, 8, 4096), 3, enable_nested_tensor=False)\n"
    )
    monkeypatch.chdir(tmp_path if text.startswith("whole") else "/")
    path = list(sys.path)
    assert from_text(text.format(tmp_path)).model.layers == 3
    assert sys.path == path
    for name in ("whole", "parts_of_it"):
        sys.modules.pop(name, None)


def test_a_name_that_a_module_lacks_is_answered_with_the_nearest(tmp_path):
    (tmp_path / "near.py").write_text("def make_gpt():\n    pass\n")
    with pytest.raises(BadInput, match="has no make_gtp") as caught:
        from_text(f"{tmp_path}/near.py:make_gtp")
    assert caught.value.hint.endswith("near.py:make_gpt")
    sys.modules.pop("near", None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nothing", "names no factory"),
        ("no_such_module:make", "can't be imported"),
        ("no/such/file.py:make", "can't be imported"),
        ("math:no_such", "has no no_such"),
        ("math:pi", "fails on the meta device"),
        ("time:time", "gives no torch.nn.Module"),
    ],
)
def test_a_text_that_leads_to_no_module(text, told):
    with pytest.raises(BadInput) as caught:
        from_text(text)
    assert told in caught.value.text
