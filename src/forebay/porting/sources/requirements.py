"""Find in lists of requirements the packages that bring CUDA, and what pins them to it.

Asked:  which lines of requirements.txt, pyproject.toml, setup.cfg, Pipfile or environment.yml need CUDA's builds?
Answer: every required name is judged by porting.sources.packages; an index of CUDA wheels is found by its address. A name in a
        comment, a description or a list of keywords is no requirement, so each kind of file is read by its own sections.
Limits: line by line, as people write these files: a TOML table spread in an unusual way may be missed. setup.py is Python's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from forebay.porting.sources.packages import INDEX, judge
from forebay.porting.sources.place import Place

_TEXT = re.compile(r"(?i)(?:.*[-_.])?(?:requirements?|constraints?|reqs?|deps|dependencies)(?:[-_.].*)?\.(?:txt|in|pip)")
_CONDA = re.compile(r"(?i)(?:.*[-_.])?(?:environment|env|conda|meta)(?:[-_.].*)?\.ya?ml")
_NAME = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(.*)")
_TOML_PARTS = re.compile(
    r"project$|build-system$|project\.optional-dependencies$|dependency-groups$"
    r"|tool\.poetry(?:\..*)?\.?(?:dev-)?dependencies$|tool\.poetry\.source$"
    r"|tool\.(?:uv|pdm|hatch|pixi)\b.*|(?:feature\.\w+\.)?(?:pypi-)?dependencies$|packages$|dev-packages$|source$"
)
_TOML_LISTS = re.compile(r"\s*(?:dependencies|requires|dev-dependencies|[\w.-]+)\s*=\s*\[")
_NAMED_INDEX = re.compile(r"index\s*=\s*[\"'][^\"']*cu\d{3}[\"']")  # which of the indexes that are named elsewhere
_CFG_PARTS = re.compile(r"options$|options\.extras_require$")


def reads(path: str) -> bool:
    name = PurePath(path).name
    in_folder = PurePath(path).parent.name.lower() == "requirements" and name.endswith((".txt", ".in"))
    return (
        in_folder
        or name in ("pyproject.toml", "setup.cfg", "Pipfile", "pixi.toml")
        or bool(_TEXT.fullmatch(name) or _CONDA.fullmatch(name))
    )


def find(path: str, text: str) -> list[Place]:
    name = PurePath(path).name
    if name.endswith((".yml", ".yaml")):
        return list(_conda(text))
    if name.endswith(".toml") or name == "Pipfile":
        return list(_toml(text))
    if name == "setup.cfg":
        return list(_cfg(text))
    return list(_plain(text))


def required(text: str, line: int, column: int) -> Iterator[Place]:
    """One requirement as pip or conda takes it: "torch==2.1.0+cu118 ; python_version > '3.8'", or an address. "
    "`column` is its first's."""
    address = INDEX.search(text)
    if address:
        yield Place(line, column + address.start(), "req-cuda-torch", _short(address.group()))
        return
    named = _NAME.match(re.sub(r"^(?:-e|--editable)[\s=]+", "", text))
    if not named:
        return
    name, rest = named.groups()
    egg = re.search(r"#egg=([\w.-]+)", text) or re.search(r"^\s*(?:-e\s+)?git\+\S+?/([\w.-]+?)(?:\.git)?(?:@|$|\s)", text)
    if egg and not rest.startswith("@"):
        name, rest = egg.group(1), ""
    rule = judge(name, rest.split(";")[0] if "@" not in rest else rest)
    if rule:
        yield Place(line, column + text.index(name), rule, _short(text.split(";")[0].strip()))


def _plain(text: str) -> Iterator[Place]:
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r"(?:^|\s)#.*", "", line)
        begin = len(code) - len(code.lstrip())
        if re.match(r"\s*-(?:r|c)\b|\s*--(?:requirement|constraint)\b", code):
            continue
        if re.match(r"\s*-(?!e\b|-editable)", code):
            yield from (
                Place(number, found.start() + 1, "req-cuda-torch", _short(found.group())) for found in INDEX.finditer(code)
            )
        elif code.strip():
            yield from required(code.strip(), number, begin + 1)


def _conda(text: str) -> Iterator[Place]:
    part = ""
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"(\w[\w-]*)\s*:", line)
        part = head.group(1) if head else part
        item = re.match(r"(\s*-\s*)[\"']?([^\"'#\n]+(?:#egg[^\"'\s]*)?)", line)
        if not item or part not in ("dependencies", "channels", "requirements"):
            continue
        begin, words = item.end(1) + 1, item.group(2).strip()
        if part == "channels":
            if words == "nvidia" or words.startswith("nvidia/"):
                yield Place(number, begin, "req-cuda-torch", f"channel {words}")
        elif words.startswith("--"):
            yield from (
                Place(number, begin + found.start(), "req-cuda-torch", _short(found.group())) for found in INDEX.finditer(words)
            )
        elif not words.endswith(":"):
            yield from required(words.split("::")[-1], number, begin + (words.index("::") + 2 if "::" in words else 0))


def _toml(text: str) -> Iterator[Place]:
    part, in_list = "", False
    for number, line in enumerate(text.splitlines(), 1):
        if (head := re.match(r"\s*\[\[?\s*([\w.\"' -]+?)\s*\]\]?\s*(?:#.*)?$", line)) and not in_list:
            part = head.group(1).replace('"', "")
            continue
        if not _TOML_PARTS.match(part):
            continue
        code = _without_comment(line)
        if part == "tool.uv.sources":
            yield from (
                Place(number, found.start() + 1, "req-cuda-torch", found.group()) for found in _NAMED_INDEX.finditer(code)
            )
            continue
        opens = not in_list and _TOML_LISTS.match(code) is not None
        lists = in_list or (opens and (part != "project" or re.match(r"\s*(?:dependencies|requires)\b", code) is not None))
        if lists:
            begin = code.index("[") if opens else 0
            for found in re.finditer(r"\"([^\"]*)\"|'([^']*)'", code[begin:]):
                yield from required(found.group(1) or found.group(2) or "", number, begin + found.start() + 2)
            in_list = "]" not in re.sub(r"\"[^\"]*\"|'[^']*'", "", code[begin + 1 if opens else 0 :])
        elif address := INDEX.search(code):
            yield Place(number, address.start() + 1, "req-cuda-torch", _short(address.group()))
        elif part.endswith(("dependencies", "packages")) and (pair := re.match(r"\s*[\"']?([\w.-]+)[\"']?\s*=\s*(.*)", code)):
            rule = judge(pair.group(1), pair.group(2))
            if rule:
                yield Place(number, pair.start(1) + 1, rule, _short(f"{pair.group(1)} = {pair.group(2)}"))


def _cfg(text: str) -> Iterator[Place]:
    part, lists = "", False
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\[([^\]]+)\]", line)
        if head:
            part, lists = head.group(1), False
            continue
        key = re.match(r"(\w[\w.-]*)\s*[=:]\s*(.*)", line)
        if key:
            lists = bool(_CFG_PARTS.fullmatch(part)) and (part != "options" or key.group(1).endswith("_requires"))
            if lists and key.group(2).strip():
                yield from required(key.group(2), number, key.start(2) + 1)
        elif lists and line.strip() and not line.lstrip().startswith("#"):
            yield from required(line.strip(), number, len(line) - len(line.lstrip()) + 1)


def _without_comment(line: str) -> str:
    return re.sub(r"(\"[^\"]*\"|'[^']*')|#.*", lambda found: found.group(1) or "", line)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
