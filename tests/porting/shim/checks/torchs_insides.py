"""What torch does with its own text: TorchScript, compile, threads, processes, the truth for its compilers."""

import builtins
import subprocess
import sys
import threading
import types

import pytest
import torch
from torch import nn


def no_builtin_of_torch_was_replaced():
    for name in ("zeros", "ones", "empty", "tensor", "randn", "full", "arange", "as_tensor"):
        assert isinstance(getattr(torch, name), types.BuiltinFunctionType)
    assert type(torch.Tensor.to).__name__ == type(torch.Tensor.cuda).__name__ == "method_descriptor"


def torchscript_works():
    @torch.jit.script
    def act(x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros_like(x)
        for _ in range(3):
            y = torch.relu(y + x * x)
        return y

    x = torch.ones(3, device="cuda")
    for _ in range(4):  # past the profiling runs, where the fuser would start
        assert act(x).tolist() == [3, 3, 3]
    assert torch.jit.script(nn.Linear(2, 2).cuda())(torch.ones(1, 2, device="cuda")).is_cuda


def the_zero_redundancy_optimizer_can_be_imported():
    from torch.distributed.optim import ZeroRedundancyOptimizer

    assert ZeroRedundancyOptimizer.__name__ == "ZeroRedundancyOptimizer"


def compile_gives_something_that_runs():
    model = nn.Linear(2, 2).cuda()
    compiled = torch.compile(model, mode="reduce-overhead")
    x = torch.ones(1, 2, device="cuda")
    assert torch.equal(compiled(x), model(x))
    assert compiled._orig_mod is model
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]

    @torch.compile
    def double(x):
        return 2 * x

    assert double(x).tolist() == [[2, 2]]


def torchs_compilers_are_told_the_truth():
    asked = {}
    for name in ("torch._inductor.config", "triton.runtime", "train"):
        space = {"__name__": name, "torch": torch, "__builtins__": builtins}
        exec("def ask(): return torch.cuda.is_available()", space)
        asked[name] = space["ask"]()
    assert asked == {"torch._inductor.config": False, "triton.runtime": False, "train": True}


def nccl_is_there_for_scripts_and_not_for_torch():
    assert torch.distributed.is_nccl_available()
    assert not torch.distributed.distributed_c10d.is_nccl_available()


def threads_see_the_cards():
    found = []

    def work():
        layer = nn.Linear(4, 4).cuda()
        layer(torch.ones(2, 4, device="cuda")).sum().backward()
        found.append((torch.cuda.is_available(), layer.weight.grad.is_cuda, torch.cuda.current_device()))

    torch.cuda.set_device(1)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.cuda.set_device(0)
    assert found == [(True, True, 0)] * 4


def backward_can_run_in_any_thread_setting():
    x = torch.ones(2, device="cuda", requires_grad=True)
    with torch.autograd.set_multithreading_enabled(True):
        (x * x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def a_child_python_has_the_cards_too():
    words = "import torch; print(torch.cuda.device_count(), torch.ones(1, device='cuda').device)"
    assert subprocess.run([sys.executable, "-c", words], capture_output=True, text=True).stdout.split() == ["2", "cuda:0"]


def a_warm_parent_forks_ranks_that_train():
    words = """
import os, torch
from forebay.porting.shim import load
children = []
for rank in range(2):
    pid = os.fork()
    if pid == 0:
        load.set_cards(1 + rank)
        load.set_memory_limit(1 << 26)
        torch.cuda.manual_seed(rank)
        w = torch.ones(3, device=f"cuda:{rank}", requires_grad=True)
        (w * 2).sum().backward()
        os._exit(0 if w.grad.tolist() == [2, 2, 2] and torch.cuda.device_count() == 1 + rank else 1)
    children.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
"""
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    assert ran.stdout.strip() == "[0, 0]", ran.stderr


def the_profiler_runs():
    with torch.profiler.profile() as profile:
        torch.ones(4, 4, device="cuda").mm(torch.ones(4, 4, device="cuda"))
    assert any(event.key == "aten::mm" for event in profile.key_averages())


def data_parallel_over_both_cards_runs():
    model = nn.DataParallel(nn.Linear(3, 2).cuda(), device_ids=[0, 1])
    result = model(torch.ones(4, 3, device="cuda"))
    result.sum().backward()
    assert (result.shape, result.device.index) == ((4, 2), 0)
    assert model.module.bias.grad.tolist() == [4, 4]


def the_report_names_what_was_used():
    from forebay.porting.shim import load

    torch.ones(2, device="cuda").mul(2)
    torch.cuda.synchronize()
    report = load.report()
    assert report["carrier"] == "simulated"
    assert report["uses"]["torch.cuda.synchronize"]["class"] == "exact"
    assert report["operators"]["of"]["aten::mul.Tensor"] >= 1
    assert {entry["class"] for entry in report["uses"].values()} <= {"exact", "emulated", "no-op", "refused"}


def an_api_that_is_not_carried_says_so():
    with pytest.raises(RuntimeError, match=r"nccl\.unique_id is not carried"):
        torch.cuda.nccl.unique_id()
