"""Mixed precision by CUDA's own lists."""

from __future__ import annotations

import threading
import warnings

import torch
import torch.nn.functional as F
from torch import nn

from forebay.porting.accept.claims import raises


def products_are_narrow() -> None:
    x, w = torch.randn(4, 4, device="cuda"), torch.randn(4, 4, device="cuda")
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype=dtype):
            narrow = [
                F.linear(x, w),
                x @ w,
                torch.addmm(x, x, w),
                torch.bmm(x[None], w[None]),
                torch.einsum("ij,jk->ik", x, w),
                F.conv1d(x[None], w[:, :, None]),
                F.scaled_dot_product_attention(x[None, None], x[None, None], w[None, None]),
                F.gelu(x @ w),
            ]
            assert [t.dtype for t in narrow] == [dtype] * len(narrow)
    assert (x @ w).dtype == torch.float32


def sensitive_operators_are_wide() -> None:
    x, w = torch.randn(4, 4, device="cuda"), torch.randn(4, 4, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        h = x @ w
        wide = [
            h.log_softmax(-1),
            h.softmax(-1),
            F.layer_norm(h, (4,)),
            F.group_norm(h, 2),
            h.exp(),
            h.abs().log(),
            h.sum(),
            h.prod(),
            h.cumsum(0),
            h.pow(2),
            h.norm(),
            h.abs().rsqrt(),
            F.mse_loss(h, h),
            F.softplus(h),
            F.cosine_similarity(h, h),
            F.cross_entropy(h, torch.zeros(4, dtype=torch.long, device="cuda")),
        ]
        assert [t.dtype for t in wide] == [torch.float32] * len(wide)


def mixed_arguments_are_promoted_to_the_widest() -> None:
    x = torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        narrow = x @ x
        for result in (torch.cat([narrow, x]), torch.stack([x, narrow]), torch.addcmul(narrow, x, x), torch.dot(narrow[0], x[0])):
            assert result.dtype == torch.float32
        assert torch.cat([narrow, narrow]).dtype == torch.float16


def an_unsafe_loss_is_refused() -> None:
    x = torch.rand(4, device="cuda").half()
    with torch.autocast("cuda"), raises(RuntimeError, "unsafe to autocast"):
        F.binary_cross_entropy(x, x)


def autocast_nests_and_can_be_switched_off() -> None:
    x = torch.randn(2, 2, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        with torch.autocast("cuda", enabled=False):
            assert (x @ x).dtype == torch.float32
        with torch.autocast("cuda", dtype=torch.float16):
            assert (x @ x).dtype == torch.float16
        assert (x @ x).dtype == torch.bfloat16


def autocast_of_one_device_leaves_the_other_alone() -> None:
    host, card = torch.randn(2, 2), torch.randn(2, 2, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert ((host @ host).dtype, (card @ card).dtype) == (torch.float32, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ((host @ host).dtype, (card @ card).dtype) == (torch.bfloat16, torch.float32)


def autocast_says_what_it_is() -> None:
    assert not torch.is_autocast_enabled("cuda")
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled("cuda")
        assert torch.get_autocast_dtype("cuda") == torch.float16
    assert torch.amp.is_autocast_available("cuda")


def autocast_has_its_old_names() -> None:
    x = torch.randn(2, 2, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with torch.cuda.amp.autocast():
            assert (x @ x).dtype == torch.float16
        with torch.cuda.amp.autocast(enabled=False):
            assert (x @ x).dtype == torch.float32
        assert torch.cuda.amp.GradScaler().is_enabled()


def autocast_decorates_a_function() -> None:
    @torch.autocast("cuda", dtype=torch.bfloat16)
    def multiply(x: torch.Tensor) -> torch.Tensor:
        return x @ x

    assert multiply(torch.ones(2, 2, device="cuda")).dtype == torch.bfloat16


def autocast_belongs_to_its_thread() -> None:
    found: list[torch.dtype] = []
    x = torch.ones(2, 2, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        thread = threading.Thread(target=lambda: found.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert found == [torch.float32]


def gradients_of_narrow_products_are_wide() -> None:
    model = nn.Linear(3, 2).cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out = model(torch.ones(1, 3, device="cuda"))
        loss = out.float().sum()
    loss.backward()
    assert out.dtype == torch.bfloat16
    assert model.weight.grad is not None
    assert (model.weight.grad.dtype, model.weight.grad.is_cuda) == (torch.float32, True)


def autocast_reaches_recurrent_layers() -> None:
    for layer in (nn.LSTM(4, 3), nn.GRU(4, 3)):
        with torch.autocast("cuda", dtype=torch.float16):
            assert layer.cuda()(torch.randn(2, 1, 4, device="cuda"))[0].dtype == torch.float16


def functions_of_ones_own_choose_their_type() -> None:
    class Wide(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.amp.custom_bwd(device_type="cuda")
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    x = torch.ones(2, 2, device="cuda", requires_grad=True)
    with torch.autocast("cuda", dtype=torch.float16):
        y = Wide.apply(x @ x)
    assert y.dtype == torch.float32
    y.sum().backward()
    assert x.grad is not None


def a_softmax_may_be_wider_than_its_input() -> None:
    x = torch.randn(3, 4, device="cuda", dtype=torch.float16, requires_grad=True)
    for function in (F.softmax, F.log_softmax):
        y = function(x, dim=-1, dtype=torch.float32)
        assert y.dtype == torch.float32
        (y * torch.arange(4, device="cuda")).sum().backward()
        assert x.grad is not None
        assert x.grad.dtype == torch.float16


def the_scaler_scales_and_grows() -> None:
    model = nn.Linear(2, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0, growth_interval=1)
    loss = model(torch.ones(1, 2, device="cuda")).sum()
    assert scaler.scale(loss).item() == 8 * loss.item()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [[1, 1]]
    with raises(RuntimeError, "already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 16


def the_scaler_skips_a_step_that_overflowed() -> None:
    model = nn.Linear(2, 1).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=16.0)
    before = model.weight.detach().clone()
    scaler.scale(model(torch.full((1, 2), float("inf"), device="cuda")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(model.weight, before)
    assert scaler.get_scale() == 8
    copied = torch.amp.GradScaler("cuda")
    copied.load_state_dict(scaler.state_dict())
    assert copied.get_scale() == 8
