"""apex's common parts over torch's operators."""

import copy
import importlib

import amp_C
import apex
import pytest
import torch
import torch.nn.functional as F
from apex import amp
from apex.multi_tensor_apply import multi_tensor_applier
from apex.normalization import FusedLayerNorm, FusedRMSNorm, MixedFusedLayerNorm
from apex.normalization.fused_layer_norm import FusedLayerNormAffineFunction
from apex.optimizers import FusedAdam, FusedLAMB, FusedSGD
from apex.parallel import LARC, convert_syncbn_model
from torch import nn


def trained(make, steps=4):
    """The weights after some steps from one start."""
    torch.manual_seed(0)
    model, x = nn.Linear(6, 3).cuda(), torch.randn(8, 6, device="cuda")
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model.weight.detach()


def fused_adam_is_adamw_and_may_be_adam():
    options = {"lr": 1e-2, "weight_decay": 0.1}
    torch.testing.assert_close(trained(lambda p: FusedAdam(p, **options)), trained(lambda p: torch.optim.AdamW(p, **options)))
    plain = trained(lambda p: torch.optim.Adam(p, **options))
    torch.testing.assert_close(trained(lambda p: FusedAdam(p, adam_w_mode=False, **options)), plain)


def fused_adam_steps_narrow_weights_in_fp32():
    weight = nn.Parameter(torch.ones(4, device="cuda", dtype=torch.bfloat16))
    optimizer = FusedAdam([weight], lr=0.5)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert (weight.dtype, optimizer.state[weight]["exp_avg"].dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(weight.float(), torch.full((4,), 0.5, device="cuda"))


def fused_sgd_is_sgd():
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
    torch.testing.assert_close(trained(lambda p: FusedSGD(p, **options)), trained(lambda p: torch.optim.SGD(p, **options)))


def fused_lamb_follows_its_paper():
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(5, device="cuda"))
    start, gradient = weight.detach().cpu().double(), torch.randn(5).double()
    optimizer = FusedLAMB([weight], lr=0.1, weight_decay=0.01, max_grad_norm=1.0)
    weight.grad = gradient.float().cuda()
    optimizer.step()
    g = gradient / max(1.0, gradient.norm())
    update = g / (g.abs() + 1e-6) + 0.01 * start  # after one step with bias correction the moments are g and g * g
    expected = start - 0.1 * start.norm() / update.norm() * update
    torch.testing.assert_close(weight.detach().cpu().double(), expected, rtol=1e-4, atol=1e-5)


def larc_limits_each_layers_rate():
    weight = nn.Parameter(torch.full((4,), 2.0, device="cuda"))
    optimizer = LARC(torch.optim.SGD([weight], lr=1.0, weight_decay=0.5), trust_coefficient=0.02)
    weight.grad = torch.full((4,), 3.0, device="cuda")
    optimizer.step()
    rate = 0.02 * 4 / (6 + 4 * 0.5)
    torch.testing.assert_close(weight.detach(), torch.full((4,), 2 - rate * (3 + 0.5 * 2), device="cuda"))
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def norms_agree_with_torchs():
    x = torch.randn(3, 5, 8, device="cuda", requires_grad=True)
    layer = FusedLayerNorm(8).cuda()
    torch.testing.assert_close(layer(x), F.layer_norm(x, (8,)))
    by_hand = FusedLayerNormAffineFunction.apply(x, layer.weight, layer.bias, (8,), 1e-5, True)
    assert torch.equal(by_hand, layer(x))
    layer(x).square().sum().backward()
    expected = torch.autograd.grad(F.layer_norm(x, (8,)).square().sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(FusedRMSNorm((5, 8), eps=1e-6).cuda()(x), F.rms_norm(x, (5, 8), eps=1e-6))
    assert FusedLayerNorm(8, elementwise_affine=False).cuda()(x.half()).dtype == torch.float16
    assert MixedFusedLayerNorm(8).cuda()(x.half()).dtype == torch.float32


def o1_casts_by_operator_until_the_gradients():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).cuda()
    try:
        model, optimizer = amp.initialize(model, torch.optim.SGD(model.parameters(), lr=0.1), opt_level="O1")
        x = torch.randn(2, 4, device="cuda")
        assert (model[0](x).dtype, model(x).dtype, model[0].weight.dtype) == (torch.float16, torch.float32, torch.float32)
        loss = F.mse_loss(model(x), torch.zeros(2, 4, device="cuda"))
        with amp.scale_loss(loss, optimizer) as scaled:
            assert scaled.item() == pytest.approx(loss.item() * 2**16)
            assert not torch.is_autocast_enabled("cuda")
            scaled.backward()
        expected = torch.autograd.grad(F.mse_loss(model(x), torch.zeros(2, 4, device="cuda")), model[0].weight)[0]
        torch.testing.assert_close(model[0].weight.grad, expected, rtol=1e-2, atol=1e-3)
        optimizer.step()
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_cache_enabled(True)


def o2_trains_copies_of_fp32_and_leaves_batch_norms():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)).cuda()
    exact = copy.deepcopy(model)
    x, y = torch.randn(16, 4, device="cuda"), torch.randn(16, 1, device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer = amp.initialize(model, optimizer, opt_level="O2")
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 100)
    assert (model[0].weight.dtype, model[1].weight.dtype, model(x).dtype) == (torch.float16, torch.float32, torch.float32)
    assert {p.dtype for p in amp.master_params(optimizer)} == {torch.float32}
    plain = torch.optim.SGD(exact.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        with amp.scale_loss(loss, optimizer) as scaled:
            scaled.backward()
        optimizer.step()
        schedule.step()
        plain.zero_grad()
        other = F.mse_loss(exact(x), y)
        other.backward()
        plain.step()
    assert loss.item() == pytest.approx(other.item(), rel=0.02)
    torch.testing.assert_close(model[0].weight.float(), exact[0].weight, rtol=0.05, atol=0.01)


def a_step_with_an_overflow_is_left_out():
    weight = nn.Parameter(torch.ones(2, device="cuda"))
    model = nn.Module()
    model.register_parameter("weight", weight)
    model.forward = lambda: weight.sum()
    model, optimizer = amp.initialize(model, FusedSGD([weight], lr=0.5), opt_level="O2")
    for value, after, scale in ((float("inf"), 1.0, 2**15), (1.0, 0.5, 2**15)):
        optimizer.zero_grad()
        with amp.scale_loss(weight.sum() * value, optimizer) as scaled:
            scaled.backward()
        optimizer.step()
        assert weight.tolist() == [after, after]
        assert amp.state_dict()["loss_scaler0"]["loss_scale"] == scale


def two_backwards_add_up():
    weight = nn.Parameter(torch.ones(1, device="cuda"))
    model = nn.Module()
    model.register_parameter("weight", weight)
    model, optimizer = amp.initialize(model, torch.optim.SGD([weight], lr=1.0), opt_level="O0")
    for factor in (2.0, 3.0):
        with amp.scale_loss(weight.sum() * factor, optimizer) as scaled:
            scaled.backward()
    assert weight.grad.item() == 5


def many_tensors_at_once():
    flag = torch.zeros(1, dtype=torch.int32, device="cuda")
    values, out = [torch.tensor([3.0, 4.0], device="cuda")], [torch.zeros(2, device="cuda")]
    norm, each = multi_tensor_applier(amp_C.multi_tensor_l2norm, flag, [values], True)
    assert (norm.item(), each.tolist()) == (5, [5])
    multi_tensor_applier(amp_C.multi_tensor_scale, flag, [values, out], 2.0)
    assert (out[0].tolist(), flag.item()) == ([6, 8], 0)
    multi_tensor_applier(amp_C.multi_tensor_scale, flag, [[torch.tensor([float("nan")]).cuda()], [torch.zeros(1).cuda()]], 1.0)
    assert flag.item() == 1


def batch_norms_become_synchronous_ones():
    model = convert_syncbn_model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    assert isinstance(model[1], nn.SyncBatchNorm)


def the_rest_is_refused_by_name():
    with pytest.raises(RuntimeError, match="FusedNovoGrad is not carried"):
        apex.optimizers.FusedNovoGrad([])
    with pytest.raises(ModuleNotFoundError, match=r"apex\.transformer"):
        importlib.import_module("apex.transformer")
    from forebay.porting.shim import load

    assert load.report()["uses"]["import apex.transformer"]["class"] == "refused"
