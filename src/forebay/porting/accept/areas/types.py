"""Type strings, classes of tensors, storages and what other packages read of them."""

from __future__ import annotations

import warnings

import torch

from forebay.porting.accept.claims import needs_cards, raises


def a_tensors_type_string_names_cuda() -> None:
    kinds = {torch.float32: "Float", torch.float16: "Half", torch.int64: "Long", torch.bool: "Bool", torch.bfloat16: "BFloat16"}
    for dtype, name in kinds.items():
        assert torch.zeros(1, dtype=dtype, device="cuda").type() == f"torch.cuda.{name}Tensor"


def a_type_string_moves_a_tensor() -> None:
    x = torch.ones(2).type("torch.cuda.FloatTensor")
    assert x.is_cuda
    assert x.type("torch.FloatTensor").device.type == "cpu"
    assert x.type("torch.cuda.LongTensor").dtype == torch.int64


def a_class_moves_a_tensor() -> None:
    x = torch.ones(2).type(torch.cuda.FloatTensor)
    assert (x.is_cuda, x.dtype) == (True, torch.float32)
    assert torch.ones(2).type(torch.cuda.HalfTensor).dtype == torch.float16


def a_tensor_is_an_instance_of_its_class() -> None:
    x = torch.ones(2, device="cuda")
    assert isinstance(x, torch.cuda.FloatTensor)
    assert not isinstance(x, torch.cuda.LongTensor)
    assert not isinstance(x, torch.FloatTensor)
    assert not isinstance(torch.ones(2), torch.cuda.FloatTensor)


def a_class_makes_tensors_of_sizes_and_values() -> None:
    assert torch.cuda.FloatTensor(2, 3).shape == (2, 3)
    assert torch.cuda.FloatTensor(2, 3).is_cuda
    assert torch.cuda.LongTensor([1, 2]).tolist() == [1, 2]
    assert torch.cuda.FloatTensor([0.5]).dtype == torch.float32
    assert torch.cuda.ByteTensor(2).fill_(1).tolist() == [1, 1]


def a_class_can_be_chosen_by_a_condition() -> None:
    kind = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor
    assert kind(1).fill_(0.0).is_cuda
    assert kind.dtype == torch.float32


def the_default_type_can_be_of_the_card() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.set_default_tensor_type(torch.cuda.FloatTensor)
        try:
            assert torch.ones(2).is_cuda
        finally:
            torch.set_default_tensor_type(torch.FloatTensor)
        torch.set_default_tensor_type("torch.cuda.HalfTensor")
        try:
            x = torch.zeros(2)
            assert (x.is_cuda, x.dtype) == (True, torch.float16)
        finally:
            torch.set_default_tensor_type("torch.FloatTensor")
    assert not torch.ones(2).is_cuda


def type_as_moves_to_the_card() -> None:
    x = torch.ones(2, dtype=torch.int32).type_as(torch.ones(1, device="cuda"))
    assert (x.is_cuda, x.dtype) == (True, torch.float32)


def a_new_tensor_stays_on_the_card() -> None:
    x = torch.ones(2, device="cuda")
    assert x.new([1, 2]).is_cuda
    assert x.new(3).shape == (3,)
    assert x.new_tensor([1, 2]).is_cuda
    assert x.new_full((2,), 3).tolist() == [3, 3]


def a_storage_says_where_it_is() -> None:
    x = torch.ones(4, device="cuda")
    storage = x.untyped_storage()
    assert (storage.device.type, storage.is_cuda, storage.nbytes()) == ("cuda", True, 16)
    assert storage.data_ptr() == x.data_ptr()
    assert storage.cpu().device.type == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert x.storage().is_cuda
        assert x.storage().get_device() == 0


def a_storage_can_be_emptied_and_grown() -> None:
    x = torch.ones(4, device="cuda")
    x.untyped_storage().resize_(0)
    assert x.untyped_storage().size() == 0
    x.untyped_storage().resize_(16)
    x.fill_(2)
    assert x.tolist() == [2, 2, 2, 2]


def a_storage_can_be_made_on_the_card() -> None:
    storage = torch.UntypedStorage(8, device="cuda")
    assert (storage.device.type, storage.nbytes()) == ("cuda", 8)
    x = torch.tensor([], dtype=torch.uint8, device="cuda").set_(storage, 0, (8,))
    assert x.fill_(3).tolist() == [3] * 8


def the_cuda_array_interface_is_there() -> None:
    x = torch.ones(2, 3, device="cuda")
    told = x.__cuda_array_interface__
    assert (told["shape"], told["typestr"], told["data"][0]) == ((2, 3), "<f4", x.data_ptr())
    with raises(AttributeError, "cuda"):
        torch.ones(1).__cuda_array_interface__  # noqa: B018


def dlpack_names_cuda_and_shares_memory() -> None:
    x = torch.zeros(3, device="cuda")
    assert tuple(map(int, x.__dlpack_device__())) == (2, 0)
    y = torch.from_dlpack(x)
    y.fill_(4)
    assert x.tolist() == [4, 4, 4]
    assert y.is_cuda


def a_narrow_number_keeps_its_type() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int8):
        x = torch.tensor([1.0, 2.0], device="cuda").to(dtype)
        assert (x.dtype, x.float().tolist()) == (dtype, [1, 2])


def complex_and_double_numbers_are_carried() -> None:
    z = torch.tensor([1 + 2j], device="cuda")
    assert (z.conj().imag.tolist(), z.real.dtype) == ([-2.0], torch.float32)
    assert torch.ones(1, dtype=torch.float64, device="cuda").type() == "torch.cuda.DoubleTensor"


def a_type_on_another_card_keeps_the_card() -> None:
    needs_cards(2)
    x = torch.ones(2, device="cuda:1")
    assert x.half().device.index == 1
    assert x.type(torch.cuda.LongTensor).device.index == 1


def sparse_tensors_live_on_the_card() -> None:
    sparse = torch.eye(3, device="cuda").to_sparse()
    assert (sparse.is_cuda, sparse.is_sparse, sparse.type()) == (True, True, "torch.cuda.sparse.FloatTensor")
    assert sparse.to_dense().sum().item() == 3
    assert torch.sparse.mm(sparse, torch.ones(3, 1, device="cuda")).tolist() == [[1], [1], [1]]
