"""flash_attn over torch's operators: against attention written out pair by pair, and what the library refuses."""

import importlib.metadata
import importlib.util
import math

import pytest
import torch
from flash_attn import (
    flash_attn_func,
    flash_attn_kvpacked_func,
    flash_attn_qkvpacked_func,
    flash_attn_varlen_func,
    flash_attn_with_kvcache,
)
from flash_attn.bert_padding import pad_input, unpad_input
from flash_attn.layers.rotary import RotaryEmbedding, apply_rotary_emb
from flash_attn.losses.cross_entropy import CrossEntropyLoss
from flash_attn.modules.mha import FlashSelfAttention
from flash_attn.ops.rms_norm import rms_norm
from flash_attn.ops.triton.layer_norm import layer_norm_fn

HALF = {"dtype": torch.bfloat16, "device": "cuda"}
CLOSE = {"rtol": 2e-2, "atol": 2e-2}  # bf16 has 8 bits


def leaves(*shapes):
    torch.manual_seed(len(shapes))
    return [torch.randn(shape, **HALF).requires_grad_() for shape in shapes]


def written_out(q, k, v, causal=False, left=-1, right=-1, softcap=0.0, slopes=None, scale=None):
    """One query and one head at a time, in fp64 on the host."""
    q, k, v = (x.detach().cpu().double() for x in (q, k, v))
    rows, keys, share = q.shape[1], k.shape[1], q.shape[2] // k.shape[2]
    right = 0 if causal else right
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=torch.float64)
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            for i in range(rows):
                here = i + keys - rows
                seen = [j for j in range(keys) if (left < 0 or j >= here - left) and (right < 0 or j <= here + right)]
                if not seen:
                    continue
                scores = k[b, seen, h // share] @ q[b, i, h] * (scale or q.shape[-1] ** -0.5)
                scores = softcap * torch.tanh(scores / softcap) if softcap else scores
                if slopes is not None:
                    scores = scores - slopes[h].cpu().double() * (torch.tensor(seen) - here).abs()
                out[b, i, h] = scores.softmax(0) @ v[b, seen, h // share]
    return out


def same(out, expected, **close):
    torch.testing.assert_close(out.detach().cpu().double(), expected.detach().cpu().double(), **(close or CLOSE))


def plain_attention_agrees():
    q, k, v = leaves((2, 5, 4, 16), (2, 7, 4, 16), (2, 7, 4, 16))
    same(flash_attn_func(q, k, v), written_out(q, k, v))
    same(flash_attn_func(q, k, v, softmax_scale=0.1), written_out(q, k, v, scale=0.1))


def a_causal_mask_is_aligned_to_the_last_key():
    for rows, keys in ((5, 5), (3, 7), (7, 3), (1, 6)):
        q, k, v = leaves((2, rows, 2, 16), (2, keys, 2, 16), (2, keys, 2, 16))
        same(flash_attn_func(q, k, v, causal=True), written_out(q, k, v, causal=True))


def a_row_that_sees_nothing_is_zero_and_has_no_gradient():
    q, k, v = leaves((1, 5, 2, 16), (1, 2, 2, 16), (1, 2, 2, 16))
    out = flash_attn_func(q, k, v, causal=True)
    assert not out[:, :3].any()
    out.float().sum().backward()
    assert not q.grad[:, :3].any()
    assert all(bool(torch.isfinite(x.grad).all()) for x in (q, k, v))


def heads_share_keys():
    q, k, v = leaves((2, 4, 6, 16), (2, 4, 2, 16), (2, 4, 2, 16))
    out = flash_attn_func(q, k, v, causal=True)
    same(out, written_out(q, k, v, causal=True))
    out.float().sum().backward()
    assert k.grad.shape == k.shape


def a_window_hides_what_is_far():
    q, k, v = leaves((1, 6, 2, 16), (1, 9, 2, 16), (1, 9, 2, 16))
    same(flash_attn_func(q, k, v, window_size=(2, 1)), written_out(q, k, v, left=2, right=1))
    same(flash_attn_func(q, k, v, causal=True, window_size=(3, 5)), written_out(q, k, v, causal=True, left=3))


def scores_are_capped():
    q, k, v = leaves((1, 4, 2, 16), (1, 4, 2, 16), (1, 4, 2, 16))
    same(flash_attn_func(q * 4, k, v, softcap=2.0, causal=True), written_out(q * 4, k, v, softcap=2.0, causal=True))


def slopes_bias_by_distance():
    q, k, v = leaves((2, 4, 2, 16), (2, 6, 2, 16), (2, 6, 2, 16))
    slopes = torch.tensor([0.5, 0.25], device="cuda")
    same(flash_attn_func(q, k, v, causal=True, alibi_slopes=slopes), written_out(q, k, v, causal=True, slopes=slopes))


def gradients_agree_with_attention_written_out_in_fp32():
    q, k, v = leaves((2, 4, 2, 16), (2, 6, 2, 16), (2, 6, 2, 16))
    weights = torch.randn(2, 4, 2, 16, device="cuda")
    (flash_attn_func(q, k, v, causal=True).float() * weights).sum().backward()
    wide = [x.detach().float().requires_grad_() for x in (q, k, v)]
    turned = [x.transpose(1, 2) for x in wide]
    keep = torch.ones(4, 6, dtype=torch.bool, device="cuda").tril(2)
    scores = (turned[0] @ turned[1].mT / 4).masked_fill(~keep, -math.inf)
    ((scores.softmax(-1) @ turned[2]).transpose(1, 2) * weights).sum().backward()
    for narrow, exact in zip((q, k, v), wide, strict=True):
        same(narrow.grad, exact.grad, rtol=5e-2, atol=5e-2)


def packed_forms_are_the_same():
    qkv = torch.randn(2, 5, 3, 4, 16, **HALF)
    out = flash_attn_func(*qkv.unbind(2), causal=True)
    assert torch.equal(flash_attn_qkvpacked_func(qkv, causal=True), out)
    assert torch.equal(flash_attn_kvpacked_func(qkv[:, :, 0], qkv[:, :, 1:], causal=True), out)
    assert torch.equal(FlashSelfAttention(causal=True)(qkv), out)


def sequences_of_one_batch_do_not_see_each_other():
    q, k, v = leaves((9, 2, 16), (9, 2, 16), (9, 2, 16))
    starts = torch.tensor([0, 4, 9], dtype=torch.int32, device="cuda")
    out = flash_attn_varlen_func(q, k, v, starts, starts, 5, 5, causal=True)
    for a, b in ((0, 4), (4, 9)):
        same(out[None, a:b], written_out(q[None, a:b], k[None, a:b], v[None, a:b], causal=True))


def a_cache_takes_new_keys_and_shows_what_it_holds():
    cache = [torch.zeros(2, 8, 2, 16, **HALF) for _ in range(2)]
    history = [torch.randn(2, 5, 2, 16, **HALF) for _ in range(2)]
    for one, old in zip(cache, history, strict=True):
        one[:, :3] = old[:, :3]
    q, k, v = (torch.randn(2, 2, 2, 16, **HALF) for _ in range(3))
    out = flash_attn_with_kvcache(q, *cache, k, v, cache_seqlens=torch.tensor([3, 2], device="cuda"), causal=True)
    assert torch.equal(cache[0][0, 3:5], k[0])
    assert torch.equal(cache[1][1, 2:4], v[1])
    for b, held in ((0, 5), (1, 4)):
        one = slice(b, b + 1)
        same(out[one], written_out(q[one], cache[0][one, :held], cache[1][one, :held], causal=True))


def dropout_keeps_the_mean():
    q, k, v = leaves((4, 16, 4, 16), (4, 16, 4, 16), (4, 16, 4, 16))
    torch.manual_seed(0)
    out = flash_attn_func(q, k, torch.ones_like(v), dropout_p=0.5)
    assert abs(float(out.float().mean()) - 1) < 0.05
    assert float(out.float().std()) > 0.1


def a_batch_loses_its_padding_and_gets_it_back():
    x = torch.randn(2, 4, 3, device="cuda")
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]], device="cuda")
    tokens, indices, starts, longest, used = unpad_input(x, mask)
    assert (starts.tolist(), longest, used.tolist(), starts.dtype) == ([0, 2, 5], 3, [2, 3], torch.int32)
    assert torch.equal(tokens, torch.cat([x[0, :2], x[1, :3]]))
    assert torch.equal(pad_input(tokens, indices, 2, 4), x * mask[..., None])


def rotary_embedding_turns_pairs():
    x = torch.randn(2, 5, 3, 8, device="cuda")
    angles = torch.outer(torch.arange(9.0), 1 / 100 ** (torch.arange(0, 6, 2) / 6)).cuda()
    turned = apply_rotary_emb(x, angles.cos(), angles.sin(), seqlen_offsets=2)
    for place in (0, 4):
        for pair in range(3):
            a, b = x[1, place, 2, pair], x[1, place, 2, pair + 3]
            angle = angles[place + 2, pair]
            expected = [a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()]
            torch.testing.assert_close(turned[1, place, 2, [pair, pair + 3]], torch.stack(expected))
    assert torch.equal(turned[..., 6:], x[..., 6:])
    back = apply_rotary_emb(turned, angles.cos(), angles.sin(), seqlen_offsets=2, conjugate=True)
    torch.testing.assert_close(back, x)
    every_second = apply_rotary_emb(x, angles.cos(), angles.sin(), interleaved=True)
    torch.testing.assert_close(every_second[0, 1, 0, 0], x[0, 1, 0, 0] * angles[1, 0].cos() - x[0, 1, 0, 1] * angles[1, 0].sin())
    assert RotaryEmbedding(8).cuda()(torch.randn(2, 5, 3, 2, 8, device="cuda")).shape == (2, 5, 3, 2, 8)


def norms_add_the_residual_first():
    x, rest = torch.randn(3, 8, device="cuda"), torch.randn(3, 8, device="cuda")
    weight, bias = torch.rand(8, device="cuda"), torch.rand(8, device="cuda")
    out, total = layer_norm_fn(x, weight, bias, rest, eps=1e-5, prenorm=True)
    torch.testing.assert_close(total, x + rest)
    torch.testing.assert_close(out, torch.nn.functional.layer_norm(x + rest, (8,), weight, bias))
    torch.testing.assert_close(rms_norm(x, weight, 1e-6), torch.nn.functional.rms_norm(x, (8,), weight, 1e-6))


def cross_entropy_has_a_penalty_on_large_logits():
    logits = torch.randn(6, 10, device="cuda", requires_grad=True)
    target = torch.tensor([1, 2, -100, 4, 5, 6], device="cuda")
    loss, z = CrossEntropyLoss(lse_square_scale=0.1, return_z_loss=True)(logits, target)
    plain = torch.nn.functional.cross_entropy(logits, target)
    expected = 0.1 * logits.logsumexp(-1)[target != -100].square().mean()
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(loss, plain + expected)


def finder_and_metadata_agree():
    assert importlib.util.find_spec("flash_attn") is not None
    assert importlib.metadata.version("flash-attn") == importlib.metadata.version("flash_attn") == "2.8.3"
    assert "Forebay's stand-in" in importlib.metadata.metadata("flash_attn")["Summary"]
    assert importlib.metadata.packages_distributions()["flash_attn"] == ["flash_attn"]


def what_the_library_refuses_is_refused():
    q = torch.randn(1, 2, 1, 16, device="cuda")
    with pytest.raises(RuntimeError, match="only support fp16 and bf16"):
        flash_attn_func(q, q, q)
    with pytest.raises(RuntimeError, match="must be on CUDA"):
        flash_attn_func(*[q.cpu().half()] * 3)


def what_is_not_carried_says_where_and_what_to_use():
    q = torch.randn(1, 2, 1, 16, **HALF)
    with pytest.raises(RuntimeError, match=r"return_attn_probs.*flash\.py:\d+\)\. Use torch's softmax"):
        flash_attn_func(q, q, q, return_attn_probs=True)
    with pytest.raises(ModuleNotFoundError):
        import flash_attn.ops.fused_dense  # noqa: F401


def the_report_has_them():
    from forebay.porting.shim import load

    uses = load.report()["uses"]
    assert uses["flash_attn.flash_attn_func"]["class"] == "emulated"
    assert uses["import flash_attn"]["class"] == "emulated"
    assert any(name.startswith("flash_attn's return_attn_probs") and use["class"] == "refused" for name, use in uses.items())
