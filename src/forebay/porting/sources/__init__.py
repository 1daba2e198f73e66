"""Read what isn't Python: CUDA and C++ sources, build files, requirements, settings, shell scripts.

Asked:  which files beside Python speak of CUDA, and in which lines?
Answer: `reads(path)` says by the name whether a file is of such a kind; `find(path, text)` gives its findings. A module a
        language finds Places; what they mean is in porting.source_rules, and for devices and variables in porting.rules.
Limits: pure: who walks the folder reads the files, and chooses how large one may be. Of a line the first 1,000 letters are read
        (JSON and YAML whole): longer ones are written by programs, and no pattern here may take long over them.
"""

from __future__ import annotations

from forebay.porting.findings import Finding
from forebay.porting.sources import build, cuda, requirements, settings, shell
from forebay.porting.sources.place import Place, findings

LONGEST = 1_000  # letters of a line


def reads(path: str) -> bool:
    """Whether a file of this name may tie a project to CUDA; Python's own files are read elsewhere."""
    return path.endswith((*cuda.ENDINGS, *shell.ENDINGS)) or build.reads(path) or requirements.reads(path) or settings.reads(path)


def find(path: str, text: str) -> tuple[Finding, ...]:
    """What ties this file to CUDA, in the order of its lines."""
    return findings(_places(path, text), path, text.split("\n"))


def _places(path: str, text: str) -> list[Place]:
    text = text.replace("\r\n", "\n")
    if not path.endswith((*settings.JSON_ENDINGS, *settings.YAML_ENDINGS)):
        text = _cut(text)
    if build.reads(path):
        return build.find(path, text)
    if requirements.reads(path):
        found = requirements.find(path, _cut(text))
        if path.endswith((".toml", ".yml", ".yaml", ".cfg")):
            taken = {place.line for place in found}
            found += [place for place in settings.find(path, text) if place.line not in taken]
        return found
    if path.endswith(cuda.ENDINGS):
        return cuda.find(path, text)
    if path.endswith(shell.ENDINGS):
        return shell.find(text)
    return settings.find(path, text) if settings.reads(path) else []


def _cut(text: str) -> str:
    """The text with no line longer than is read; nearly always the text itself."""
    lines = text.split("\n")
    return "\n".join(line[:LONGEST] for line in lines) if max(map(len, lines)) > LONGEST else text
