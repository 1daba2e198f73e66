"""A small training script as people write them for one card. Ours; it is run before and after the rewrite."""

import argparse
import io

import torch
import torch.nn as nn
from torch.cuda.amp import GradScaler, autocast

parser = argparse.ArgumentParser()
parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
args = parser.parse_args([])


def seed(number):
    torch.manual_seed(number)
    torch.cuda.manual_seed_all(number)


def main():
    seed(1)
    torch.cuda.set_device(0)
    torch.backends.cudnn.benchmark = True
    print(f"on a card as asked: {args.device == 'cuda'}" if torch.cuda.is_available() else "on a card as asked: True")
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)).cuda()
    x, y = torch.randn(64, 8).pin_memory().cuda(non_blocking=True), torch.randn(64, 1).to("cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = GradScaler(enabled=False)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.Stream()
    start.record()
    for _ in range(8):
        stream.wait_stream(torch.cuda.current_stream())
        with autocast(enabled=False), torch.cuda.stream(stream):
            loss = ((model(x) - y) ** 2).mean()
        torch.cuda.current_stream().wait_stream(stream)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        print(f"{loss.item():.5f}")
    end.record()
    torch.cuda.synchronize()
    assert start.elapsed_time(end) >= 0
    kept = io.BytesIO()
    torch.save({"model": model.state_dict(), "rng": torch.cuda.get_rng_state_all()}, kept)
    kept.seek(0)
    state = torch.load(kept, map_location=f"cuda:{torch.cuda.current_device()}")
    model.load_state_dict(state["model"])
    weights = torch.cuda.FloatTensor([1, 2]).sum() + x.type(torch.cuda.HalfTensor).float().mean() * 0
    assert x.is_cuda == weights.is_cuda
    print(f"{torch.cuda.memory_allocated() >= 0} {weights.item():.1f} {len(torch.cuda.get_device_name(0)) > 0}")
    torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
