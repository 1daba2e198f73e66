"""Two processes in a group named nccl."""

import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
RANK = dist.get_rank()
torch.cuda.set_device(RANK)


def mine(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype, device="cuda")


def the_backend_says_nccl():
    assert dist.get_backend() == "nccl"
    assert dist.get_backend(dist.new_group([0, 1])) == "nccl"
    assert dist.is_nccl_available()


def all_reduce_sums_averages_and_finds_the_largest():
    for op, expected in ((dist.ReduceOp.SUM, 3.0), (dist.ReduceOp.AVG, 1.5), (dist.ReduceOp.MAX, 2.0)):
        x = mine(RANK + 1.0)
        dist.all_reduce(x, op=op)
        assert (x.item(), x.device.index) == (expected, RANK)
    x = mine(2 * RANK + 1, dtype=torch.int64)
    dist.all_reduce(x, op=dist.ReduceOp.AVG)
    assert x.item() == 2


def all_reduce_takes_narrow_numbers():
    for dtype in (torch.bfloat16, torch.float16):
        x = mine(RANK + 1.0, dtype=dtype)
        dist.all_reduce(x)
        assert (x.item(), x.dtype) == (3.0, dtype)


def work_that_is_waited_for_later_gives_cuda_tensors():
    x = mine(1.0)
    work = dist.all_reduce(x, async_op=True)
    future = work.get_future()
    work.wait()
    assert work.is_completed()
    assert x.item() == 2
    assert future.value()[0] is x or future.value()[0].is_cuda


def broadcast_gather_and_scatter():
    x = mine(float(RANK))
    dist.broadcast(x, src=1)
    assert x.item() == 1
    parts = [mine(0.0) for _ in range(2)] if RANK == 0 else None
    dist.gather(mine(RANK + 5.0), parts, dst=0)
    assert RANK == 1 or [part.item() for part in parts] == [5, 6]
    dist.scatter(x, [mine(7.0), mine(8.0)] if RANK == 0 else None, src=0)
    assert x.item() == 7 + RANK
    dist.reduce(x, dst=0)
    assert RANK == 1 or x.item() == 15


def all_gather_in_both_forms():
    parts = [mine(0.0) for _ in range(2)]
    dist.all_gather(parts, mine(float(RANK)))
    assert [part.item() for part in parts] == [0, 1]
    whole = torch.empty(4, device="cuda")
    dist.all_gather_into_tensor(whole, mine(RANK, RANK))
    assert whole.tolist() == [0, 0, 1, 1]


def reduce_scatter_in_both_forms():
    out = torch.empty(1, device="cuda")
    dist.reduce_scatter_tensor(out, mine(1.0, 2.0))
    assert out.item() == 2 * (RANK + 1)
    source = mine(1.0, 2.0)
    dist.reduce_scatter_tensor(out, source, op=dist.ReduceOp.AVG)
    assert (out.item(), source.tolist()) == (RANK + 1, [1, 2])
    dist.reduce_scatter(out, [mine(1.0), mine(2.0)])
    assert out.item() == 2 * (RANK + 1)


def all_to_all_in_both_forms():
    out = torch.empty(2, device="cuda")
    dist.all_to_all_single(out, mine(2.0 * RANK, 2.0 * RANK + 1))
    assert out.tolist() == [RANK, 2 + RANK]
    parts = [mine(0.0), mine(0.0)]
    dist.all_to_all(parts, [mine(2.0 * RANK), mine(2.0 * RANK + 1)])
    assert [part.item() for part in parts] == [RANK, 2 + RANK]


def send_and_receive():
    x = mine(4.0) if RANK == 0 else mine(0.0)
    dist.send(x, dst=1) if RANK == 0 else dist.recv(x, src=0)
    assert x.item() == 4
    mail = mine(0.0)
    for request in dist.batch_isend_irecv(
        [dist.P2POp(dist.isend, mine(RANK + 1.0), 1 - RANK), dist.P2POp(dist.irecv, mail, 1 - RANK)]
    ):
        request.wait()
    assert mail.item() == 2 - RANK


def barriers_and_objects():
    dist.barrier()
    dist.barrier(device_ids=[RANK])
    objects = [None, None]
    dist.all_gather_object(objects, {"rank": RANK})
    assert objects == [{"rank": 0}, {"rank": 1}]
    box = [RANK]
    dist.broadcast_object_list(box, src=1)
    assert box == [1]


def ddp_averages_gradients():
    torch.manual_seed(RANK)
    model = DistributedDataParallel(nn.Linear(2, 1, bias=False).cuda(), device_ids=[RANK])
    first = [torch.empty_like(model.module.weight) for _ in range(2)]
    dist.all_gather(first, model.module.weight.detach())
    assert torch.equal(first[0].cpu(), first[1].cpu())
    model(mine(RANK + 1.0, 3.0)[None]).sum().backward()
    assert model.module.weight.grad.tolist() == [[1.5, 3.0]]
    assert model.module.weight.grad.is_cuda
    for options in ({"gradient_as_bucket_view": True}, {"static_graph": True}, {"find_unused_parameters": True}):
        other = DistributedDataParallel(nn.Linear(2, 1).cuda(), device_ids=[RANK], output_device=RANK, **options)
        for _ in range(2):
            other(torch.ones(1, 2, device="cuda")).sum().backward()


def a_ddp_hook_gets_cuda_tensors():
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

    model = DistributedDataParallel(nn.Linear(2, 1, bias=False).cuda(), device_ids=[RANK])
    model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    model(mine(RANK + 1.0, 3.0)[None]).sum().backward()
    assert model.module.weight.grad.tolist() == [[1.5, 3.0]]


def sync_batch_norm_sees_the_batches_of_all_ranks():
    torch.manual_seed(0)
    whole = torch.randn(10, 3, 4)  # six of the first rank, four of the second: statistics are weighed by count
    mine_first, mine_last = (0, 6) if RANK == 0 else (6, 10)
    alone, together = nn.BatchNorm1d(3), nn.SyncBatchNorm(3).cuda()
    on_host = whole.clone().requires_grad_()
    on_card = whole[mine_first:mine_last].cuda().requires_grad_()
    weights = torch.randn(10, 3, 4)
    (alone(on_host) * weights).sum().backward()
    out = together(on_card)
    (out * weights[mine_first:mine_last].cuda()).sum().backward()
    torch.testing.assert_close(out.cpu(), alone(whole)[mine_first:mine_last], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(on_card.grad.cpu(), on_host.grad[mine_first:mine_last], rtol=1e-4, atol=1e-5)
    dist.all_reduce(together.weight.grad)
    torch.testing.assert_close(together.weight.grad.cpu(), alone.weight.grad, rtol=1e-4, atol=1e-4)
    alone = nn.BatchNorm1d(3)
    alone(whole)
    torch.testing.assert_close(together.running_var.cpu(), alone.running_var)
    assert together(on_card.half()).dtype == torch.float16


def device_meshes_and_functional_collectives_work():
    from torch.distributed._functional_collectives import all_gather_tensor
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh("cuda", (2,))
    assert mesh.size() == 2
    assert all_gather_tensor(mine(float(RANK)), 0, mesh.get_group()).tolist() == [0, 1]


def local_rank_chooses_the_card():
    assert torch.ones(1).cuda().device.index == int(os.environ["LOCAL_RANK"])
