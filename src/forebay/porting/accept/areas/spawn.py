"""Processes that a script starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp

from forebay.porting.accept.claims import needs_cards


def a_child_python_has_the_cards_too() -> None:
    words = "import torch; print(torch.cuda.device_count(), torch.ones(1, device='cuda').device)"
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert ran.stdout.split() == [str(torch.cuda.device_count()), "cuda:0"], ran.stderr


def _write_device(rank: int, folder: str) -> None:
    card = rank % torch.cuda.device_count()
    torch.cuda.set_device(card)
    x = torch.full((2,), float(rank), device="cuda")
    with open(os.path.join(folder, str(rank)), "w") as file:
        file.write(f"{x.device} {x.sum().item()}")


def spawned_workers_choose_their_cards() -> None:
    torch.ones(1, device="cuda")
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_write_device, (folder,), nprocs=2)
        said = [Path(folder, str(rank)).read_text() for rank in range(2)]
    cards = torch.cuda.device_count()
    assert said == ["cuda:0 0.0", f"cuda:{1 % cards} 2.0"]


def _fail(rank: int) -> None:
    torch.ones(1, device="cuda")
    raise ValueError("a worker's own words")


def a_spawned_workers_error_reaches_the_parent() -> None:
    try:
        mp.spawn(_fail, nprocs=1)
    except mp.ProcessRaisedException as error:
        assert "a worker's own words" in str(error)
    else:
        raise AssertionError("the error was lost")


def _train(results: Any) -> None:
    model = torch.nn.Linear(2, 1).cuda()
    model(torch.ones(1, 2, device="cuda")).sum().backward()
    assert model.weight.grad is not None
    results.put(model.weight.grad.cpu().tolist())


def a_spawned_process_trains_and_sends_its_result() -> None:
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=_train, args=(results,))
    process.start()
    try:
        assert results.get() == [[1, 1]]
    finally:
        process.join()
    assert process.exitcode == 0


def _add_one(inbox: Any, outbox: Any) -> None:
    x = inbox.get()
    x.add_(1)
    torch.cuda.synchronize()
    outbox.put((str(x.device), x.sum().item()))
    inbox.get()


def a_tensor_of_the_card_is_shared_with_a_child() -> None:
    context = mp.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=_add_one, args=(inbox, outbox))
    process.start()
    try:
        x = torch.zeros(4, device="cuda")
        inbox.put(x)
        assert outbox.get(timeout=30) == ("cuda:0", 4.0)
        torch.cuda.synchronize()
        assert x.tolist() == [1, 1, 1, 1]
        inbox.put(None)
    finally:
        process.join(10)
        process.kill()


def _sum_parameters(model: torch.nn.Module, outbox: Any) -> None:
    outbox.put(sum(parameter.sum().item() for parameter in model.parameters()))


def a_model_of_the_card_is_an_argument_of_a_process() -> None:
    context = mp.get_context("spawn")
    model = torch.nn.Linear(2, 2, bias=False).cuda()
    torch.nn.init.ones_(model.weight)
    outbox = context.SimpleQueue()
    process = context.Process(target=_sum_parameters, args=(model, outbox))
    process.start()
    try:
        process.join(60)
        assert process.exitcode == 0
        assert outbox.get() == 4
    finally:
        process.kill()


def a_child_sees_the_cards_that_its_environment_leaves() -> None:
    needs_cards(2)
    words = "import torch; print(torch.cuda.device_count(), torch.cuda.get_device_properties(0).total_memory > 0)"
    ran = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "1"}
    )
    assert ran.stdout.split() == ["1", "True"], ran.stderr


def a_fork_before_the_first_use_has_the_cards() -> None:
    words = """
import os, torch
pid = os.fork()
if pid == 0:
    os._exit(0 if torch.ones(2, device="cuda").sum().item() == 2 else 1)
print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]))
"""
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert ran.stdout.strip() == "0", ran.stderr


def torchrun_starts_ranks_that_find_each_other() -> None:
    needs_cards(2)
    words = """
import os, torch, torch.distributed as dist
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("nccl")
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
print(f"sum {x.item()}\\n", end="", flush=True)
dist.destroy_process_group()
"""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train.py")
        with open(path, "w") as file:
            file.write(words)
        ran = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", path],
            capture_output=True,
            text=True,
        )
    assert ran.stdout.count("sum 2.0") == 2, (ran.returncode, ran.stdout, ran.stderr)
