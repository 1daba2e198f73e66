"""Find in settings what chooses CUDA: YAML, JSON, TOML, INI and .env files.

Asked:  which lines of a configuration name a device, a backend or a container of NVIDIA's?
Answer: every pair of a key and a value is looked at, with line and column: YAML through its own parser's marks, the other formats
        line by line. The key says whether the value is a device: `device: cuda` is one, `title: cuda` and
        `path: runs/cuda` aren't. Commands in a YAML file (run:, script:, command:) are read as shell.
Limits: data isn't settings: a file over 512 KiB, or a JSON file that begins as a list of numbers or long texts, is passed over.
        YAML that its parser refuses (templates) is read line by line. What a program makes of a key is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

import yaml

from forebay.porting.sources import shell
from forebay.porting.sources.build import IMAGE
from forebay.porting.sources.packages import INDEX
from forebay.porting.sources.place import Place

YAML_ENDINGS = (".yaml", ".yml")
JSON_ENDINGS = (".json", ".jsonc", ".json5")
PLAIN_ENDINGS = (".toml", ".ini", ".cfg", ".conf", ".env", ".properties")
_MOST = 512 * 1024
_LONGEST = 1_000  # letters of a line, where there is no parser
_MOST_JSON = 64 * 1024  # beyond which a list, or a line without end, is data
_DATA = frozenset(
    {
        "package-lock.json",
        "package.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "tsconfig.json",
        "poetry.lock",
        "uv.lock",
    }
)
_WORTH_READING = re.compile(r"(?i)cuda|nccl|nvidia|gpu|accelerator|flash_attention|nvcr\.io")
_SPEAKS = re.compile(
    r"(?i)(?:.*[._-])?(?:devices?|dev|accelerator|platform|map[_-]?location|device[_-]?(?:type|name|id|map)|gpus?"
    r"|target|hardware|placement|location|default)"
)
_LABELS = re.compile(
    r"(?i)(?:.*[._-])?(?:name|title|label|description|desc|help|comment|note|tags?|keywords?|path|dir|folder|file|url"
    r"|id|repo|topic|about|doc)s?"
)
_SWITCH = re.compile(r"(?i)(?:(?:no|use|enable|disable|with)[_-]?)?cuda|cuda[_-]?(?:enabled|available)")
_VARIABLE = re.compile(r"(?:CUDA|NCCL|CUDNN|CUBLAS|NVIDIA|PYTORCH_CUDA|TORCH_CUDA|TORCH_NCCL|NVTE)_[A-Z0-9_]+")
_BY_VALUE = frozenset(
    {"device-string", "nccl", "accelerator", "build-image", "req-cuda-torch", "cuda-package-stood-in", "amp", "cuda-other"}
)
_BOOLEAN = re.compile(r"(?i)true|false|yes|no|on|off|0|1")
_COMMANDS = re.compile(
    r"(?i)run|script|scripts|commands?|args|cmd|entrypoint|entry_point|setup|setup_commands|before_script|install"
    r"|steps?|program|launcher|shell"
)
_PAIR = re.compile(r"""^(\s*(?:export\s+|-\s+)?)(["']?)([\w.$/@-]+)\2\s*[:=]\s*(.*?)\s*,?\s*$""")
_JSON_PAIR = re.compile(r'"((?:[^"\\]|\\.){1,80})"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(true|false|null|-?\d[\d.eE+-]*))')


def reads(path: str) -> bool:
    name = PurePath(path).name
    ending = PurePath(path).suffix.lower()
    return name not in _DATA and (
        ending in (*YAML_ENDINGS, *JSON_ENDINGS, *PLAIN_ENDINGS) or name == ".env" or name.startswith(".env.")
    )


def find(path: str, text: str) -> list[Place]:
    if len(text) > _MOST or not _WORTH_READING.search(text):
        return []
    ending = PurePath(path).suffix.lower()
    if ending in JSON_ENDINGS:
        return [] if _is_data(text) else list(_json(text))
    if ending in YAML_ENDINGS:
        return list(_yaml(text))
    return list(_plain(text))


def _is_data(text: str) -> bool:
    """A list of numbers, of texts or of records with long texts: what a program was fed, not how it was told to run."""
    head = text[:4096].lstrip()
    if re.match(r"\[\s*(?:\[|-?\d)", head):
        return True
    return len(text) > _MOST_JSON and (head.startswith("[") or max((len(line) for line in head.split("\n")), default=0) > 2000)


def _judge(key: str, value: str) -> tuple[str, str] | None:
    """The rule for a key and its value, and how to show them."""
    last = key.rsplit(".", 1)[-1]
    shown = f"{last}: {value}"[:60]
    rule = None
    if _VARIABLE.fullmatch(last):
        rule = "visible-devices" if last.endswith("_VISIBLE_DEVICES") else "cuda-environment"
    elif key.startswith(("nvidia.com/", "k8s.amazonaws.com/nvidia")) or (
        last in ("runtime", "driver", "runtimeClassName") and value == "nvidia"
    ):
        rule = "container-gpu"
    elif shell.DEVICE.fullmatch(value) and not _LABELS.fullmatch(last) and (_SPEAKS.fullmatch(last) or ":" in value):
        rule = "device-string"
    elif (last == "accelerator" and value in ("gpu", "cuda")) or (last == "distributed_type" and value == "MULTI_GPU"):
        rule = "accelerator"
    elif value == "nccl" and re.fullmatch(r"(?i)(?:.*[._-])?(?:backend|comm\w*)", last):
        rule = "nccl"
    elif _SWITCH.fullmatch(last) and _BOOLEAN.fullmatch(value):
        rule = "cuda-switch"
    elif re.fullmatch(r"(?i)(?:.*[._-])?(?:image|base_image|container|docker\w*)", last) and IMAGE.fullmatch(value):
        rule = "build-image"
    elif re.fullmatch(r"torch\.cuda\.[\w.]+", value):
        rule = "amp" if value.startswith("torch.cuda.amp") else "cuda-other"
    elif value in ("flash_attention_2", "flash_attention_3") and "attn" in last:
        rule = "cuda-package-stood-in"
    elif INDEX.fullmatch(value):
        rule = "req-cuda-torch"
    return (rule, shown) if rule else None


# ---------------------------------------------------------------- YAML


def _yaml(text: str) -> Iterator[Place]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        roots = list(yaml.compose_all(text, Loader=loader))
    except (yaml.YAMLError, ValueError, RecursionError):
        yield from _plain(text)
        return
    lines = text.split("\n")
    for root in roots:
        yield from _nodes(root, "", lines)


def _nodes(node: yaml.Node | None, key: str, lines: list[str]) -> Iterator[Place]:
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(name.value), name, value) for name, value in node.value]
        named = {name: value.value for name, _, value in pairs if isinstance(value, yaml.ScalarNode)}
        for name, place, value in pairs:
            if isinstance(value, yaml.ScalarNode):
                # Kubernetes says a variable in two lines: name: CUDA_VISIBLE_DEVICES, value: "0"
                if name == "name" and "value" in named and _VARIABLE.fullmatch(value.value):
                    yield _at(value, *(_judge(value.value, str(named["value"])) or ("cuda-environment", value.value)))
                else:
                    yield from _scalar(name, place, value, lines)
            else:
                yield from _nodes(value, name, lines)
    elif isinstance(node, yaml.SequenceNode):
        before = ""
        for item in node.value:
            if isinstance(item, yaml.ScalarNode):
                yield from _item(key, item, before, lines)
                before = item.value
            else:
                yield from _nodes(item, key, lines)
                before = ""


def _scalar(name: str, place: yaml.Node, value: yaml.ScalarNode, lines: list[str]) -> Iterator[Place]:
    judged = _judge(name, value.value)
    if judged:
        yield _at(value if judged[0] in _BY_VALUE else place, *judged)
    elif _COMMANDS.fullmatch(name):
        yield from _command(value, lines)


def _item(key: str, item: yaml.ScalarNode, before: str, lines: list[str]) -> Iterator[Place]:
    """One of a list: a device of `devices: [cuda]`, a word of a command, a variable of `environment:`."""
    if before.startswith("--") and (judged := _judge(before.lstrip("-").replace("-", "_"), item.value)):
        yield _at(item, *judged)
    elif sets := re.fullmatch(r"([A-Z][A-Z0-9_]+)=(.*)", item.value):
        if judged := _judge(sets.group(1), sets.group(2)):
            yield _at(item, *judged)
    elif key == "capabilities" and item.value in ("gpu", "nvidia"):
        yield _at(item, "container-gpu", f"{key}: {item.value}")
    elif _COMMANDS.fullmatch(key):
        yield from _command(item, lines)
    elif judged := _judge(key, item.value):
        yield _at(item, *judged)


def _command(value: yaml.ScalarNode, lines: list[str]) -> Iterator[Place]:
    """A command, in one line or in a block: read where it stands in the file."""
    first, last = value.start_mark.line, max(value.start_mark.line, value.end_mark.line - (1 if value.style in ("|", ">") else 0))
    for number in range(first, min(last, len(lines) - 1) + 1):
        begin = value.start_mark.column if number == first else 0
        end = value.end_mark.column if number == value.end_mark.line and value.style not in ("|", ">") else None
        line = lines[number][begin:end]
        if value.style in ('"', "'"):
            line, begin = line.strip(value.style), begin + (1 if number == first else 0)
        yield from shell.find_line(line, number + 1, begin)


def _at(node: yaml.Node, rule: str, what: str) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1, rule, what)


# ---------------------------------------------------------------- other formats


def _json(text: str) -> Iterator[Place]:
    for found in _JSON_PAIR.finditer(text):
        value = found.group(2) if found.group(2) is not None else found.group(3)
        judged = _judge(found.group(1), value)
        if judged:
            by_value = found.group(2) is not None and judged[0] in _BY_VALUE
            begin = found.start(2) - 1 if by_value else found.start(1) - 1
            yield Place(text.count("\n", 0, begin) + 1, begin - text.rfind("\n", 0, begin), *judged)


def _plain(text: str) -> Iterator[Place]:
    for number, line in enumerate(text.split("\n"), 1):
        pair = _PAIR.match(line[:_LONGEST]) if line.lstrip()[:1] not in ("#", ";") else None
        if not pair:
            continue
        value = re.sub(r"\s+[#;].*$", "", pair.group(4)).strip().strip("\"'")
        judged = _judge(pair.group(3), value)
        if judged:
            at = pair.start(4) if judged[0] in _BY_VALUE else pair.start(3)
            yield Place(number, at + 1, *judged)
