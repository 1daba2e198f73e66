"""Print text from a checkpoint that train_gpt.py left.

    python sample_gpt.py --checkpoint out/checkpoint.pt --prompt "def "

train_gpt.py lies beside this file, or on the Python path: the model is defined there.
"""

import argparse
import sys
from pathlib import Path

import torch
from train_gpt import DTYPES, GPT, Shape


@torch.no_grad()
def sample(model, prompt, length, temperature, top_k, dtype):
    """The prompt and `length` bytes more, one after the other. The model sees as many of the last bytes as it can."""
    text = torch.tensor(list(prompt), device="cuda").unsqueeze(0)
    for _ in range(length):
        with torch.autocast("cuda", dtype=dtype):
            logits = model(text[:, -model.shape.context :])[0, -1]
        best, which = torch.topk(logits.float() / temperature, top_k)
        choice = torch.multinomial(torch.softmax(best, dim=0), 1)
        text = torch.cat([text, which[choice].unsqueeze(0)], dim=1)
    return bytes(text[0].tolist())


def main():
    parser = argparse.ArgumentParser(description="Print text from a checkpoint that train_gpt.py left.")
    parser.add_argument("--checkpoint", default="out/checkpoint.pt")
    parser.add_argument("--prompt", default="def ")
    parser.add_argument("--length", type=int, default=400, help="bytes")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-k", type=int, default=20)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    if not Path(args.checkpoint).exists():
        raise SystemExit(f"{args.checkpoint}: no such checkpoint; train_gpt.py writes one")
    if not args.prompt or args.temperature <= 0 or args.top_k < 1:
        raise SystemExit("a prompt has at least one letter, the temperature is above 0, and top-k is 1 or more")

    torch.manual_seed(args.seed)
    torch.cuda.manual_seed_all(args.seed)
    saved = torch.load(args.checkpoint, map_location="cuda", weights_only=True)
    model = GPT(Shape(**saved["shape"])).cuda()
    model.load_state_dict(saved["model"])
    model.eval()
    text = sample(model, args.prompt.encode(), args.length, args.temperature, min(args.top_k, 256), DTYPES[args.dtype])
    sys.stdout.write(text.decode(errors="replace") + "\n")


if __name__ == "__main__":
    main()
