"""Fine-tune with TRL's SFTTrainer: LoRA over weights of 4 bits (NF4), an 8-bit optimizer, bf16."""

import argparse

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer

parser = argparse.ArgumentParser()
parser.add_argument("--assets", default="assets")
parser.add_argument("--out", default="out/qlora")
parser.add_argument("--steps", type=int, default=8)
asked = parser.parse_args()

quantisation = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=torch.bfloat16,
)
model = AutoModelForCausalLM.from_pretrained(
    f"{asked.assets}/tiny-llama",
    quantization_config=quantisation,
    device_map="cuda",
    dtype=torch.bfloat16,
)
trainer = SFTTrainer(
    model=model,
    train_dataset=load_dataset("json", data_files=f"{asked.assets}/chat/train.jsonl", split="train"),
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    args=SFTConfig(
        output_dir=asked.out,
        max_steps=asked.steps,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        logging_steps=1,
        bf16=True,
        optim="adamw_bnb_8bit",
        max_length=64,
        report_to="none",
    ),
)
trainer.train()
