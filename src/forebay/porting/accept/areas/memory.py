"""Memory figures, limits, pinned memory."""

from __future__ import annotations

import gc

import torch

from forebay.porting.accept.claims import needs_cards, raises


def memory_is_counted_as_tensors_come_and_go() -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    x = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() - before == 1 << 20
    del x
    assert torch.cuda.memory_allocated() == before


def memory_is_counted_by_card() -> None:
    needs_cards(2)
    gc.collect()
    before = [torch.cuda.memory_allocated(i) for i in range(2)]
    x = torch.empty(1 << 20, dtype=torch.uint8, device="cuda:1")
    assert torch.cuda.memory_allocated(1) - before[1] == 1 << 20
    assert torch.cuda.memory_allocated("cuda:0") == before[0]
    del x


def a_small_tensor_takes_a_block_of_512_bytes() -> None:
    before = torch.cuda.memory_allocated()
    x = torch.empty(1, device="cuda")
    assert torch.cuda.memory_allocated() - before == 512
    del x


def results_are_counted_and_views_are_not() -> None:
    x = torch.ones(1 << 18, device="cuda")
    before = torch.cuda.memory_allocated()
    y = x + x
    assert torch.cuda.memory_allocated() - before == 1 << 20
    z = y.view(2, -1).t()
    assert torch.cuda.memory_allocated() - before == 1 << 20
    del y, z
    assert torch.cuda.memory_allocated() == before


def the_peak_stays_until_it_is_reset() -> None:
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    x = torch.empty(1 << 22, dtype=torch.uint8, device="cuda")
    del x
    assert torch.cuda.max_memory_allocated() - base == 1 << 22
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == torch.cuda.memory_allocated()


def reserved_is_never_less_than_allocated() -> None:
    x = torch.empty(1 << 22, dtype=torch.uint8, device="cuda")
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() >= torch.cuda.memory_allocated() > 0
    assert torch.cuda.max_memory_reserved() >= torch.cuda.memory_reserved()
    del x


def free_and_total_memory_can_be_read() -> None:
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total
    assert total >= torch.cuda.memory_reserved()
    properties = torch.cuda.get_device_properties(0)
    assert properties.total_memory > 0


def statistics_and_summary_agree() -> None:
    x = torch.ones(1000, device="cuda")
    stats = torch.cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == torch.cuda.memory_allocated()
    assert stats["allocated_bytes.all.peak"] == torch.cuda.max_memory_allocated()
    assert stats["num_ooms"] >= 0
    assert "Allocated memory" in torch.cuda.memory_summary()
    assert isinstance(torch.cuda.memory_snapshot(), list)
    del x


def more_than_there_is_raises_out_of_memory_and_work_goes_on() -> None:
    with raises(torch.cuda.OutOfMemoryError, "CUDA out of memory"):
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    assert torch.ones(4, device="cuda").sum().item() == 4


def out_of_memory_is_a_runtime_error_with_two_names() -> None:
    assert issubclass(torch.cuda.OutOfMemoryError, RuntimeError)
    try:
        torch.empty(1 << 50, dtype=torch.uint8, device="cuda")
    except RuntimeError as error:
        assert "out of memory" in str(error)
        assert isinstance(error, torch.cuda.OutOfMemoryError)
    else:
        raise AssertionError("a petabyte was found")


def a_fraction_of_the_memory_is_a_limit() -> None:
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(0.01, 0)
    try:
        with raises(torch.cuda.OutOfMemoryError, "out of memory"):
            torch.empty(total // 50, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
    del total


def freeing_a_storage_gives_its_memory_back() -> None:
    x = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
    before = torch.cuda.memory_allocated()
    x.untyped_storage().resize_(0)
    assert before - torch.cuda.memory_allocated() == 1 << 20


def a_graph_of_autograd_frees_what_it_saved() -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    x = torch.ones(1 << 16, device="cuda", requires_grad=True)
    loss = x.exp().sin().sum()
    loss.backward()
    x.grad = None
    del x, loss
    gc.collect()
    assert torch.cuda.memory_allocated() == before


def pinned_memory_says_so() -> None:
    x = torch.arange(4.0).pin_memory()
    assert x.is_pinned()
    assert not torch.arange(4.0).is_pinned()
    assert torch.empty(3, pin_memory=True).is_pinned()
    assert x.pin_memory() is x


def pinned_memory_moves_without_blocking() -> None:
    x = torch.arange(4.0).pin_memory()
    assert x.cuda(non_blocking=True).tolist() == [0, 1, 2, 3]
    back = torch.empty(4, pin_memory=True)
    back.copy_(x.cuda(), non_blocking=True)
    torch.cuda.synchronize()
    assert back.tolist() == [0, 1, 2, 3]


def a_cuda_tensor_cannot_be_pinned() -> None:
    x = torch.ones(2, device="cuda")
    assert not x.is_pinned()
    with raises(RuntimeError, "cannot pin"):
        x.pin_memory()
