"""A training loop of one's own with accelerate: `accelerate launch --multi_gpu --mixed_precision bf16 accelerate_gpt.py`."""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup

parser = argparse.ArgumentParser()
parser.add_argument("--assets", default="assets")
parser.add_argument("--out", default="out/accelerate")
parser.add_argument("--steps", type=int, default=8)
asked = parser.parse_args()

accelerator = Accelerator(gradient_accumulation_steps=2)
set_seed(7)
tokenizer = AutoTokenizer.from_pretrained(f"{asked.assets}/tiny-llama")
model = AutoModelForCausalLM.from_pretrained(f"{asked.assets}/tiny-llama", attn_implementation="sdpa")
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
with open(f"{asked.assets}/text.txt") as file:
    rows = [tokenizer(line, max_length=64, truncation=True, padding="max_length")["input_ids"] for line in file]
loader = DataLoader(torch.tensor(rows), batch_size=8, shuffle=True, pin_memory=True, num_workers=1, drop_last=True)
schedule = get_cosine_schedule_with_warmup(optimizer, 0, 4 * asked.steps)
model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)

batches = iter(loader)
for step in range(2 * asked.steps):
    batch = next(batches)
    assert batch.is_cuda
    with accelerator.accumulate(model):
        loss = model(input_ids=batch, labels=batch.masked_fill(batch == tokenizer.pad_token_id, -100)).loss
        accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    if step % 2:
        mean = accelerator.gather(loss.detach().reshape(1)).mean().item()
        accelerator.print(f"step {step // 2} loss {mean:.4f} on {accelerator.num_processes} {accelerator.device.type} cards")
accelerator.save_state(asked.out)
accelerator.wait_for_everyone()
accelerator.load_state(asked.out)
accelerator.end_training()
