"""Train a small GPT on a folder of text, one byte a token.

    torchrun --nproc-per-node 2 train_gpt.py --data data --out out

Every GPU holds a copy of the model and draws batches of its own; DistributedDataParallel averages their gradients. The
checkpoint is out/checkpoint.pt. Where there is one, training goes on from it, with the samples it would have seen next.
Bytes need no tokenizer: the vocabulary is 256, and the loss is in nats per byte.
"""

import argparse
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

VOCABULARY = 256
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# ---------------------------------------------------------------- model
# Axes: B sequences, T bytes, D width, H heads, K width of a head, V vocabulary.


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    context: int


class Block(nn.Module):
    """Attention to the bytes before, then a small network on each byte."""

    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        self.norm_1 = nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.merge = nn.Linear(shape.width, shape.width, bias=False)
        self.norm_2 = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x_BTD):
        B, T, D = x_BTD.shape
        qkv_BTD = self.qkv(self.norm_1(x_BTD)).split(D, dim=2)
        q_BHTK, k_BHTK, v_BHTK = (t.view(B, T, self.heads, D // self.heads).transpose(1, 2) for t in qkv_BTD)
        a_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
        x_BTD = x_BTD + self.merge(a_BHTK.transpose(1, 2).reshape(B, T, D))
        return x_BTD + self.down(F.gelu(self.up(self.norm_2(x_BTD))))


class GPT(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.recent = nn.ModuleList(nn.Embedding(VOCABULARY, shape.width) for _ in range(4))
        self.places = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, VOCABULARY, bias=False)
        self.apply(self.start)
        for block in self.blocks:  # what each block adds starts small, so that depth does not blow up the sum
            for layer in (block.merge, block.down):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * shape.layers))

    @staticmethod
    def start(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, bytes_BT):
        T = bytes_BT.shape[1]
        x_BTD = self.places(torch.arange(T, device="cuda"))
        for back, table in enumerate(self.recent):  # each place sees its byte and the three before it, at next to no cost
            x_BTD = x_BTD + table(F.pad(bytes_BT, (back, 0))[:, :T])
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.head(self.norm(x_BTD))


# ---------------------------------------------------------------- data


def read_text(folder):
    """All text files of the folder as one row of bytes. A file with a zero byte in it is no text."""
    text = bytearray()
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and b"\0" not in (body := path.read_bytes()):
            text += body
    if len(text) < 10_000:
        raise SystemExit(f"{folder}: {len(text)} bytes of text, too little to train on")
    return torch.frombuffer(text, dtype=torch.uint8)


def draw(text, batch, context, *numbers):
    """A batch of random pieces and what follows each byte. The same numbers give the same batch, in any run."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % 2**62
    starts = torch.randint(len(text) - context - 1, (batch,), generator=torch.Generator().manual_seed(seed))
    pieces = torch.stack([text[start : start + context + 1] for start in starts.tolist()]).pin_memory()
    pieces = pieces.to("cuda", non_blocking=True).long()
    return pieces[:, :-1], pieces[:, 1:]


# ---------------------------------------------------------------- training


def loss_of(model, inputs, targets, dtype):
    with torch.autocast("cuda", dtype=dtype):
        logits_BTV = model(inputs)
        return F.cross_entropy(logits_BTV.flatten(0, 1), targets.flatten())


@torch.no_grad()
def validate(model, text, args, rank, world, batches=4):
    """Mean loss on held-out text. The batches are the same at every call, so that the figures can be compared."""
    model.eval()
    total = torch.zeros((), device="cuda")
    for i in range(batches):
        total += loss_of(model, *draw(text, args.batch, args.context, args.seed, i, rank), DTYPES[args.dtype])
    model.train()
    dist.all_reduce(total)
    return total.item() / (batches * world)


def learning_rate(step, args):
    """A short warm-up, then half a cosine down to a tenth."""
    warmup = max(1, args.steps // 20)
    if step < warmup:
        return args.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, args.steps - warmup)
    return args.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def save(path, **state):
    """Write the whole checkpoint beside the old one, then swap: a crash leaves one or the other, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    torch.save(state, draft)
    os.replace(draft, path)


def main():
    parser = argparse.ArgumentParser(description="Train a small GPT on a folder of text, one byte a token.")
    parser.add_argument("--data", default="data", help="folder of text files")
    parser.add_argument("--out", default="out", help="folder for the checkpoint")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=8, help="sequences per GPU and step")
    parser.add_argument("--context", type=int, default=64, help="bytes per sequence")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--checkpoint-every", type=int, default=50, help="steps")
    parser.add_argument("--log-every", type=int, default=10, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    dist.init_process_group("nccl")
    rank, world, local_rank = dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"])
    torch.cuda.set_device(local_rank)
    torch.manual_seed(args.seed)
    torch.cuda.manual_seed_all(args.seed)

    text = read_text(args.data)
    cut = len(text) * 19 // 20
    train_text, held_out = text[:cut], text[cut:]

    shape = Shape(args.layers, args.width, args.heads, args.context)
    model = GPT(shape).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    scaler = torch.amp.GradScaler("cuda", enabled=args.dtype == "fp16")  # bf16 has the range of fp32 and needs no scaling

    checkpoint, first_step = Path(args.out) / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cuda", weights_only=True)
        if saved["shape"] != asdict(shape):
            raise SystemExit(f"{checkpoint} holds a model of another shape: {saved['shape']}")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scaler.load_state_dict(saved["scaler"])
        first_step = saved["step"]
    model = DistributedDataParallel(model, device_ids=[local_rank])

    if rank == 0:
        size = sum(p.numel() for p in model.parameters())
        print(f"{len(text):,} bytes of text | {size:,} parameters | {world} x {torch.cuda.get_device_name()} | {args.dtype}")
        print(f"going on from step {first_step}" if first_step else "starting afresh", flush=True)

    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    loss_sum, since = torch.zeros((), device="cuda"), first_step
    began.record()
    for step in range(first_step, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        inputs, targets = draw(train_text, args.batch, args.context, args.seed, step, rank)
        loss = loss_of(model, inputs, targets, DTYPES[args.dtype])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        loss_sum += loss.detach()

        done, last = step + 1, step + 1 == args.steps
        if done % args.log_every == 0 or last:
            ended.record()
            torch.cuda.synchronize()
            step_ms = began.elapsed_time(ended) / (done - since)
            dist.all_reduce(loss_sum)
            line = f"step {done}/{args.steps} | loss {loss_sum.item() / (world * (done - since)):.3f}"
            if done % args.checkpoint_every == 0 or last:
                line += f" | val {validate(model, held_out, args, rank, world):.3f}"
            speed = world * args.batch * args.context / step_ms * 1000
            line += f" | {speed:,.0f} tok/s | {step_ms:.1f} ms | {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"
            if rank == 0:
                print(line, flush=True)
            loss_sum.zero_()
            since = done
            began.record()
        if (done % args.checkpoint_every == 0 or last) and rank == 0:
            save(
                checkpoint,
                shape=asdict(shape),
                model=model.module.state_dict(),
                optimizer=optimizer.state_dict(),
                scaler=scaler.state_dict(),
                step=done,
            )

    dist.destroy_process_group()


if __name__ == "__main__":
    main()
