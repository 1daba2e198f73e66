"""Train a small Llama with Transformers' Trainer, set as on an A100: bf16, fused AdamW, compiled, checkpointed activations.

python trainer_clm.py [--model FOLDER] [--attention sdpa]; torchrun --nproc-per-node 2 trainer_clm.py [--fsdp]
"""

import argparse

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

parser = argparse.ArgumentParser()
parser.add_argument("--assets", default="assets")
parser.add_argument("--out", default="out/trainer")
parser.add_argument("--attention", default="sdpa")
parser.add_argument("--optimizer", default="adamw_torch_fused")
parser.add_argument("--precision", choices=("bf16", "fp16"), default="bf16")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--fsdp", action="store_true")
parser.add_argument("--deepspeed")
asked = parser.parse_args()

assert torch.cuda.is_available(), "this script needs a GPU"
tokenizer = AutoTokenizer.from_pretrained(f"{asked.assets}/tiny-llama")
model = AutoModelForCausalLM.from_pretrained(f"{asked.assets}/tiny-llama", attn_implementation=asked.attention)
data = load_dataset("json", data_files=f"{asked.assets}/text/train.jsonl", split="train")
data = data.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=64), batched=True, remove_columns=["text"])

arguments = TrainingArguments(
    output_dir=asked.out,
    max_steps=asked.steps,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=2e-3,
    lr_scheduler_type="constant",
    logging_steps=1,
    bf16=asked.precision == "bf16",
    fp16=asked.precision == "fp16",
    tf32=True,
    optim=asked.optimizer,
    torch_compile=not (asked.fsdp or asked.deepspeed),
    gradient_checkpointing=not asked.fsdp,
    gradient_checkpointing_kwargs={"use_reentrant": False},
    dataloader_num_workers=2,
    dataloader_pin_memory=True,
    save_steps=4,
    report_to="none",
    fsdp="full_shard auto_wrap" if asked.fsdp else "",
    fsdp_config={"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"]} if asked.fsdp else None,
    deepspeed=asked.deepspeed,
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=data,
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    processing_class=tokenizer,
)
trainer.train()
print("peak memory", torch.cuda.max_memory_allocated() // 2**20, "MiB on", torch.cuda.get_device_name())
