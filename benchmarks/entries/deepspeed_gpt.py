"""DeepSpeed's own engine: `deepspeed --num_gpus 2 deepspeed_gpt.py --stage 2`."""

import argparse

import deepspeed
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import HfDeepSpeedConfig

parser = argparse.ArgumentParser()
parser.add_argument("--assets", default="assets")
parser.add_argument("--out", default="out/deepspeed")
parser.add_argument("--stage", type=int, default=2)
parser.add_argument("--precision", choices=("bf16", "fp16"), default="bf16")
parser.add_argument("--optimizer", default="AdamW")
parser.add_argument("--offload", action="store_true")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--local_rank", type=int, default=-1)
asked = parser.parse_args()

config = {
    "train_micro_batch_size_per_gpu": 8,
    "gradient_accumulation_steps": 1,
    "gradient_clipping": 1.0,
    "optimizer": {"type": asked.optimizer, "params": {"lr": 2e-3, "torch_adam": True}},
    "zero_optimization": {"stage": asked.stage, "overlap_comm": True, "contiguous_gradients": True},
    asked.precision: {"enabled": True},
}
if asked.offload:
    config["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": True}

deepspeed.init_distributed(dist_backend="nccl")
torch.manual_seed(7)
tokenizer = AutoTokenizer.from_pretrained(f"{asked.assets}/tiny-llama")
partitioning = HfDeepSpeedConfig(config)  # while it lives, stage 3 cuts the weights as they are made
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(f"{asked.assets}/tiny-llama"))
engine, optimizer, _, _ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
engine.module.gradient_checkpointing_enable()

with open(f"{asked.assets}/text.txt") as file:
    rows = torch.tensor([tokenizer(line, max_length=64, truncation=True, padding="max_length")["input_ids"] for line in file])
rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
for step in range(asked.steps):
    first = (step * world + rank) * 8
    batch = rows[first : first + 8].to(engine.device)
    assert batch.is_cuda
    loss = engine(input_ids=batch, labels=batch.masked_fill(batch == tokenizer.pad_token_id, -100)).loss
    engine.backward(loss)
    engine.step()
    if rank == 0:
        print(f"step {step} loss {loss.item():.4f}", flush=True)
engine.save_checkpoint(asked.out)
engine.load_checkpoint(asked.out)
deepspeed.comm.destroy_process_group()
