"""Random numbers, memory figures, streams, events and pinned memory."""

import gc

import pytest
import torch


def the_same_seed_gives_the_same_numbers():
    torch.manual_seed(1)
    first = torch.randn(4, device="cuda")
    torch.manual_seed(1)
    assert torch.equal(torch.randn(4, device="cuda"), first)
    torch.cuda.manual_seed_all(1)
    assert torch.equal(torch.randn(4, device="cuda"), first)


def the_cards_numbers_are_not_the_hosts():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    torch.randn(4, device="cuda")
    torch.nn.functional.dropout(torch.ones(9, device="cuda"), 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def each_card_has_its_own_numbers():
    torch.cuda.manual_seed_all(3)
    a = torch.randn(3, device="cuda:0")
    assert torch.equal(torch.randn(3, device="cuda:1").cpu(), a.cpu())
    torch.cuda.manual_seed(4)
    assert not torch.equal(torch.randn(3, device="cuda:1").cpu(), torch.randn(3, device="cuda:0").cpu())


def dropout_continues_from_a_saved_state():
    x = torch.ones(64, device="cuda")
    state = torch.cuda.get_rng_state()
    first = torch.nn.functional.dropout(x, 0.5)
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.nn.functional.dropout(x, 0.5), first)
    assert len(torch.cuda.get_rng_state_all()) == 2


def a_cuda_generator_draws_by_itself():
    generator = torch.Generator(device="cuda").manual_seed(7)
    assert generator.device.type == "cuda"
    first = torch.rand(3, device="cuda", generator=generator)
    generator.manual_seed(7)
    assert torch.equal(torch.rand(3, device="cuda", generator=generator), first)
    assert generator.initial_seed() == 7


def fork_rng_brings_the_numbers_back():
    torch.cuda.manual_seed(1)
    with torch.random.fork_rng(devices=[0]):
        inside = torch.randn(2, device="cuda")
    assert torch.equal(torch.randn(2, device="cuda"), inside)


def memory_is_counted_by_card():
    gc.collect()
    before = [torch.cuda.memory_allocated(i) for i in range(2)]
    x = torch.empty(1 << 20, dtype=torch.uint8, device="cuda:1")
    assert torch.cuda.memory_allocated(1) - before[1] == 1 << 20
    assert torch.cuda.memory_allocated(0) == before[0]
    del x
    assert torch.cuda.memory_allocated(1) == before[1]


def results_of_operators_are_counted_too():
    x = torch.ones(1 << 18, device="cuda")
    before = torch.cuda.memory_allocated()
    y = x + x
    assert torch.cuda.memory_allocated() - before == 1 << 20
    z = y.view(2, -1).t()
    assert torch.cuda.memory_allocated() - before == 1 << 20
    del y, z
    assert torch.cuda.memory_allocated() == before


def the_peak_stays_until_it_is_reset():
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    x = torch.empty(1 << 22, dtype=torch.uint8, device="cuda")
    del x
    assert torch.cuda.max_memory_allocated() - base == 1 << 22
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == torch.cuda.memory_allocated()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()


def memory_summaries_and_information_can_be_read():
    assert "Allocated memory" in torch.cuda.memory_summary()
    free, total = torch.cuda.mem_get_info()
    assert 0 < free <= total
    assert torch.cuda.memory_stats()["allocated_bytes.all.current"] == torch.cuda.memory_allocated()


def a_full_card_raises_out_of_memory_and_goes_on():
    from forebay.porting.shim import load

    load.set_memory_limit(torch.cuda.memory_allocated() + (8 << 20))
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory"):
            torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
        x = torch.ones(1 << 20, device="cuda")
        with pytest.raises(torch.cuda.OutOfMemoryError):
            [x + i for i in range(4)]
    finally:
        load.set_memory_limit(0)
    assert (x + 1).sum().item() == 2 << 20


def events_measure_the_hosts_clock():
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(14_100_000)
    end.record()
    end.synchronize()
    torch.cuda.synchronize()
    assert end.query()
    assert 9 < start.elapsed_time(end) < 1000


def events_without_timing_refuse_to_be_measured():
    a, b = torch.cuda.Event(), torch.cuda.Event()
    a.record()
    b.record()
    with pytest.raises(RuntimeError, match="enable_timing"):
        a.elapsed_time(b)


def streams_are_distinct_and_nest():
    stream = torch.cuda.Stream()
    outside = torch.cuda.current_stream()
    assert outside == torch.cuda.default_stream()
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream != outside
        x = torch.ones(2, device="cuda") * 3
    assert torch.cuda.current_stream() == outside
    outside.wait_stream(stream)
    stream.wait_event(outside.record_event())
    x.record_stream(stream)
    stream.synchronize()
    assert stream.query()
    assert x.tolist() == [3, 3]
    assert torch.cuda.Stream(device=1, priority=-1).device.index == 1


def pinned_memory_says_so_and_moves_without_blocking():
    x = torch.arange(4.0).pin_memory()
    assert x.is_pinned()
    assert not torch.arange(4.0).is_pinned()
    assert torch.empty(3, pin_memory=True).is_pinned()
    assert x.cuda(non_blocking=True).tolist() == [0, 1, 2, 3]
    assert x.to("cuda", non_blocking=True).to("cpu", non_blocking=True).tolist() == [0, 1, 2, 3]


def a_loader_with_workers_and_pinned_memory_works():
    data = torch.utils.data.TensorDataset(torch.arange(8.0))
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(data, batch_size=4, num_workers=workers, pin_memory=True)
        batches = [batch for (batch,) in loader]
        assert all(batch.is_pinned() for batch in batches)
        assert torch.cat([batch.cuda() for batch in batches]).tolist() == list(range(8))


def profiler_ranges_do_nothing():
    torch.cuda.nvtx.range_push("x")
    torch.cuda.nvtx.range_pop()
    with torch.cuda.nvtx.range("y"):
        pass
