"""What an operator and a training step cost under the simulated CUDA device, against native CPU.

    python benchmarks/porting_overhead.py [--rounds 5] [--only NAME] [--cache DIR] [--json]

Operators: thread CPU time of a call on 16 floats, the least of several repeats, in alternating child processes of both sides; the
figure is the difference. Training steps: ResNet-18 (He et al. 2016, the form for 32 x 32 images) and a small GPT-2 (Radford et
al. 2019), forward, backward and SGD in fp32 with plain torch.nn; process CPU time, the least of several steps in each child; the
ratio is the median over rounds of the two sides next to each other.

Bars: 1.5 microseconds an operator; a step within 1.1 x of native CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BAR_US, BAR_RATIO = 1.5, 1.1
SIDES = ("cpu", "cuda")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="children of each side (default 5)")
    parser.add_argument("--only", choices=("operators", "resnet18", "gpt2"), help="one of the measurements")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "forebay" / "shim", help="of the compiled device")
    parser.add_argument("--json", action="store_true", help="one JSON document in place of the table")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, device = args.child
        print("MEASURED " + json.dumps(MEASURED[what](device)))
        return
    names = [args.only] if args.only else list(MEASURED)
    figures = {name: rounds(name, args) for name in names}
    if args.json:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        show(name, figure)


def rounds(name: str, args: argparse.Namespace) -> dict[str, Any]:
    from forebay.porting.shim import load
    from forebay.porting.shim.build import build
    from forebay.porting.shim.carrier import Carrier

    carrier = Carrier("simulated", "for the benchmark", build(args.cache, say=lambda line: print(line, file=sys.stderr)))
    told: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for number in range(args.rounds):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            extra = load.child_environment(carrier, 1) if side == "cuda" else {}
            words = [sys.executable, __file__, "--child", name, side]
            environment = {**os.environ, **extra, "OMP_NUM_THREADS": "1"}
            ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
            lines = [line[9:] for line in ended.stdout.splitlines() if line.startswith("MEASURED ")]
            if not lines:
                raise SystemExit(f"{' '.join(words)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
            told[side].append(json.loads(lines[0]))
    figures: dict[str, Any] = {}
    for key in told["cpu"][0]:
        native, ours = [one[key] for one in told["cpu"]], [one[key] for one in told["cuda"]]
        ratios = [mine / its for mine, its in zip(ours, native, strict=True)]
        figures[key] = {"cpu_s": min(native), "cuda_s": min(ours), "ratio": statistics.median(ratios)}
    return figures


def show(name: str, figures: dict[str, Any]) -> None:
    for key, f in figures.items():
        if name == "operators":
            added = (f["cuda_s"] - f["cpu_s"]) * 1e6
            verdict = "kept" if added <= BAR_US else "MISSED"
            print(f"{key:22} {f['cpu_s'] * 1e6:7.2f} us  {f['cuda_s'] * 1e6:7.2f} us  +{added:.2f} us  (bar {BAR_US}: {verdict})")
        elif key == "loss":
            print(f"{name:10} loss {f['cpu_s']:.5f} and {f['cuda_s']:.5f}")
        else:
            verdict = "kept" if f["ratio"] <= BAR_RATIO else "MISSED"
            times = f"{f['cpu_s'] * 1e3:.1f} ms, {f['cuda_s'] * 1e3:.1f} ms"
            print(f"{name:10} {key}: {times}, ratio {f['ratio']:.3f}  (bar {BAR_RATIO}: {verdict})")


# ---------------------------------------------------------------- the children


def operators(device: str) -> dict[str, float]:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    x, y, m = (torch.ones(16, device=device) for _ in range(3))
    w, one = torch.ones(4, 4, device=device), torch.ones((), device=device)
    calls: dict[str, Callable[[], Any]] = {
        "x + y": lambda: x + y,
        "x.add_(y)": lambda: x.add_(y),
        "x.view(4, 4)": lambda: x.view(4, 4),
        "torch.zeros(16)": lambda: torch.zeros(16, device=device),
        "torch.empty(16)": lambda: torch.empty(16, device=device),
        "F.relu(x)": lambda: F.relu(x),
        "x.sum()": lambda: x.sum(),
        "w @ w": lambda: w @ w,
        "torch.cat([x, y])": lambda: torch.cat([x, y]),
        "m.copy_(x)": lambda: m.copy_(x),
        "w.softmax(-1)": lambda: w.softmax(-1),
        "one.item()": lambda: one.item(),
    }
    with torch.no_grad():
        return {name: least(call) for name, call in calls.items()}


def least(call: Callable[[], Any], repeats: int = 15, times: int = 1000) -> float:
    """Seconds of thread CPU time a call, in the quietest of the repeats."""
    for _ in range(times):
        call()
    best = float("inf")
    for _ in range(repeats):
        began = time.thread_time()
        for _ in range(times):
            call()
        best = min(best, (time.thread_time() - began) / times)
    return best


def steps(model: Any, inputs: Any, targets: Any, device: str, count: int) -> dict[str, float]:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    model, inputs, targets = model.to(device), inputs.to(device), targets.to(device)
    optimiser = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    spent = []
    for _ in range(count + 2):  # the first two are warm-up
        began = time.process_time()
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
        loss.backward()
        optimiser.step()
        spent.append(time.process_time() - began)
    return {"step": min(spent[2:]), "loss": loss.item()}


def resnet18(device: str) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, inside: int, out: int, stride: int) -> None:
            super().__init__()
            self.conv_1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
            self.norm_1 = nn.BatchNorm2d(out)
            self.conv_2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.norm_2 = nn.BatchNorm2d(out)
            short = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            self.short = nn.Identity() if stride == 1 and inside == out else short

        def forward(self, x: Any) -> Any:
            y = self.norm_2(self.conv_2(F.relu(self.norm_1(self.conv_1(x)))))
            return F.relu(y + self.short(x))

    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inside = 64
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inside, out, stride), Block(out, out, 1)]
        inside = out
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    return steps(model, torch.randn(8, 3, 32, 32), torch.randint(10, (8,)), device, 4)


def gpt2(device: str) -> dict[str, float]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    width, heads, context, words = 192, 6, 128, 2048

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in self.qkv(self.norm_1(x)).chunk(3, -1))
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))

    class GPT2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(words, width), nn.Embedding(context, width)
            self.layers = nn.Sequential(*(Layer() for _ in range(4)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
            self.head.weight = self.words.weight

        def forward(self, tokens: Any) -> Any:
            x = self.words(tokens) + self.places(torch.arange(context, device=tokens.device))
            return self.head(self.norm(self.layers(x)))

    torch.manual_seed(0)
    tokens = torch.randint(words, (4, context + 1))
    return steps(GPT2(), tokens[:, :-1], tokens[:, 1:].contiguous(), device, 6)


MEASURED: dict[str, Callable[[str], dict[str, float]]] = {"operators": operators, "resnet18": resnet18, "gpt2": gpt2}


if __name__ == "__main__":
    main()
