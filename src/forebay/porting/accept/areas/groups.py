"""Two ranks on one machine in a group named nccl, each with a card of its own."""

from __future__ import annotations

import os
import tempfile
import warnings
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from forebay.porting.accept.claims import close, needs_cards

RANK = int(os.environ["RANK"])
if torch.cuda.device_count() >= 2:
    torch.cuda.set_device(RANK)
    dist.init_process_group("nccl", timeout=timedelta(seconds=60))


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _mine(*values: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    needs_cards(2)
    return torch.tensor(values, dtype=dtype, device="cuda")


def _mesh(*shape: int, **options: Any) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    needs_cards(2)
    return init_device_mesh("cuda", shape, **options)


def _shared_folder() -> str:
    box = [tempfile.mkdtemp() if RANK == 0 else None]
    dist.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0]


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def _reference(steps: int = 3, optimizer: Any = torch.optim.SGD) -> nn.Module:
    """The same training by one process over both ranks' batches, on the host."""
    model = _net()
    mover = optimizer(model.parameters(), lr=0.1)
    for step in range(steps):
        x = torch.cat([_batch(step, rank) for rank in range(2)])
        mover.zero_grad()
        model(x).square().mean().backward()
        mover.step()
    return model


def _batch(step: int, rank: int) -> torch.Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(10 * step + rank))


def _train(model: Any, mover: Any, steps: int = 3) -> None:
    for step in range(steps):
        mover.zero_grad()
        model(_batch(step, RANK).cuda()).square().mean().backward()
        mover.step()


# ---------------------------------------------------------------- groups


def the_backend_says_nccl() -> None:
    needs_cards(2)
    assert dist.get_backend() == "nccl"
    assert dist.get_backend(dist.new_group([0, 1])) == "nccl"
    assert dist.is_nccl_available()
    assert (dist.get_rank(), dist.get_world_size()) == (RANK, 2)


def nccls_group_has_a_class_and_options() -> None:
    needs_cards(2)
    options = dist.ProcessGroupNCCL.Options(is_high_priority_stream=True)
    options._timeout = timedelta(seconds=30)
    group = dist.new_group([0, 1], backend="nccl", pg_options=options)
    assert dist.get_backend(group) == "nccl"
    x = _mine(1.0)
    dist.all_reduce(x, group=group)
    assert x.item() == 2


def host_and_card_have_a_backend_each() -> None:
    needs_cards(2)
    group = dist.new_group([0, 1], backend="cpu:gloo,cuda:nccl")
    host, card = torch.ones(1), _mine(1.0)
    dist.all_reduce(host, group=group)
    dist.all_reduce(card, group=group)
    assert (host.item(), card.item(), card.is_cuda) == (2, 2, True)


def a_group_of_gloo_is_beside_it() -> None:
    needs_cards(2)
    group = dist.new_group([0, 1], backend="gloo")
    assert dist.get_backend(group) == "gloo"
    x = torch.ones(1)
    dist.all_reduce(x, group=group)
    dist.monitored_barrier(group, timeout=timedelta(seconds=30))
    assert x.item() == 2


def a_group_of_one_rank_works() -> None:
    needs_cards(2)
    groups = [dist.new_group([rank]) for rank in range(2)]
    x = _mine(RANK + 1.0)
    dist.all_reduce(x, group=groups[RANK])
    assert x.item() == RANK + 1


# ---------------------------------------------------------------- collectives


def all_reduce_knows_every_operation() -> None:
    expected = {"SUM": 3.0, "AVG": 1.5, "MAX": 2.0, "MIN": 1.0, "PRODUCT": 2.0}
    for name, value in expected.items():
        x = _mine(RANK + 1.0)
        dist.all_reduce(x, op=getattr(dist.ReduceOp, name))
        assert (x.item(), x.device.index) == (value, RANK)


def all_reduce_multiplies_before_it_sums() -> None:
    x = _mine(RANK + 1.0)
    dist.all_reduce(x, op=dist._make_nccl_premul_sum(2.0))
    assert x.item() == 6


def all_reduce_takes_narrow_numbers() -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.int32, torch.uint8, torch.float64):
        x = _mine(RANK + 1.0, dtype=dtype)
        dist.all_reduce(x)
        assert (x.item(), x.dtype) == (3.0, dtype)


def work_is_waited_for_later() -> None:
    x = _mine(1.0)
    work = dist.all_reduce(x, async_op=True)
    future = work.get_future()
    work.wait()
    assert x.item() == 2
    torch.cuda.synchronize()
    assert work.is_completed()
    assert future.value()[0].is_cuda


def broadcast_reduce_gather_and_scatter() -> None:
    x = _mine(float(RANK))
    dist.broadcast(x, src=1)
    assert x.item() == 1
    parts = [_mine(0.0) for _ in range(2)] if RANK == 0 else None
    dist.gather(_mine(RANK + 5.0), parts, dst=0)
    assert parts is None or [part.item() for part in parts] == [5, 6]
    dist.scatter(x, [_mine(7.0), _mine(8.0)] if RANK == 0 else None, src=0)
    assert x.item() == 7 + RANK
    dist.reduce(x, dst=0)
    assert RANK == 1 or x.item() == 15


def all_gather_in_every_form() -> None:
    parts = [_mine(0.0) for _ in range(2)]
    dist.all_gather(parts, _mine(float(RANK)))
    assert [part.item() for part in parts] == [0, 1]
    whole = torch.empty(4, device="cuda")
    dist.all_gather_into_tensor(whole, _mine(RANK, RANK))
    assert whole.tolist() == [0, 0, 1, 1]
    stacked = torch.empty(2, 2, device="cuda")
    dist.all_gather_into_tensor(stacked, _mine(RANK, RANK))
    assert stacked.tolist() == [[0, 0], [1, 1]]


def uneven_parts_are_gathered() -> None:
    parts = [torch.empty(1, device="cuda"), torch.empty(2, device="cuda")]
    needs_cards(2)
    dist.all_gather(parts, torch.full((RANK + 1,), float(RANK), device="cuda"))
    assert [part.tolist() for part in parts] == [[0], [1, 1]]


def reduce_scatter_in_every_form() -> None:
    out = _mine(0.0)
    dist.reduce_scatter_tensor(out, _mine(1.0, 2.0))
    assert out.item() == 2 * (RANK + 1)
    source = _mine(1.0, 2.0)
    dist.reduce_scatter_tensor(out, source, op=dist.ReduceOp.AVG)
    assert (out.item(), source.tolist()) == (RANK + 1, [1, 2])
    dist.reduce_scatter(out, [_mine(1.0), _mine(2.0)])
    assert out.item() == 2 * (RANK + 1)
    dist.reduce_scatter_tensor(out, _mine(3.0, 4.0), op=dist.ReduceOp.MAX)
    assert out.item() == RANK + 3


def all_to_all_in_every_form() -> None:
    out = _mine(0.0, 0.0)
    dist.all_to_all_single(out, _mine(2.0 * RANK, 2.0 * RANK + 1))
    assert out.tolist() == [RANK, 2 + RANK]
    parts = [_mine(0.0), _mine(0.0)]
    dist.all_to_all(parts, [_mine(2.0 * RANK), _mine(2.0 * RANK + 1)])
    assert [part.item() for part in parts] == [RANK, 2 + RANK]
    uneven = torch.empty(2 if RANK == 0 else 4, device="cuda")
    dist.all_to_all_single(uneven, _mine(RANK, RANK, RANK), [1 + RANK, 1 + RANK], [1, 2])
    assert uneven.tolist() == [0, 1] if RANK == 0 else [0, 0, 1, 1]


def several_collectives_go_as_one() -> None:
    tensors = [_mine(1.0), _mine(2.0, 3.0)]
    from torch.distributed.distributed_c10d import _coalescing_manager

    with _coalescing_manager(device=torch.device("cuda", RANK)):
        for tensor in tensors:
            dist.all_reduce(tensor)
    assert [t.tolist() for t in tensors] == [[2], [4, 6]]
    wholes = [torch.empty(2, device="cuda"), torch.empty(4, device="cuda")]
    with _coalescing_manager(device=torch.device("cuda", RANK), async_ops=True) as works:
        for whole, part in zip(wholes, [_mine(float(RANK)), _mine(RANK, RANK)]):  # noqa: B905
            dist.all_gather_into_tensor(whole, part)
    works.wait()
    assert [w.tolist() for w in wholes] == [[0, 1], [0, 0, 1, 1]]
    parts = [torch.empty(1, device="cuda"), torch.empty(2, device="cuda")]
    with _coalescing_manager(device=torch.device("cuda", RANK)):
        for part, whole in zip(parts, [_mine(1.0, 2.0), _mine(1, 2, 3, 4)]):  # noqa: B905
            dist.reduce_scatter_tensor(part, whole)
    assert [p.tolist() for p in parts] == ([[2], [2, 4]] if RANK == 0 else [[4], [6, 8]])


def send_and_receive() -> None:
    x = _mine(4.0) if RANK == 0 else _mine(0.0)
    if RANK == 0:
        dist.send(x, dst=1)
    else:
        dist.recv(x, src=0)
    assert x.item() == 4
    mail = _mine(0.0)
    works = dist.batch_isend_irecv([dist.P2POp(dist.isend, _mine(RANK + 1.0), 1 - RANK), dist.P2POp(dist.irecv, mail, 1 - RANK)])
    for work in works:
        work.wait()
    assert mail.item() == 2 - RANK


def barriers_and_objects() -> None:
    needs_cards(2)
    dist.barrier()
    dist.barrier(device_ids=[RANK])
    objects: list[Any] = [None, None]
    dist.all_gather_object(objects, {"rank": RANK})
    assert objects == [{"rank": 0}, {"rank": 1}]
    box = [RANK]
    dist.broadcast_object_list(box, src=1)
    assert box == [1]
    got: list[Any] = [None]
    dist.scatter_object_list(got, ["a", "b"] if RANK == 0 else None, src=0)
    assert got == ["ab"[RANK]]


def functional_collectives_give_tensors() -> None:
    from torch.distributed import _functional_collectives as functional

    needs_cards(2)
    group = dist.group.WORLD
    assert group is not None
    assert functional.all_gather_tensor(_mine(float(RANK)), 0, group).tolist() == [0, 1]
    assert functional.all_reduce(_mine(1.0), "sum", group).item() == 2
    assert functional.all_reduce(_mine(RANK + 1.0), "avg", group).item() == 1.5
    assert functional.reduce_scatter_tensor(_mine(1.0, 2.0), "sum", 0, group).item() == 2 * (RANK + 1)
    out = functional.all_to_all_single(_mine(2.0 * RANK, 2.0 * RANK + 1), None, None, group)
    assert out.tolist() == [RANK, 2 + RANK]
    many = functional.all_reduce_coalesced([_mine(1.0), _mine(2.0)], "sum", group)
    assert [t.item() for t in many] == [2, 4]


# ---------------------------------------------------------------- wrappers


def ddp_trains_as_one_process_does() -> None:
    needs_cards(2)
    for options in ({}, {"gradient_as_bucket_view": True}, {"static_graph": True}, {"find_unused_parameters": True}):
        model: Any = DistributedDataParallel(_net().cuda(), device_ids=[RANK], output_device=RANK, **options)
        _train(model, torch.optim.SGD(model.parameters(), lr=0.1))
        for mine, other in zip(model.module.parameters(), _reference().parameters()):  # noqa: B905
            close(mine, other)


def ddp_gathers_gradients_without_syncing() -> None:
    needs_cards(2)
    model = DistributedDataParallel(nn.Linear(2, 1, bias=False).cuda(), device_ids=[RANK])
    with model.no_sync():
        model(_mine(RANK + 1.0, 1.0)[None]).sum().backward()
    assert model.module.weight.grad.tolist() == [[RANK + 1, 1]]
    model(_mine(RANK + 1.0, 1.0)[None]).sum().backward()
    assert model.module.weight.grad.tolist() == [[3, 2]]


def hooks_compress_gradients() -> None:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

    needs_cards(2)
    for hook, state in (
        (default_hooks.fp16_compress_hook, None),
        (default_hooks.bf16_compress_hook, None),
        (default_hooks.allreduce_hook, None),
        (powerSGD_hook.powerSGD_hook, powerSGD_hook.PowerSGDState(None, start_powerSGD_iter=10)),
    ):
        model = DistributedDataParallel(nn.Linear(2, 1, bias=False).cuda(), device_ids=[RANK])
        model.register_comm_hook(state, hook)
        model(_mine(RANK + 1.0, 3.0)[None]).sum().backward()
        assert model.module.weight.grad.tolist() == [[1.5, 3.0]]


def uneven_inputs_are_joined() -> None:
    needs_cards(2)
    model = DistributedDataParallel(nn.Linear(2, 1).cuda(), device_ids=[RANK])
    with model.join():
        for _ in range(2 + RANK):
            model(torch.ones(1, 2, device="cuda")).sum().backward()


def norms_are_synchronised_over_the_ranks() -> None:
    needs_cards(2)
    norm = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(1)).cuda()
    model = DistributedDataParallel(norm, device_ids=[RANK])
    model(_mine(0.0, 2.0)[:, None] + 4 * RANK).sum().backward()
    close(norm.running_mean, torch.tensor([0.3]))


def a_sharded_model_trains_as_one_process_does() -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy

    needs_cards(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for strategy in (ShardingStrategy.FULL_SHARD, ShardingStrategy.SHARD_GRAD_OP):
            model = FullyShardedDataParallel(_net().cuda(), device_id=RANK, sharding_strategy=strategy, use_orig_params=True)
            _train(model, torch.optim.SGD(model.parameters(), lr=0.1))
            with FullyShardedDataParallel.summon_full_params(model):
                for mine, other in zip(model.parameters(), _reference().parameters()):  # noqa: B905
                    close(mine, other)


def fully_shard_trains_as_one_process_does() -> None:
    from torch.distributed.fsdp import fully_shard

    needs_cards(2)
    model = _net().cuda()
    for layer in model.children():
        if list(layer.parameters()):
            fully_shard(layer, mesh=_mesh(2))
    fully_shard(model, mesh=_mesh(2))
    assert type(model[0].weight).__name__ == "DTensor"  # type: ignore[index]
    assert model[0].weight.to_local().shape == (8, 8)  # type: ignore[index]
    _train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    for mine, other in zip(model.parameters(), _reference().parameters()):  # noqa: B905
        close(mine.full_tensor(), other)  # type: ignore[attr-defined]


def fully_shard_computes_in_narrow_numbers() -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    needs_cards(2)
    model = fully_shard(_net().cuda(), mesh=_mesh(2), mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    out = model(_batch(0, RANK).cuda())
    out.float().square().mean().backward()
    assert out.dtype == torch.bfloat16
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def tensors_are_distributed_and_laid_out_again() -> None:
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

    mesh = _mesh(2)
    whole = torch.arange(8.0).reshape(4, 2).cuda()
    rows = distribute_tensor(whole, mesh, [Shard(0)])
    assert rows.to_local().tolist() == whole[2 * RANK : 2 * RANK + 2].tolist()
    columns = rows.redistribute(mesh, [Shard(1)])
    assert columns.to_local().flatten().tolist() == whole[:, RANK].tolist()
    assert columns.redistribute(mesh, [Replicate()]).to_local().tolist() == whole.tolist()
    partial = DTensor.from_local(_mine(1.0), mesh, [Partial()])
    assert partial.full_tensor().item() == 2
    close((rows @ distribute_tensor(torch.ones(2, 2).cuda(), mesh, [Replicate()])).full_tensor(), whole @ torch.ones(2, 2).cuda())


def layers_are_split_over_the_ranks() -> None:
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    needs_cards(2)
    plain = _net()
    model = parallelize_module(_net().cuda(), _mesh(2), {"0": ColwiseParallel(), "2": RowwiseParallel()})
    x = _batch(0, 0)
    found = model(x.cuda())
    close(found, plain(x))
    found.square().mean().backward()
    plain(x).square().mean().backward()
    for mine, other in zip(model.parameters(), plain.parameters()):  # noqa: B905
        close(mine.grad.full_tensor(), other.grad)  # type: ignore[union-attr]


def a_mesh_has_names_and_parts() -> None:
    mesh = _mesh(1, 2, mesh_dim_names=("replicas", "shards"))
    assert (mesh.device_type, mesh.size(), mesh.ndim) == ("cuda", 2, 2)
    assert mesh["shards"].size() == 2
    assert mesh.get_local_rank("shards") == RANK
    x = _mine(1.0)
    dist.all_reduce(x, group=mesh["shards"].get_group())
    assert x.item() == 2
    assert dist.get_backend(mesh["shards"].get_group()) == "nccl"


def a_pipeline_of_two_stages_computes_the_gradients() -> None:
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

    needs_cards(2)
    x = torch.cat([_batch(0, 0), _batch(0, 1)])
    plain = _net()
    plain(x).square().mean().backward()
    layers = list(plain.children())
    for kind in (ScheduleGPipe, Schedule1F1B):
        net = list(_net().cuda().children())
        part = nn.Sequential(*net[:2]) if RANK == 0 else nn.Sequential(*net[2:])
        stage = PipelineStage(part, RANK, 2, torch.device("cuda", RANK))
        steps = kind(stage, n_microbatches=2, loss_fn=lambda y, target: (y - target).square().mean())
        losses: list[torch.Tensor] = []
        if RANK == 0:
            steps.step(x.cuda())
        else:
            steps.step(target=torch.zeros(8, 4, device="cuda"), losses=losses)
            assert len(losses) == 2
        other = layers[0] if RANK == 0 else layers[2]
        close(next(part.parameters()).grad, other.weight.grad)  # type: ignore[arg-type, union-attr]


def an_optimizer_keeps_a_part_of_the_state_on_each_rank() -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    needs_cards(2)
    model: Any = DistributedDataParallel(_net().cuda(), device_ids=[RANK])
    mover = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.Adam, lr=0.1)
    _train(model, mover)
    for mine, other in zip(model.module.parameters(), _reference(optimizer=torch.optim.Adam).parameters()):  # noqa: B905
        close(mine, other, 1e-4)
    mover.consolidate_state_dict(0)
    assert RANK == 1 or len(mover.state_dict()["state"]) == 4


def a_distributed_checkpoint_is_saved_and_loaded() -> None:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
    from torch.distributed.fsdp import fully_shard

    needs_cards(2)
    folder = _shared_folder()
    model = fully_shard(_net().cuda(), mesh=_mesh(2))
    _train(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=1)
    dcp.save({"model": get_model_state_dict(model)}, checkpoint_id=folder)
    other = fully_shard(_net().cuda(), mesh=_mesh(2))
    state = {"model": get_model_state_dict(other)}
    dcp.load(state, checkpoint_id=folder)
    set_model_state_dict(other, state["model"])
    for mine, loaded in zip(model.parameters(), other.parameters()):  # noqa: B905
        close(mine.full_tensor(), loaded.full_tensor())  # type: ignore[attr-defined]


def a_compiled_model_trains_under_ddp() -> None:
    needs_cards(2)
    model: Any = DistributedDataParallel(_net().cuda(), device_ids=[RANK])
    _train(torch.compile(model), torch.optim.SGD(model.parameters(), lr=0.1))
    for mine, other in zip(model.module.parameters(), _reference().parameters()):  # noqa: B905
        close(mine, other, 1e-4)


def gradients_are_clipped_and_scaled_over_ranks() -> None:
    from torch.distributed.fsdp import fully_shard

    needs_cards(2)
    model = fully_shard(_net().cuda(), mesh=_mesh(2))
    model(_batch(0, RANK).cuda()).square().mean().backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    plain = _net()
    plain(torch.cat([_batch(0, 0), _batch(0, 1)])).square().mean().backward()
    expected = nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
    close(norm.full_tensor() if hasattr(norm, "full_tensor") else norm, expected)
