"""Profilers and their tables."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

BOTH = [ProfilerActivity.CPU, ProfilerActivity.CUDA]


def _work() -> None:
    x = torch.ones(64, 64, device="cuda")
    x.mm(x).relu().sum().item()


def cuda_is_an_activity_that_can_be_profiled() -> None:
    assert ProfilerActivity.CUDA in torch.profiler.supported_activities()


def operators_are_in_the_table() -> None:
    with profile(activities=BOTH) as seen:
        _work()
    keys = {event.key for event in seen.key_averages()}
    assert {"aten::mm", "aten::relu", "aten::sum"} <= keys
    table = seen.key_averages().table(sort_by="self_cuda_time_total", row_limit=5)
    assert "Self CPU time total" in table


def the_time_on_the_card_is_counted() -> None:
    with profile(activities=BOTH) as seen:
        _work()
        torch.cuda.synchronize()
    mm = next(event for event in seen.key_averages() if event.key == "aten::mm")
    assert mm.device_time_total > 0
    assert "CUDA time total" in seen.key_averages().table()


def steps_follow_a_schedule() -> None:
    ready: list[Any] = []
    with profile(activities=BOTH, schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=ready.append) as seen:
        for _ in range(4):
            _work()
            seen.step()
    assert len(ready) == 1


def a_trace_is_written() -> None:
    with profile(activities=BOTH, record_shapes=True, with_stack=True) as seen, record_function("a part of mine"):
        _work()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        seen.export_chrome_trace(path)
        with open(path) as file:
            names = {event.get("name") for event in json.load(file)["traceEvents"]}
    assert {"aten::mm", "a part of mine"} <= names


def memory_is_profiled() -> None:
    with profile(activities=BOTH, profile_memory=True) as seen:
        x = torch.ones(1 << 16, device="cuda")
        del x
    events = [event for event in seen.key_averages() if event.key == "aten::empty"]
    assert events
    assert max(event.device_memory_usage for event in events) >= 1 << 18


def the_old_profiler_runs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for options in ({"use_cuda": True}, {"use_device": "cuda"}):
            with torch.autograd.profiler.profile(**options) as seen:  # type: ignore[arg-type]
                _work()
            assert "aten::mm" in seen.key_averages().table(sort_by="cpu_time_total")


def ranges_of_nvtx_nest() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.nvtx.range_push("outer") == 0
    assert torch.cuda.nvtx.range_push("inner") == 1
    torch.cuda.nvtx.range_pop()
    torch.cuda.nvtx.range_pop()
    torch.cuda.nvtx.mark("here")
    with torch.cuda.nvtx.range("block"), torch.autograd.profiler.emit_nvtx():
        _work()


def the_cuda_profiler_starts_and_stops() -> None:
    torch.cuda.profiler.start()
    _work()
    torch.cuda.profiler.stop()
    with torch.cuda.profiler.profile():
        _work()


def memory_history_is_recorded() -> None:
    torch.cuda.memory._record_memory_history(max_entries=100)
    try:
        x = torch.ones(1000, device="cuda")
        snapshot = torch.cuda.memory._snapshot()
        assert "segments" in snapshot
        del x
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "snapshot.pickle")
            torch.cuda.memory._dump_snapshot(path)
            assert os.path.getsize(path) > 0
    finally:
        torch.cuda.memory._record_memory_history(enabled=None)
