"""One rank of the measurement of collectives. Torch and the standard library only.

Asked:  how many bytes a second does the wire between the cards of this machine carry, under torch's own collectives?
Answer: all-reduce, all-gather, reduce-scatter and all-to-all of growing fp32 buffers. Rank 0 times, and tells the others through
        the store how often to repeat and when to stop: ranks that decided for themselves would wait for each other for ever.
Units:  bytes over the wire of each rank, as nccl-tests' busbw: 2 (n-1)/n of the buffer for all-reduce, (n-1)/n for the others.
Limits: cards of one machine, one process each. Python 3.9 and torch 2.4 run it.

    RANK=0 WORLD_SIZE=2 python -m forebay.porting.certify.ceilings_ranks --device cpu --backend gloo --port 29500
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from datetime import timedelta
from typing import Any

import torch
import torch.distributed

from forebay.porting.certify.ceilings_clock import FEWEST, GAIN, LEAST_S, RUNS, TRIES, Call, Clock, absent, summary

dist: Any = torch.distributed
NAMES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
SMALLEST, LARGEST = 1 << 16, 1 << 28
WAIT = timedelta(seconds=60)


def collective(name: str, device: str, store: Any, seconds: float) -> dict[str, Any]:
    """One ceiling, walked by all ranks in step."""
    rank, size = dist.get_rank(), dist.get_world_size()
    clock, until = Clock(device), time.monotonic() + seconds
    factor = (2 if name == "all-reduce" else 1) * (size - 1) / size
    best: dict[str, Any] = {}
    nbytes, misses = SMALLEST, 0
    try:
        while nbytes <= LARGEST:
            call = exchange(name, device, nbytes // 4 // size * size, size)
            call()
            once = clock.seconds(call, 1)
            times = int(told(store, f"{name} {nbytes} times", rank, max(1, int(LEAST_S / once))))
            found = [clock.seconds(call, times) for _ in range(RUNS if times > 1 else FEWEST)]
            middle, spread = summary(found)
            rate = factor * nbytes / middle
            misses = misses + 1 if best and rate < best["value"] * GAIN else 0
            if not best or rate > best["value"]:
                best = {"value": float(f"{rate:.5g}"), "spread": round(spread, 4), "runs": len(found)}
                best["size"] = f"{nbytes >> 10} KiB, {size} ranks"
            stop = misses == TRIES or time.monotonic() > until
            if told(store, f"{name} {nbytes} stop", rank, int(stop)) == "1":
                break
            nbytes *= 4
    except (RuntimeError, NotImplementedError, ValueError, AttributeError) as error:
        if not best:
            return absent("collective", name, "bytes/s", " ".join(f"{type(error).__name__}: {error}".split())[:200])
    return {"kind": "collective", "name": name, "unit": "bytes/s", **best}


def exchange(name: str, device: str, count: int, size: int) -> Call:
    whole = torch.ones(count, device=device)
    part = torch.ones(count // size, device=device)
    if name == "all-reduce":
        return lambda: dist.all_reduce(whole)
    if name == "all-gather":
        return lambda: dist.all_gather_into_tensor(whole, part)
    if name == "reduce-scatter":
        return lambda: dist.reduce_scatter_tensor(part, whole)
    out = torch.empty_like(whole)
    return lambda: dist.all_to_all_single(out, whole)


def told(store: Any, key: str, rank: int, mine: int) -> str:
    """What rank 0 decided, on every rank."""
    if rank == 0:
        store.set(key, str(mine))
    return str(store.get(key).decode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", required=True)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--import", dest="imports", nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all, about (default 60)")
    asked = parser.parse_args()
    for name in asked.imports:
        importlib.import_module(name)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = asked.device
    if device != "cpu":
        device = f"{device}:{rank}"
        getattr(torch, asked.device).set_device(rank)
    store = dist.TCPStore("127.0.0.1", asked.port, size, is_master=rank == 0, timeout=WAIT)
    dist.init_process_group(asked.backend, store=dist.PrefixStore("group", store), rank=rank, world_size=size, timeout=WAIT)
    ours = dist.PrefixStore("ceilings", store)
    for name in NAMES:
        line = collective(name, device, ours, asked.seconds / len(NAMES))
        if rank == 0:
            print(json.dumps(line), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
