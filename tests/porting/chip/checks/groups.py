"""Two ranks of the fake chip. Run by run_checks.py under RANK and WORLD_SIZE."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RANK = int(os.environ["RANK"])
torch.cuda.set_device(RANK)
dist.init_process_group("nccl")


def the_group_says_nccl():
    assert dist.get_backend() == "nccl"


def collectives_carry_the_chips_tensors():
    x = torch.full((2,), RANK + 1.0, device="cuda")
    dist.all_reduce(x)
    assert x.tolist() == [3.0, 3.0]
    parts = [torch.empty(1, device="cuda") for _ in range(2)]
    dist.all_gather(parts, torch.full((1,), float(RANK), device="cuda"))
    assert torch.cat(parts).tolist() == [0.0, 1.0]
    dist.broadcast(x := torch.full((1,), float(RANK), device="cuda"), src=1)
    assert x.tolist() == [1.0]
    dist.barrier()


def data_parallel_ranks_agree_on_their_gradients():
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(3, 1).cuda(), device_ids=[RANK])
    model(torch.full((2, 3), RANK + 1.0, device="cuda")).sum().backward()
    assert model.module.weight.grad.tolist() == [[3.0, 3.0, 3.0]]
    assert next(model.parameters()).device == torch.device("cuda", RANK)
