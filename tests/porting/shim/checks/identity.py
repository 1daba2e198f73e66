"""What a tensor on the simulated device says of itself."""

import pytest
import torch


def cuda_is_available_with_as_many_cards_as_were_given():
    assert (torch.cuda.is_available(), torch.cuda.device_count()) == (True, 2)


def a_cuda_tensor_says_that_it_is_on_cuda():
    x = torch.ones(2, device="cuda")
    assert (x.device.type, x.device.index, x.is_cuda, x.is_cpu, x.get_device()) == ("cuda", 0, True, False, 0)
    assert str(x.device) == "cuda:0"
    assert x.type() == "torch.cuda.FloatTensor"


def every_factory_makes_tensors_there():
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
    ]
    assert [t.device.type for t in made] == ["cuda"] * len(made)
    assert torch.arange(3, device="cuda").tolist() == [0, 1, 2]


def a_tensor_moves_and_comes_back_with_its_values():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(x.cuda().cpu(), x)
    assert torch.equal(x.to("cuda:1").to("cpu"), x)
    assert x.cuda().t().cpu().tolist() == x.t().tolist()


def moving_to_the_card_copies():
    x = torch.zeros(2)
    y = x.cuda()
    x.fill_(1)
    assert y.tolist() == [0, 0]


def a_tensor_that_is_there_already_stays_the_same_object():
    x = torch.ones(2, device="cuda")
    assert x.cuda() is x
    assert x.to("cuda") is x
    assert x.to("cuda:0") is x


def cards_are_distinct():
    x = torch.ones(2, device="cuda:1")
    assert (x.device.index, (x * 2).device.index) == (1, 1)
    with pytest.raises(RuntimeError, match=r"same device.*cuda:(0 and cuda:1|1 and cuda:0)"):
        x + torch.ones(2, device="cuda:0")


def a_card_that_is_not_there_is_refused():
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(2, device="cuda:7")


def host_and_card_do_not_mix():
    x = torch.ones(2, device="cuda")
    for act in (
        lambda: x + torch.ones(2),
        lambda: torch.ones(2) + x,
        lambda: torch.ones(2, 2) @ x,
        lambda: torch.cat([x, torch.ones(2)]),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            act()


def a_host_number_mixes_with_a_card_as_on_a_real_one():
    x = torch.ones(2, device="cuda")
    assert (x + torch.tensor(2.0)).tolist() == [3, 3]
    assert (x + torch.tensor(2.0)).is_cuda


def host_indices_pick_from_a_cuda_tensor():
    x = torch.arange(4.0, device="cuda")
    assert x[torch.tensor([3, 0])].tolist() == [3, 0]
    x[torch.tensor([1])] = 9
    assert x.tolist() == [0, 9, 2, 3]


def numpy_refuses_a_cuda_tensor():
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        torch.ones(2, device="cuda").numpy()


def a_cuda_tensor_prints_its_device():
    assert repr(torch.ones(2, device="cuda:1")) == "tensor([1., 1.], device='cuda:1')"


def the_current_device_is_where_cuda_means():
    with torch.cuda.device(1):
        assert (torch.cuda.current_device(), torch.ones(1, device="cuda").device.index) == (1, 1)
    assert torch.cuda.current_device() == 0
    torch.cuda.set_device(1)
    assert torch.ones(1).cuda().device.index == 1
    torch.cuda.set_device(0)


def the_default_device_can_be_cuda():
    torch.set_default_device("cuda")
    try:
        assert torch.ones(2).is_cuda
        assert torch.nn.Linear(2, 2).weight.is_cuda
    finally:
        torch.set_default_device(None)
    with torch.device("cuda:1"):
        assert torch.ones(2).device.index == 1


def the_name_says_that_it_is_simulated():
    assert torch.cuda.get_device_name(0) == "Forebay simulated CUDA device (CPU)"
    properties = torch.cuda.get_device_properties("cuda:1")
    assert (properties.major, properties.minor) == torch.cuda.get_device_capability(1) == (8, 0)
    assert properties.total_memory > 0


def versions_and_flags_answer():
    assert torch.cuda.is_bf16_supported()
    assert torch.cuda.nccl.version() >= (2, 0)
    assert torch.backends.cuda.is_built()
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = False
    torch.set_float32_matmul_precision("high")
    assert torch.backends.cuda.matmul.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.enable_flash_sdp(True)


def views_share_memory():
    x = torch.zeros(2, 3, device="cuda")
    x.view(-1)[1] = 5
    x.t()[2, 1] = 7
    x[0].add_(1)
    assert x.tolist() == [[1, 6, 1], [0, 0, 7]]
    assert x.view(3, 2).data_ptr() == x.data_ptr()


def out_arguments_are_written_and_resized():
    out = torch.empty(0, device="cuda")
    torch.add(torch.ones(3, device="cuda"), 1, out=out)
    assert out.tolist() == [2, 2, 2]
    torch.mm(torch.ones(2, 3, device="cuda"), torch.ones(3, 2, device="cuda"), out=out.resize_(2, 2))
    assert out.tolist() == [[3, 3], [3, 3]]
    index = torch.empty(0, dtype=torch.long, device="cuda")
    torch.mode(torch.ones(2, 3, device="cuda"), out=(out, index))
    assert out.tolist() == [1, 1]


def a_storage_can_be_emptied_and_grown():
    x = torch.ones(4, device="cuda")
    x.untyped_storage().resize_(0)
    x.untyped_storage().resize_(16)
    x.fill_(2)
    assert x.tolist() == [2, 2, 2, 2]


def the_accelerator_api_agrees():
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is not None:
        assert accelerator.current_accelerator().type == "cuda"
        assert accelerator.device_count() == 2
        accelerator.synchronize()


def what_is_neither_strided_nor_sparse_is_refused_in_plain_words():
    with pytest.raises(RuntimeError, match="carries strided and sparse tensors only"):
        torch.eye(3, device="cuda").to_mkldnn()


def a_cuda_generator_is_needed_for_cuda():
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())
