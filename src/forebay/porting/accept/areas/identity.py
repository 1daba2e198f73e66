"""What a tensor and its device say of themselves."""

from __future__ import annotations

import copy
import pickle

import torch
from torch import nn

from forebay.porting.accept.claims import needs_cards, needs_names, raises


def cuda_is_available_and_has_cards() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() >= 1


def a_cuda_tensor_says_that_it_is_on_cuda() -> None:
    x = torch.ones(2, device="cuda")
    assert (x.device.type, x.device.index, x.is_cuda, x.is_cpu) == ("cuda", 0, True, False)
    assert x.get_device() == 0
    assert str(x.device) == "cuda:0"


def a_device_compares_and_hashes_by_type_and_index() -> None:
    assert torch.ones(1, device="cuda").device == torch.device("cuda", 0) == torch.device("cuda:0")
    assert torch.device("cuda") != torch.device("cuda:0")
    assert torch.device("cuda").index is None
    assert {torch.device("cuda:0"): 1}[torch.ones(1, device="cuda").device] == 1
    assert torch.device("cuda").type == "cuda"


def a_number_alone_is_a_card() -> None:
    assert torch.device(0) == torch.device("cuda:0")
    assert torch.ones(1).to(0).device == torch.device("cuda:0")
    assert torch.zeros(1, device=0).device == torch.device("cuda:0")
    assert torch.ones(1).cuda(0).is_cuda


def a_device_survives_copies_and_pickles() -> None:
    device = torch.device("cuda:0")
    assert copy.deepcopy(device) == pickle.loads(pickle.dumps(device)) == device
    assert repr(device) == "device(type='cuda', index=0)"


def every_factory_makes_tensors_there() -> None:
    made = [
        torch.zeros(2, device="cuda"),
        torch.full((2,), 3, device="cuda"),
        torch.arange(3, device="cuda"),
        torch.tensor([1, 2], device="cuda"),
        torch.randn(2, device="cuda"),
        torch.eye(2, device="cuda"),
        torch.linspace(0, 1, 3, device="cuda"),
        torch.tril_indices(3, 3, device="cuda"),
        torch.randperm(5, device="cuda"),
        torch.empty_like(torch.ones(2, device="cuda")),
        torch.ones(2, device="cuda").new_zeros(3),
        torch.as_tensor([1.0], device="cuda"),
        torch.empty_strided((2, 2), (1, 2), device="cuda"),
        torch.hann_window(4, device="cuda"),
        torch.zeros_like(torch.ones(2), device="cuda"),
    ]
    assert [t.device.type for t in made] == ["cuda"] * len(made)
    assert torch.arange(3, device="cuda").tolist() == [0, 1, 2]


def a_tensor_moves_and_comes_back_with_its_values() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(x.cuda().cpu(), x)
    assert x.cuda().t().cpu().tolist() == x.t().tolist()
    assert torch.equal(x.to("cuda").to(torch.float64).cpu(), x.double())


def moving_to_the_card_copies() -> None:
    x = torch.zeros(2)
    y = x.cuda()
    x.fill_(1)
    assert y.tolist() == [0, 0]


def a_tensor_that_is_there_already_stays_the_same_object() -> None:
    x = torch.ones(2, device="cuda")
    assert x.cuda() is x
    assert x.to("cuda") is x
    assert x.to("cuda:0") is x
    assert x.to("cuda", copy=True) is not x


def cards_are_distinct() -> None:
    needs_cards(2)
    x = torch.ones(2, device="cuda:1")
    assert (x.device.index, (x * 2).device.index) == (1, 1)
    assert x.to("cuda:0").device.index == 0


def a_card_that_is_not_there_is_refused() -> None:
    assert torch.cuda.is_available()
    with raises(RuntimeError, "invalid device ordinal"):
        torch.ones(2, device=f"cuda:{torch.cuda.device_count() + 3}")


def the_current_device_is_where_cuda_means() -> None:
    needs_cards(2)
    with torch.cuda.device(1):
        assert (torch.cuda.current_device(), torch.ones(1, device="cuda").device.index) == (1, 1)
    assert torch.cuda.current_device() == 0
    torch.cuda.set_device(1)
    try:
        assert torch.ones(1).cuda().device.index == 1
    finally:
        torch.cuda.set_device(0)
    with torch.cuda.device_of(torch.ones(1, device="cuda:1")):
        assert torch.cuda.current_device() == 1


def the_default_device_can_be_cuda() -> None:
    torch.set_default_device("cuda")
    try:
        assert torch.ones(2).is_cuda
        assert nn.Linear(2, 2).weight.is_cuda
        assert torch.get_default_device().type == "cuda"
    finally:
        torch.set_default_device(None)
    with torch.device("cuda:0"):
        assert torch.ones(2).device.index == 0


def a_module_moves_in_place_and_keeps_its_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = model[0].weight
    assert model.cuda() is model
    assert model[0].weight is weight
    assert weight.is_cuda
    assert {buffer.device.type for buffer in model.buffers()} == {"cuda"}
    assert next(model.to("cpu").parameters()).device.type == "cpu"


def gradients_live_where_their_leaves_live() -> None:
    host = torch.ones(2, requires_grad=True)
    card = torch.ones(2, device="cuda", requires_grad=True)
    (host.cuda() * card).sum().backward()
    assert host.grad is not None and not host.grad.is_cuda
    assert card.grad is not None and card.grad.is_cuda
    assert not host.cuda().is_leaf


def a_module_can_be_made_on_the_card_or_nowhere() -> None:
    assert nn.Linear(2, 2, device="cuda").weight.is_cuda
    empty = nn.Linear(2, 2, device="meta").to_empty(device="cuda")
    assert empty.weight.is_cuda


def views_share_memory() -> None:
    x = torch.zeros(2, 3, device="cuda")
    x.view(-1)[1] = 5
    x.t()[2, 1] = 7
    x[0].add_(1)
    assert x.tolist() == [[1, 6, 1], [0, 0, 7]]
    assert x.view(3, 2).data_ptr() == x.data_ptr()


def out_arguments_are_written_and_resized() -> None:
    out = torch.empty(0, device="cuda")
    torch.add(torch.ones(3, device="cuda"), 1, out=out)
    assert out.tolist() == [2, 2, 2]
    torch.mm(torch.ones(2, 3, device="cuda"), torch.ones(3, 2, device="cuda"), out=out.resize_(2, 2))
    assert out.tolist() == [[3, 3], [3, 3]]


def a_cuda_tensor_prints_its_device() -> None:
    assert repr(torch.ones(2, device="cuda")) == "tensor([1., 1.], device='cuda:0')"


def a_cards_properties_can_be_read() -> None:
    properties = torch.cuda.get_device_properties("cuda:0")
    assert (properties.major, properties.minor) == torch.cuda.get_device_capability(0)
    assert properties.total_memory > 0
    assert properties.multi_processor_count > 0
    assert torch.cuda.get_device_name(0) == properties.name != ""


def versions_and_flags_answer() -> None:
    assert torch.cuda.nccl.version() >= (2, 0)
    assert torch.backends.cuda.is_built()
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = before
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("high")
    torch.set_float32_matmul_precision("highest")
    assert torch.cuda.is_bf16_supported() in (True, False)


def torch_names_the_cuda_that_it_was_built_for() -> None:
    assert torch.version.cuda is not None
    assert int(torch.version.cuda.split(".")[0]) >= 11
    assert torch.cuda.get_arch_list() != []


def the_accelerator_api_agrees() -> None:
    needs_names(torch, "accelerator")
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert torch.accelerator.device_count() == torch.cuda.device_count()
    assert torch.accelerator.is_available()
    torch.accelerator.synchronize()


def the_module_of_a_device_is_found_by_its_name() -> None:
    needs_names(torch, "get_device_module")
    assert torch.get_device_module("cuda") is torch.cuda
    assert torch.get_device_module(torch.device("cuda:0")) is torch.cuda


def cuda_visible_devices_hides_cards() -> None:
    import os
    import subprocess
    import sys

    words = "import torch; print(torch.cuda.device_count(), torch.cuda.is_available())"
    for visible, expected in (("", "0 False"), ("0", "1 True")):
        ran = subprocess.run(
            [sys.executable, "-c", words],
            capture_output=True,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": visible},
        )
        assert ran.stdout.strip() == expected, ran.stderr
