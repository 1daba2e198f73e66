"""Lightning's Trainer on two cards: accelerator="gpu", devices=2, strategy="ddp", precision="bf16-mixed"."""

import argparse

import lightning as L
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer


class Llama(L.LightningModule):
    def __init__(self, folder):
        super().__init__()
        self.model = AutoModelForCausalLM.from_pretrained(folder)

    def training_step(self, batch, index):
        assert batch.is_cuda
        loss = self.model(input_ids=batch, labels=batch).loss
        self.log("loss", loss, prog_bar=True)
        if self.global_rank == 0:
            print(f"step {index} loss {loss.item():.4f}", flush=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3, fused=True)


parser = argparse.ArgumentParser()
parser.add_argument("--assets", default="assets")
parser.add_argument("--out", default="out/lightning")
parser.add_argument("--devices", type=int, default=2)
parser.add_argument("--strategy", default="ddp")
parser.add_argument("--steps", type=int, default=8)
asked = parser.parse_args()

if __name__ == "__main__":
    L.seed_everything(7)
    torch.set_float32_matmul_precision("high")
    tokenizer = AutoTokenizer.from_pretrained(f"{asked.assets}/tiny-llama")
    with open(f"{asked.assets}/text.txt") as file:
        rows = torch.tensor([tokenizer(line, max_length=64, truncation=True, padding="max_length")["input_ids"] for line in file])
    loader = DataLoader(rows, batch_size=8, shuffle=True, pin_memory=True, num_workers=1, persistent_workers=True)
    trainer = L.Trainer(
        accelerator="gpu",
        devices=asked.devices,
        strategy=asked.strategy,
        precision="bf16-mixed",
        max_steps=asked.steps,
        default_root_dir=asked.out,
        logger=False,
    )
    trainer.fit(Llama(f"{asked.assets}/tiny-llama"), loader)
