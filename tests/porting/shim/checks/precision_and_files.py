"""Mixed precision by CUDA's rules; files, copies and pickles."""

import copy
import io
import pickle

import torch
import torch.nn.functional as F
from torch import nn


def autocast_follows_cudas_policy():
    x, w = torch.randn(4, 4, device="cuda"), torch.randn(4, 4, device="cuda")
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype=dtype):
            narrow = [F.linear(x, w), x @ w, F.gelu(x @ w), F.conv1d(x[None], w[:, :, None])]
            h = x @ w
            wide = [h.log_softmax(-1), h.softmax(-1), F.layer_norm(h, (4,)), h.exp(), h.sum(), h.pow(2), F.mse_loss(h, h)]
            assert {t.dtype for t in narrow} == {dtype}
            assert {t.dtype for t in wide} == {torch.float32}
            assert F.cross_entropy(h, torch.zeros(4, dtype=torch.long, device="cuda")).dtype == torch.float32
    assert (x @ w).dtype == torch.float32


def autocast_has_its_old_names():
    x = torch.randn(2, 2, device="cuda")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with torch.cuda.amp.autocast():
            assert (x @ x).dtype == torch.float16
        assert torch.cuda.amp.GradScaler().is_enabled()
    assert torch.get_autocast_dtype("cuda") == torch.float16


def autocast_reaches_recurrent_layers():
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert nn.LSTM(4, 3).cuda()(torch.randn(2, 1, 4, device="cuda"))[0].dtype == torch.bfloat16


def a_softmax_may_be_wider_than_its_input():
    x = torch.randn(3, 4, device="cuda", dtype=torch.float16, requires_grad=True)
    for function in (F.softmax, F.log_softmax):
        y = function(x, dim=-1, dtype=torch.float32)
        assert y.dtype == torch.float32
        (y * torch.arange(4, device="cuda")).sum().backward()
        assert x.grad.dtype == torch.float16
        torch.testing.assert_close(y.cpu(), function(x.detach().cpu().float(), dim=-1))


def the_scaler_scales_skips_and_grows():
    model = nn.Linear(2, 1).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=8.0, growth_interval=1)
    loss = model(torch.ones(1, 2, device="cuda")).sum()
    assert scaler.scale(loss).item() == 8 * loss.item()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    assert model.weight.grad.tolist() == [[1, 1]]
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 16
    before = model.weight.detach().clone()
    optimizer.zero_grad()
    scaler.scale(model(torch.full((1, 2), float("inf"), device="cuda")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(model.weight, before)
    assert scaler.get_scale() == 8


def round_trip(thing, **options):
    file = io.BytesIO()
    torch.save(thing, file)
    file.seek(0)
    return torch.load(file, **options)


def saved_tensors_come_back_to_their_card():
    assert round_trip({"x": torch.ones(2, device="cuda:1")})["x"].device.index == 1


def map_location_takes_every_form():
    x = torch.ones(2, device="cuda:1")
    places = ["cuda", "cuda:0", "cpu", torch.device("cuda", 0), {"cuda:1": "cuda:0"}, lambda storage, place: storage.cuda(0)]
    found = [str(round_trip(x, map_location=place).device) for place in places]
    assert found == ["cuda:0", "cuda:0", "cpu", "cuda:0", "cuda:0", "cuda:0"]
    assert round_trip(torch.ones(2), map_location="cuda").is_cuda
    assert round_trip(x, map_location=lambda storage, place: storage).device.type == "cpu"


def shared_storages_stay_shared_in_a_file():
    x = torch.zeros(4, device="cuda")
    a, b = round_trip([x[:2], x[2:]])
    assert a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
    assert a.is_cuda


def a_file_whose_name_says_cuda_is_just_a_file():
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cuda")
        torch.save(torch.ones(1), path)
        assert torch.load(path).tolist() == [1]


def a_model_and_its_optimizer_go_through_a_checkpoint():
    model = nn.Linear(3, 2).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.ones(1, 3, device="cuda")).sum().backward()
    optimizer.step()
    saved = round_trip({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, map_location="cuda", weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    optimizer.step()


def copies_and_pickles_keep_the_card():
    x = torch.arange(3.0, device="cuda:1")
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone()):
        assert other.device == x.device
        assert other.tolist() == [0, 1, 2]
        assert other.data_ptr() != x.data_ptr()
    model = copy.deepcopy(nn.Linear(2, 2).cuda())
    assert model.weight.is_cuda
