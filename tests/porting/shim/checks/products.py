"""Products of 16-bit numbers: summed in 32 bits and rounded once, as on a card, whatever the processor has instructions for."""

import torch
from torch.nn import functional as F

NARROW = (torch.bfloat16, torch.float16)


def drawn(*shape, dtype):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def near(result, exact):
    """Within one rounding of the exact value, and 32-bit sums."""
    step = torch.finfo(result.dtype).eps
    assert torch.allclose(result.cpu().double(), exact, rtol=step, atol=step * exact.abs().max().item()), (
        "too far from the exact product"
    )


def matrix_products_are_rounded_once():
    for dtype in NARROW:
        a, b = drawn(96, 640, dtype=dtype), drawn(640, 80, dtype=dtype)
        result = a.cuda() @ b.cuda()
        assert (result.dtype, result.device.type) == (dtype, "cuda")
        near(result, a.double() @ b.double())


def a_linear_layer_and_its_gradients_keep_their_type():
    for dtype in NARROW:
        layer = torch.nn.Linear(64, 48).to(dtype).cuda()
        inputs = drawn(32, 64, dtype=dtype).cuda().requires_grad_()
        layer(inputs).float().square().sum().backward()
        assert {layer.weight.grad.dtype, layer.bias.grad.dtype, inputs.grad.dtype} == {dtype}


def a_convolution_and_its_gradients_keep_their_type():
    for dtype in NARROW:
        weight, inputs = drawn(8, 4, 3, 3, dtype=dtype), drawn(2, 4, 16, 16, dtype=dtype)
        on_card = [x.cuda().requires_grad_() for x in (inputs, weight)]
        result = F.conv2d(*on_card)
        near(result, F.conv2d(inputs.double(), weight.double()))
        result.sum().backward()
        assert {x.grad.dtype for x in on_card} == {dtype}


def attention_keeps_its_type_forward_and_backward():
    for dtype in NARROW:
        query = drawn(2, 4, 32, 16, dtype=dtype)
        on_card = query.cuda().requires_grad_()
        result = F.scaled_dot_product_attention(on_card, on_card, on_card, is_causal=True)
        exact = F.scaled_dot_product_attention(query.double(), query.double(), query.double(), is_causal=True)
        near(result, exact)
        result.sum().backward()
        assert on_card.grad.dtype == dtype


def mixed_types_still_raise():
    a = drawn(32, 32, dtype=torch.bfloat16).cuda()
    try:
        torch.addmm(torch.zeros(32, device="cuda"), a, a)
    except RuntimeError as error:
        assert "dtype" in str(error)
    else:
        raise AssertionError("a bias of another type was taken")
