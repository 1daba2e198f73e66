"""xformers' attention over torch's operators."""

import pytest
import torch
import torch.nn.functional as F
import xformers.ops as xops
from xformers.ops import fmha


def leaves(*shape, count=3):
    torch.manual_seed(0)
    return [torch.randn(shape, device="cuda", requires_grad=True) for _ in range(count)]


def torchs(q, k, v, **options):
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), **options).transpose(1, 2)


def attention_agrees_with_its_gradients():
    q, k, v = leaves(2, 5, 3, 8)
    out = xops.memory_efficient_attention(q, k, v, scale=0.3)
    torch.testing.assert_close(out, torchs(q, k, v, scale=0.3))
    found = torch.autograd.grad(out.square().sum(), (q, k, v))
    expected = torch.autograd.grad(torchs(q, k, v, scale=0.3).square().sum(), (q, k, v))
    torch.testing.assert_close(found, expected)


def inputs_without_heads_have_one():
    q, k, v = leaves(2, 5, 8)
    torch.testing.assert_close(xops.memory_efficient_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def a_lower_triangle_starts_at_the_first_key_or_ends_at_the_last():
    (q,), (k, v) = leaves(1, 3, 2, 8, count=1), leaves(1, 5, 2, 8, count=2)
    first = torch.ones(3, 5, dtype=torch.bool, device="cuda").tril()
    last = torch.ones(3, 5, dtype=torch.bool, device="cuda").tril(2)
    for bias, mask in ((xops.LowerTriangularMask(), first), (fmha.attn_bias.LowerTriangularFromBottomRightMask(), last)):
        torch.testing.assert_close(xops.memory_efficient_attention(q, k, v, bias), torchs(q, k, v, attn_mask=mask))
    assert xops.LowerTriangularMask().materialize((2, 2)).tolist() == [[0, -torch.inf], [0, 0]]


def a_tensor_is_added_and_may_be_learnt():
    q, k, v = leaves(2, 4, 2, 8)
    bias = torch.randn(2, 2, 4, 4, device="cuda", requires_grad=True)
    out = xops.memory_efficient_attention(q, k, v, bias)
    torch.testing.assert_close(out, torchs(q, k, v, attn_mask=bias))
    out.sum().backward()
    assert bias.grad.abs().sum() > 0
    with_mask = xops.memory_efficient_attention(q, k, v, xops.LowerTriangularMask().add_bias(bias))
    hidden = torch.ones(4, 4, dtype=torch.bool, device="cuda").tril().logical_not()
    torch.testing.assert_close(with_mask, torchs(q, k, v, attn_mask=bias.masked_fill(hidden, -torch.inf)))


def packed_sequences_keep_apart():
    q, k, v = leaves(1, 9, 2, 8)
    mask = fmha.BlockDiagonalMask.from_seqlens([4, 5])
    for bias, causal in ((mask, False), (mask.make_causal(), True)):
        out = xops.memory_efficient_attention(q, k, v, bias)
        for a, b in ((0, 4), (4, 9)):
            torch.testing.assert_close(out[:, a:b], torchs(q[:, a:b], k[:, a:b], v[:, a:b], is_causal=causal))
    assert [part.shape[1] for part in mask.split(out)] == [4, 5]
    dense = mask.materialize((9, 9))
    assert (dense == 0).sum() == 16 + 25


def batches_are_packed_and_split_again():
    tensors = [torch.randn(2, 3, 8, device="cuda"), torch.randn(1, 5, 8, device="cuda")]
    mask, packed = fmha.BlockDiagonalMask.from_tensor_list(tensors)
    assert packed.shape == (1, 11, 8)
    assert all(torch.equal(a, b) for a, b in zip(mask.split(packed), tensors, strict=True))


def swiglu_is_its_formula():
    layer = xops.SwiGLU(6, 4, 5).cuda()
    x = torch.randn(2, 6, device="cuda")
    a, b = layer.w12(x).chunk(2, -1)
    torch.testing.assert_close(layer(x), layer.w3(F.silu(a) * b))


def paged_keys_are_refused():
    with pytest.raises(RuntimeError, match=r"PagedBlockDiagonalPaddedKeysMask is not carried .*Use BlockDiagonalMask"):
        fmha.attn_bias.PagedBlockDiagonalPaddedKeysMask()
