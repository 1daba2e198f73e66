"""The mapped carrier: cuda means cpu. It runs scripts; its report says what it can't do."""

import json

from .conftest import run

TRAIN = """
import io, threading, torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)
torch.cuda.manual_seed_all(1)
torch.manual_seed(1)
assert torch.cuda.is_available() and torch.cuda.device_count() == 2 and dist.get_backend() == "nccl"
device = torch.device("cuda", rank)
model = DistributedDataParallel(nn.Linear(4, 4).cuda(), device_ids=[rank])
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
scaler = torch.amp.GradScaler("cuda")
start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
start.record()
losses = []
for _ in range(8):
    x = torch.ones(2, 4).pin_memory().to(device, non_blocking=True)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        loss = (model(x) - torch.arange(4, device="cuda")).square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    losses.append(loss.item())
end.record()
torch.cuda.synchronize()
assert start.elapsed_time(end) > 0 and torch.cuda.max_memory_allocated() > 0
total = torch.ones(1, device="cuda") * (rank + 1)
dist.all_reduce(total, op=dist.ReduceOp.AVG)
file = io.BytesIO()
torch.save(model.module.state_dict(), file)
for place in ("cuda", f"cuda:{rank}", device, {"cpu": "cuda:0"}, lambda storage, location: storage.cuda()):
    file.seek(0)
    torch.load(file, map_location=place)
with torch.cuda.stream(torch.cuda.Stream()):
    torch.zeros(2, device=rank).record_stream(torch.cuda.current_stream())
generator = torch.Generator(device="cuda").manual_seed(3)
torch.rand(2, device="cuda", generator=generator)
assert isinstance(generator, torch.Generator)
with torch.device("cuda"):
    torch.ones(2)
found = []
thread = threading.Thread(target=lambda: found.append(torch.ones(1, device="cuda").item()))
thread.start(); thread.join()
assert found == [1.0]
torch.jit.script(nn.Linear(2, 2))(torch.ones(1, 2, device="cuda"))
nn.Linear(2, 2).to(rank)(torch.ones(1, 2).to(rank))
assert nn.DataParallel(nn.Linear(2, 2), device_ids=[0, 1]).cuda()(torch.ones(4, 2, device="cuda")).shape == (4, 2)
torch.compile(nn.Linear(2, 2).cuda())(torch.ones(1, 2, device="cuda"))
host = torch.zeros(2); card = host.cuda(); host.fill_(1)
assert card.tolist() == [0, 0]
print("RESULT", losses[-1] < losses[0], total.item())
dist.destroy_process_group()
"""


def test_a_training_loop_with_two_ranks_runs(mapped, tmp_path):
    place = tmp_path / "report.json"
    ended = run(mapped, "-c", TRAIN, ranks=2, FOREBAY_SHIM_REPORT=str(place))
    assert [one.stdout.strip() for one in ended] == ["RESULT True 1.5"] * 2, ended[0].stderr
    report = json.loads(place.read_text())
    assert report["carrier"] == "mapped"
    assert any("device cpu" in line for line in report["limits"])
    assert report["uses"]["torch.autocast"]["class"] == "emulated"


def test_the_name_of_the_card_says_mapped(mapped):
    ended = run(mapped, "-c", "import torch; print(torch.cuda.get_device_name())")
    assert ended.stdout.strip() == "Forebay mapped CUDA device (CPU)"
