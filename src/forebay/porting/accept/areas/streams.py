"""Streams and events: what is ordered before what."""

from __future__ import annotations

import torch

from forebay.porting.accept.claims import needs_cards, needs_names, raises


def streams_are_distinct_and_nest() -> None:
    stream, other = torch.cuda.Stream(), torch.cuda.Stream()
    outside = torch.cuda.current_stream()
    assert outside == torch.cuda.default_stream()
    assert stream != outside
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        with torch.cuda.stream(other):
            assert torch.cuda.current_stream() == other
        assert torch.cuda.current_stream() == stream
    assert torch.cuda.current_stream() == outside


def the_default_stream_is_number_zero() -> None:
    assert torch.cuda.default_stream().cuda_stream == 0
    assert torch.cuda.Stream().cuda_stream != 0


def a_stream_of_none_changes_nothing() -> None:
    before = torch.cuda.current_stream()
    with torch.cuda.stream(None):
        assert torch.cuda.current_stream() == before


def a_stream_can_be_set_and_set_back() -> None:
    stream = torch.cuda.Stream()
    torch.cuda.set_stream(stream)
    try:
        assert torch.cuda.current_stream() == stream
    finally:
        torch.cuda.set_stream(torch.cuda.default_stream())


def a_stream_that_waits_sees_the_others_work() -> None:
    side = torch.cuda.Stream()
    x = torch.zeros(1 << 16, device="cuda")
    for _ in range(4):
        x += 1
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        y = x * 2
        x.record_stream(side)
    torch.cuda.current_stream().wait_stream(side)
    y.record_stream(torch.cuda.current_stream())
    assert y.sum().item() == 8 * (1 << 16)


def an_event_carries_order_between_streams() -> None:
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    x = torch.zeros(8, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        x.fill_(3)
        done = first.record_event()
    second.wait_event(done)
    with torch.cuda.stream(second):
        y = x + 1
    done.synchronize()
    second.synchronize()
    assert y.tolist() == [4] * 8


def a_prefetcher_brings_the_batches_in_order() -> None:
    side = torch.cuda.Stream()
    batches = [torch.full((1024,), float(i)).pin_memory() for i in range(5)]
    found: list[float] = []
    ahead: torch.Tensor | None = None
    for batch in [*batches, None]:
        torch.cuda.current_stream().wait_stream(side)
        ready = ahead
        if batch is not None:
            with torch.cuda.stream(side):
                ahead = batch.to("cuda", non_blocking=True)
        if ready is not None:
            ready.record_stream(torch.cuda.current_stream())
            found.append(ready.mean().item())
    assert found == [0, 1, 2, 3, 4]


def streams_and_events_can_be_asked_whether_they_are_done() -> None:
    stream = torch.cuda.Stream()
    event = torch.cuda.Event()
    with torch.cuda.stream(stream):
        torch.ones(4, device="cuda")
        event.record()
    stream.synchronize()
    event.synchronize()
    assert stream.query()
    assert event.query()


def an_event_that_was_never_recorded_is_done() -> None:
    assert torch.cuda.Event().query()


def events_measure_time() -> None:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(20_000_000)
    end.record()
    end.synchronize()
    assert 1 < start.elapsed_time(end) < 1000


def events_without_timing_refuse_to_be_measured() -> None:
    a, b = torch.cuda.Event(), torch.cuda.Event()
    a.record()
    b.record()
    torch.cuda.synchronize()
    with raises((RuntimeError, ValueError), "timing"):
        a.elapsed_time(b)


def a_stream_has_a_device_and_a_priority() -> None:
    stream = torch.cuda.Stream(priority=-1)
    assert stream.device == torch.device("cuda:0")
    low, high = torch.cuda.Stream.priority_range()
    assert high < 0 <= low
    assert stream.priority == -1
    assert torch.cuda.Stream().priority == 0


def a_stream_of_another_card_brings_that_card() -> None:
    needs_cards(2)
    stream = torch.cuda.Stream(device=1)
    assert stream.device.index == 1
    with torch.cuda.stream(stream):
        assert torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0
    assert torch.cuda.current_stream(1).device.index == 1


def a_cuda_stream_is_a_stream() -> None:
    needs_names(torch, "Stream", "Event")
    assert isinstance(torch.cuda.Stream(), torch.Stream)
    assert isinstance(torch.cuda.Event(), torch.Event)
    assert torch.Stream(device="cuda").device.type == "cuda"


def a_strangers_stream_can_be_wrapped() -> None:
    stream = torch.cuda.Stream()
    stranger = torch.cuda.ExternalStream(stream.cuda_stream)
    with torch.cuda.stream(stranger):
        assert torch.cuda.current_stream().cuda_stream == stream.cuda_stream
        x = torch.ones(2, device="cuda") + 1
    stranger.synchronize()
    assert x.tolist() == [2, 2]


def backward_runs_on_the_stream_of_forward() -> None:
    side = torch.cuda.Stream()
    x = torch.ones(4, device="cuda", requires_grad=True)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        loss = (x * x).sum()
    torch.cuda.current_stream().wait_stream(side)
    loss.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2, 2]
