"""What the simulated CUDA device costs: a training step of the example, with and without it.

    python benchmarks/shim_overhead.py [--rounds 12] [--steps 10] [--ranks 1] [--dtype bf16] [--json]

Side A is the model and the batches of examples/train_gpt.py with the CUDA words taken out by hand (HOST) and the number
formats that CUDA's autocast gives written in; side B is the example's own text under the shim. Each side keeps its processes
for the whole run. Rounds alternate, A B B A A B ...; a round's figure is the CPU seconds of all its processes, all threads.
The ratio is the median over rounds of B to A next to each other, which a busy machine moves least; the losses of both sides
are shown, and must agree: they did the same work.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "train_gpt.py"

# CUDA's words -> the host's. Each must be found, so that a change of the example can't go unseen.
HOST = {
    'device="cuda"': 'device="cpu"',
    ".pin_memory()": "",
    '.to("cuda", non_blocking=True)': "",
    'torch.autocast("cuda", dtype=dtype)': 'torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32)',
    # CUDA's autocast runs these norms in fp32, the CPU's in what comes; its cross entropy keeps the logits' format
    "self.norm_1(x_BTD)": "self.norm_1(x_BTD.float())",
    "self.norm_2(x_BTD)": "self.norm_2(x_BTD.float())",
    "self.norm(x_BTD)": "self.norm(x_BTD.float())",
    "F.cross_entropy(logits_BTV.flatten(0, 1), targets.flatten())": (
        "F.nll_loss(F.log_softmax(logits_BTV.flatten(0, 1), -1).float(), targets.flatten())"
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="rounds of each side")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a round")
    parser.add_argument("--ranks", type=int, default=1, help="processes of each side, joined by DistributedDataParallel")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--cache", type=Path, help="where the compiled device is kept")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--side", choices=("host", "shim"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        train_on_request(args)
        return
    figures = compare(args)
    if args.json:
        print(json.dumps(figures))
        return
    shape = f"{args.layers} layers, width {args.width}, {args.batch} x {args.context} tokens, {args.dtype}"
    print(f"{shape}, {args.ranks} rank(s), {args.rounds} rounds of {args.steps} steps a side")
    print(f"host  {figures['host_cpu_s'] * 1e3:8.2f} CPU ms a step   loss {figures['host_loss']:.5f}")
    print(f"shim  {figures['shim_cpu_s'] * 1e3:8.2f} CPU ms a step   loss {figures['shim_loss']:.5f}")
    print(f"ratio {figures['ratio']:8.4f}  ({100 * (figures['ratio'] - 1):+.2f} %; goal: under +3 %)")


def compare(args):
    sides = {side: start(side, args) for side in ("host", "shim")}
    try:
        spent = {side: [] for side in sides}
        loss = {}
        for side in sides:  # the first steps of each are warm-up
            one_round(sides[side])
        for i in range(args.rounds):
            for side in ("host", "shim") if i % 2 == 0 else ("shim", "host"):
                seconds, loss[side] = one_round(sides[side])
                spent[side].append(seconds / args.steps)
    finally:
        for process in (p for ranks in sides.values() for p in ranks):
            process.stdin.close()
            process.wait(60)
    host, shim = (statistics.median(spent[side]) for side in ("host", "shim"))
    return {
        "host_cpu_s": host,
        "shim_cpu_s": shim,
        "ratio": statistics.median(b / a for a, b in zip(spent["host"], spent["shim"], strict=True)),
        "host_loss": loss["host"],
        "shim_loss": loss["shim"],
        "rounds": args.rounds,
        "steps": args.steps,
        "ranks": args.ranks,
        "dtype": args.dtype,
    }


def start(side, args):
    """The processes of one side, waiting for their first request."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    if side == "shim":
        from forebay.porting.shim import load
        from forebay.porting.shim.__main__ import default_cache
        from forebay.porting.shim.carrier import choose

        carrier = choose(args.cache or default_cache(), lambda line: print(line, file=sys.stderr))
        if carrier.kind != "simulated":
            raise SystemExit(f"nothing to measure: {carrier.why}")
        environment.update(load.child_environment(carrier, args.ranks))
    options = [f"--{name}={getattr(args, name)}" for name in ("steps", "ranks", "dtype", "layers", "width", "batch", "context")]
    return [
        subprocess.Popen(
            [sys.executable, __file__, f"--side={side}", *options],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(args.ranks)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(args.ranks)
    ]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def one_round(ranks):
    """CPU seconds of all ranks together, and the first one's last loss."""
    for process in ranks:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.stdout.readline().split() for process in ranks]
    if not all(answers):
        raise SystemExit("a process of the benchmark ended early; its words are above")
    return sum(float(seconds) for seconds, _ in answers), float(answers[0][1])


def train_on_request(args):
    """A child: `steps` training steps for each line on stdin; it answers with the CPU seconds and the loss."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    source = EXAMPLE.read_text()
    if args.side == "host":
        for word, plain in HOST.items():
            if word not in source:
                raise SystemExit(f"{EXAMPLE} has changed: no {word} in it; HOST must follow")
            source = source.replace(word, plain)
    example = {"__name__": "example"}
    sys.modules["example"] = type(sys)("example")  # dataclasses look their module up
    exec(compile(source, str(EXAMPLE), "exec"), example)

    on_card = args.side == "shim"
    rank = int(os.environ["RANK"])
    dist.init_process_group("nccl" if on_card else "gloo")
    torch.manual_seed(1)
    if on_card:
        torch.cuda.set_device(rank)
        torch.cuda.manual_seed_all(1)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    text = (torch.arange(200_000) * 7919 % 251 % 97).to(torch.uint8)
    model = example["GPT"](example["Shape"](args.layers, args.width, max(1, args.width // 32), args.context))
    model = model.cuda() if on_card else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    model = DistributedDataParallel(model, device_ids=[rank] if on_card else None)

    step = 0
    for _ in sys.stdin:
        began = time.process_time()
        for _ in range(args.steps):
            inputs, targets = example["draw"](text, args.batch, args.context, 1, step, rank)
            loss = example["loss_of"](model, inputs, targets, dtype)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
        print(time.process_time() - began, loss.item(), flush=True)


if __name__ == "__main__":
    main()
