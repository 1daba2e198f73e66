"""TorchScript and torch.fx."""

from __future__ import annotations

import io

import torch
from torch import nn


def _loops(x: torch.Tensor) -> torch.Tensor:
    y = torch.zeros_like(x)
    for _ in range(3):
        y = torch.relu(y + x * x)
    return y


def _makes(n: int) -> torch.Tensor:
    return torch.zeros(n, device="cuda") + torch.ones(n, device=torch.device("cuda"))


def _asks(x: torch.Tensor) -> str:
    if x.is_cuda:
        return "card"
    return "host"


def _moves(x: torch.Tensor) -> torch.Tensor:
    return x.cuda() + x.to(torch.device("cuda:0")) * 2


class _Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, flag: bool) -> torch.Tensor:
        if flag:
            return self.layer(x)
        return x


def a_scripted_function_runs_again_and_again() -> None:
    act = torch.jit.script(_loops)
    x = torch.ones(3, device="cuda")
    for _ in range(5):  # past the profiling runs, where a fuser would start
        assert act(x).tolist() == [3, 3, 3]


def a_scripted_function_makes_tensors_on_the_card() -> None:
    made = torch.jit.script(_makes)(3)
    assert (made.is_cuda, made.tolist()) == (True, [1, 1, 1])


def a_scripted_function_asks_and_moves() -> None:
    assert torch.jit.script(_asks)(torch.ones(1, device="cuda")) == "card"
    assert torch.jit.script(_asks)(torch.ones(1)) == "host"
    moved = torch.jit.script(_moves)(torch.ones(2))
    assert (moved.is_cuda, moved.tolist()) == (True, [3, 3])


def a_scripted_module_trains() -> None:
    model = torch.jit.script(_Gate().cuda())
    x = torch.ones(1, 2, device="cuda")
    for _ in range(4):
        model(x, True).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.is_cuda for parameter in model.parameters())
    assert model(x, False) is not None


def a_scripted_module_moves() -> None:
    model = torch.jit.script(_Gate())
    assert model.cuda()(torch.ones(1, 2, device="cuda"), True).is_cuda
    assert not model.cpu()(torch.ones(1, 2), True).is_cuda


def a_traced_module_gives_the_same() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.GELU(), nn.Linear(4, 1)).cuda().eval()
    x = torch.randn(3, 2, device="cuda")
    traced = torch.jit.trace(model, x)
    for _ in range(3):
        torch.testing.assert_close(traced(x), model(x))


def a_scripted_module_goes_through_a_file() -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(_Gate().cuda()), file)
    for place, kind in (("cuda", "cuda"), ("cpu", "cpu"), (None, "cuda")):
        file.seek(0)
        loaded = torch.jit.load(file, map_location=place)
        assert next(loaded.parameters()).device.type == kind


def a_frozen_module_gives_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).cuda().eval()
    x = torch.randn(1, 1, 5, 5, device="cuda")
    with torch.no_grad():
        frozen = torch.jit.freeze(torch.jit.script(model))
        for _ in range(3):
            torch.testing.assert_close(frozen(x), model(x), rtol=1e-4, atol=1e-4)


def torchs_own_scripted_code_can_be_imported() -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    assert ZeroRedundancyOptimizer.__name__ == "ZeroRedundancyOptimizer"


def a_symbolic_trace_gives_the_same() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU()).cuda()
    traced = torch.fx.symbolic_trace(model)
    x = torch.ones(1, 2, device="cuda")
    assert torch.equal(traced(x), model(x))


def a_fake_tensor_names_the_card() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(4, 4, device="cuda")
        y = x @ x
        assert (y.device, y.shape) == (torch.device("cuda:0"), (4, 4))
