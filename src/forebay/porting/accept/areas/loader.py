"""DataLoader, pinned batches and workers."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset


class _Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.full((2,), float(index)), "name": str(index), "pair": (torch.tensor(index), index)}


class _OnTheCard(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1,), float(index), device="cuda")


class _Box:
    """A batch of one's own, which knows how to pin itself."""

    def __init__(self, items: list[Any]) -> None:
        self.x = torch.stack([item["x"] for item in items])

    def pin_memory(self) -> _Box:
        self.x = self.x.pin_memory()
        return self


def batches_are_pinned() -> None:
    data = TensorDataset(torch.arange(8.0))
    for workers in (0, 2):
        batches = [batch for (batch,) in DataLoader(data, batch_size=4, num_workers=workers, pin_memory=True)]
        assert all(batch.is_pinned() for batch in batches)
        assert torch.cat([batch.cuda(non_blocking=True) for batch in batches]).tolist() == list(range(8))


def batches_are_not_pinned_unless_asked() -> None:
    assert torch.cuda.is_available()
    (batch,) = next(iter(DataLoader(TensorDataset(torch.arange(8.0)), batch_size=4)))
    assert not batch.is_pinned()


def nested_batches_are_pinned_through() -> None:
    batch = next(iter(DataLoader(_Numbers(), batch_size=4, num_workers=1, pin_memory=True)))
    assert batch["x"].is_pinned()
    assert batch["pair"][0].is_pinned()
    assert batch["name"] == ["0", "1", "2", "3"]


def a_batch_of_ones_own_pins_itself() -> None:
    batch = next(iter(DataLoader(_Numbers(), batch_size=4, collate_fn=_Box, pin_memory=True)))
    assert batch.x.is_pinned()


def the_device_to_pin_for_can_be_named() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = DataLoader(TensorDataset(torch.arange(4.0)), batch_size=2, pin_memory=True, pin_memory_device="cuda")
        assert all(batch.is_pinned() for (batch,) in loader)


def workers_that_persist_serve_several_epochs() -> None:
    loader = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=4, num_workers=2, persistent_workers=True, pin_memory=True)
    for _ in range(3):
        assert sum(batch.cuda().sum().item() for (batch,) in loader) == 28
    del loader


def spawned_workers_work_beside_a_card_in_use() -> None:
    torch.ones(1, device="cuda")
    loader = DataLoader(_Numbers(), batch_size=4, num_workers=1, multiprocessing_context="spawn", pin_memory=True)
    assert [batch["x"].cuda().sum().item() for batch in loader] == [12, 44]


def forked_workers_work_beside_a_card_in_use() -> None:
    model = torch.nn.Linear(2, 1).cuda()
    loader = DataLoader(_Numbers(), batch_size=4, num_workers=2, multiprocessing_context="fork", pin_memory=True)
    for batch in loader:
        model(batch["x"].cuda(non_blocking=True)).sum().backward()
    assert model.weight.grad is not None


def tensors_of_the_card_are_collated_there() -> None:
    batch = next(iter(DataLoader(_OnTheCard(), batch_size=4)))
    assert (batch.is_cuda, batch.flatten().tolist()) == (True, [0, 1, 2, 3])


def a_shuffle_by_the_hosts_seed_leaves_the_card_alone() -> None:
    def order() -> list[float]:
        generator = torch.Generator().manual_seed(3)
        return [x.item() for (x,) in DataLoader(TensorDataset(torch.arange(8.0)), shuffle=True, generator=generator)]

    before = torch.cuda.get_rng_state()
    assert order() == order() != list(range(8))
    assert torch.equal(torch.cuda.get_rng_state(), before)


def a_sampler_deals_the_data_to_ranks() -> None:
    from torch.utils.data.distributed import DistributedSampler

    data = TensorDataset(torch.arange(8.0))
    found = []
    for rank in range(2):
        sampler: Any = DistributedSampler(data, num_replicas=2, rank=rank, shuffle=False)
        found += [x.cuda().item() for (x,) in DataLoader(data, sampler=sampler)]
    assert sorted(found) == list(range(8))
