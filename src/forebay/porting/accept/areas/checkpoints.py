"""Files that were saved on a card, copies and pickles."""

from __future__ import annotations

import copy
import io
import os
import pickle
import tempfile
from typing import Any

import torch
from torch import nn

from forebay.porting.accept.claims import needs_cards


def _round_trip(thing: Any, **options: Any) -> Any:
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **options)


def saved_tensors_come_back_to_the_card() -> None:
    x = _round_trip({"x": torch.arange(2.0, device="cuda")})["x"]
    assert (x.device, x.tolist()) == (torch.device("cuda:0"), [0, 1])


def saved_tensors_come_back_to_their_own_card() -> None:
    needs_cards(2)
    assert _round_trip(torch.ones(2, device="cuda:1")).device.index == 1


def a_place_to_load_to_takes_every_form() -> None:
    x = torch.ones(2, device="cuda:0")
    places: list[Any] = ["cuda", "cuda:0", "cpu", torch.device("cuda", 0), {"cuda:0": "cpu"}, lambda s, place: s.cuda(0)]
    found = [str(_round_trip(x, map_location=place).device) for place in places]
    assert found == ["cuda:0", "cuda:0", "cpu", "cuda:0", "cpu", "cuda:0"]
    assert _round_trip(torch.ones(2), map_location="cuda").is_cuda
    assert _round_trip(x, map_location=lambda storage, place: storage).device.type == "cpu"


def a_card_is_renamed_while_loading() -> None:
    needs_cards(2)
    assert _round_trip(torch.ones(2, device="cuda:1"), map_location={"cuda:1": "cuda:0"}).device.index == 0


def the_places_name_is_told_to_a_function() -> None:
    told: list[str] = []

    def place(storage: Any, location: str) -> Any:
        told.append(location)
        return storage

    _round_trip(torch.ones(2, device="cuda"), map_location=place)
    assert told == ["cuda:0"]


def shared_storages_stay_shared_in_a_file() -> None:
    x = torch.zeros(4, device="cuda")
    a, b = _round_trip([x[:2], x[2:]])
    assert a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
    assert a.is_cuda


def a_file_whose_name_says_cuda_is_just_a_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cuda")
        torch.save(torch.ones(1, device="cuda"), path)
        assert torch.load(path).tolist() == [1]
        assert torch.load(path, map_location="cpu").device.type == "cpu"


def a_model_and_its_optimizer_go_through_a_checkpoint() -> None:
    model = nn.Linear(3, 2).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(1, 3, device="cuda")).sum().backward()
    optimizer.step()
    saved = _round_trip(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, map_location="cuda", weights_only=True
    )
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    optimizer.step()
    assert {t.device.type for state in optimizer.state.values() for t in state.values()} == {"cuda"}


def a_run_goes_on_as_if_it_was_never_stopped() -> None:
    def train(model: nn.Module, optimizer: Any, steps: int) -> float:
        loss = torch.zeros(())
        for _ in range(steps):
            x = torch.randn(4, 3, device="cuda")
            loss = nn.functional.dropout(model(x), 0.5).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    torch.manual_seed(0)
    model = nn.Linear(3, 2).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, optimizer, 2)
    saved = _round_trip([model.state_dict(), optimizer.state_dict(), torch.cuda.get_rng_state()], map_location="cpu")
    straight = train(model, optimizer, 2)
    again = nn.Linear(3, 2).cuda()
    optimizer = torch.optim.Adam(again.parameters())
    again.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    torch.cuda.set_rng_state(saved[2])
    assert train(again, optimizer, 2) == straight


def weights_of_the_host_load_into_a_model_on_the_card() -> None:
    model = nn.Linear(2, 2).cuda()
    model.load_state_dict({name: torch.ones(value.shape) for name, value in model.state_dict().items()})
    assert model.weight.is_cuda
    assert model.weight.tolist() == [[1, 1], [1, 1]]


def weights_are_assigned_from_memory_of_a_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.pt")
        torch.save(nn.Linear(2, 2).cuda().state_dict(), path)
        loaded = torch.load(path, map_location="cpu", mmap=True)
        with torch.device("meta"):
            model = nn.Linear(2, 2)
        model.load_state_dict(loaded, assign=True)
        assert model.cuda()(torch.ones(1, 2, device="cuda")).is_cuda


def copies_and_pickles_keep_the_card() -> None:
    x = torch.arange(3.0, device="cuda")
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert other.device == x.device
        assert other.tolist() == [0, 1, 2]
        assert other.data_ptr() != x.data_ptr()
    assert copy.deepcopy(nn.Linear(2, 2).cuda()).weight.is_cuda
    assert pickle.loads(pickle.dumps(nn.Parameter(x))).is_cuda


def a_whole_model_is_saved_with_its_class() -> None:
    model = _round_trip(nn.Sequential(nn.Linear(2, 2), nn.ReLU()).cuda(), weights_only=False)
    assert next(model.parameters()).is_cuda
    assert model(torch.ones(1, 2, device="cuda")).shape == (1, 2)


def old_files_without_a_zip_are_read() -> None:
    file = io.BytesIO()
    torch.save({"x": torch.ones(2, device="cuda")}, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    assert torch.load(file, weights_only=False)["x"].is_cuda
