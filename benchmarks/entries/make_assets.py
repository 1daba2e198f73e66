"""Write what the entries train on: tiny models with random weights, a tokenizer, and small data sets. No network.

python make_assets.py FOLDER

    FOLDER/tiny-llama     a Llama of 2 layers, 64 wide, with its tokenizer and chat template
    FOLDER/bert-base-cased  a BERT of 2 layers under the name that public examples ask for
    FOLDER/glue           sentence pairs in the form of GLUE's MRPC, for those examples
    FOLDER/text.txt, and as data sets text/, chat/, preferences/ and prompts/, each with a train.jsonl
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SUBJECTS = ("the cat", "a dog", "my friend", "the train", "one bird", "our teacher")
VERBS = ("sees", "likes", "finds", "draws", "follows", "counts")
OBJECTS = ("the house", "two apples", "a river", "the moon", "some music", "its shadow")
CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def sentence(dice):
    return f"{dice.choice(SUBJECTS)} {dice.choice(VERBS)} {dice.choice(OBJECTS)}."


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def tokenizer(folder, text, special, template=None, **names):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(text, trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet))
    if "cls_token" in names:
        ids = [(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ids)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **names)
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast


def main(folder):
    dice = random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    text = [" ".join(sentence(dice) for _ in range(8)) for _ in range(400)]
    (folder / "text.txt").write_text("\n".join(text) + "\n")
    lines(folder / "text" / "train.jsonl", [{"text": one} for one in text])

    special = ["<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>"]
    words = tokenizer(folder / "tiny-llama", text, special, CHAT, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    llama = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    LlamaForCausalLM(llama).save_pretrained(folder / "tiny-llama")

    def asked(one):
        return {"role": "user", "content": f"What does {one.split()[1]} do?"}

    pairs = [(sentence(dice), sentence(dice)) for _ in range(200)]
    lines(folder / "chat" / "train.jsonl", [{"messages": [asked(a), {"role": "assistant", "content": a}]} for a, _ in pairs])
    answers = [({"role": "assistant", "content": a}, {"role": "assistant", "content": b[::-1]}) for a, b in pairs]
    lines(
        folder / "preferences" / "train.jsonl",
        [{"prompt": [asked(a)], "chosen": [good], "rejected": [bad]} for (a, _), (good, bad) in zip(pairs, answers, strict=True)],
    )
    lines(folder / "prompts" / "train.jsonl", [{"prompt": [asked(a)]} for a, _ in pairs])

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    words = tokenizer(folder / "bert-base-cased", text, special, **names)
    bert = BertConfig(vocab_size=len(words), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
    BertForSequenceClassification(bert).save_pretrained(folder / "bert-base-cased")

    for part, size in (("train", 128), ("validation", 32), ("test", 32)):
        rows = []
        for index in range(size):
            a, b = sentence(dice), sentence(dice)
            label = index % 2
            rows.append({"sentence1": a, "sentence2": a if label else b, "label": label, "idx": index})
        lines(folder / "glue" / "mrpc" / f"{part}.jsonl", rows)
    (folder / "glue" / "README.md").write_text(
        "---\nconfigs:\n- config_name: mrpc\n  data_files:\n"
        + "".join(f"  - split: {part}\n    path: mrpc/{part}.jsonl\n" for part in ("train", "validation", "test"))
        + "---\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
