"""Find in C++ and CUDA sources what ties them to NVIDIA's cards, and say how hard a source is to carry elsewhere.

Asked:  which lines of a .cu, .cuh, .cpp or header need a card, and by what?
Answer: one finding a line, by the hardest thing in it; and for a source with kernels one for the file, with how many kernels
        there are and the hardest kind of thing among them (porting.source_rules.DIFFICULTY). Comments and strings are
        blanked out first, so that a word in them is no use. Text that a macro
        switches off counts: which branch is built is not known here.
Limits: words, not types, and no preprocessor: what a macro of another file stands for isn't seen. A kernel's body is told by its
        shared memory, atomics, warps and libraries; plain arithmetic and threadIdx in it are the kernel's own line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import PurePath

from forebay.porting.source_rules import DIFFICULTY
from forebay.porting.sources.features import (
    CARD,
    CARD_PLAIN,
    HEADERS,
    HOST,
    IS_FOR_CARD,
    LAST_WARP,
    NUMBERS,
    SPEAKS,
    STEP,
    SWITCH,
    WORTH_READING,
)
from forebay.porting.sources.place import Place

_NEAR = 4  # lines, in which a barrier after a step of a reduction stands
CARD_ENDINGS = (".cu", ".cuh")
ENDINGS = (*CARD_ENDINGS, ".ptx", ".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".hh", ".hxx", ".inl", ".inc", ".ipp", ".tpp")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include|import)[ \t]*[<\"]([^>\"\n]+)[>\"]", re.MULTILINE)
_KERNEL = re.compile(r"\b__global__\b")
_HARDEST_FIRST = (*CARD, *HOST[:1], *CARD_PLAIN, *HOST[1:])
_OF_CARDS = frozenset().union(*DIFFICULTY.values()) - {"cu-runtime", "cu-torch", "cu-switch"}
_OWN = re.compile(r"#[ \t]*define[ \t]+(cu\w+)|^[ \t]*(?:\w+[ \t*&]+)+(cu\w+)\s*\([^;{}]*\)\s*\{", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_]\w*")
_NO_CODE = re.compile(
    r"""//(?:[^\n\\]|\\.)*|/\*.*?(?:\*/|\Z)|\b(?:u8|[uUL])?R"([^\s()\\]{0,16})\(.*?\)\1"|"(?:[^"\\\n]|\\.)*"
    |(?<![0-9a-zA-Z_])'(?:[^'\\\n]|\\.)+'|^[ \t]*\#[ \t]*(?:error|warning|pragma)[^\n]*""".replace("\n    |", "|"),
    re.MULTILINE | re.DOTALL,
)
_KEPT = re.compile(r"[^\n]")


def find(path: str, text: str) -> list[Place]:
    """What ties this source to NVIDIA's cards, in the order of its lines."""
    ending = PurePath(path).suffix.lower()
    if ending == ".ptx":
        return [Place(1, 1, "ptx-file", PurePath(path).name)]
    if ending not in CARD_ENDINGS and not WORTH_READING.search(text):
        return []
    code = blanked(text)
    for_card = ending in CARD_ENDINGS or IS_FOR_CARD.search(code) is not None
    places = {place.line: place for place in _last_warps(code)} if for_card else {}
    places |= {place.line: place for place in _in_lines(code, for_card)}
    places |= {place.line: place for place in _switches(code)}
    places |= {place.line: place for place in _launches_in_kernels(code)}
    places |= {place.line: place for place in _in_step(code)} if for_card else {}
    own = _own_names(code)
    places = {line: place for line, place in places.items() if place.what not in own}
    places |= {place.line: place for place in _includes(text, code)}
    found = [places[line] for line in sorted(places)]
    kernels = len(_KERNEL.findall(code))
    if (
        ending == ".cu"
        or (ending == ".cuh" and any(place.rule in _OF_CARDS for place in found))
        or (kernels and any(place.rule == "cu-kernel" for place in found))
    ):
        found.insert(0, Place(1, 1, "cu-file", _in_short(path, kernels, {place.rule for place in found})))
    return found


def blanked(text: str) -> str:
    """The text with comments and strings turned to blanks; every line and column stays where it was."""
    return _NO_CODE.sub(lambda found: _KEPT.sub(" ", found.group()), text)


def difficulty(rules: set[str]) -> str:
    """The name of the hardest kind of thing among these rules; "" where none of them is a source's."""
    return next((name for name in reversed(DIFFICULTY) if DIFFICULTY[name] & rules), "")


def _in_lines(code: str, for_card: bool) -> Iterator[Place]:
    table = _HARDEST_FIRST if for_card else HOST
    lines = code.split("\n")
    for number, line in enumerate(lines, 1):
        if not _is_likely(line):
            continue
        for rule, pattern in table:
            found = pattern.search(line)
            if found:
                yield Place(number, found.start() + 1, rule, " ".join(found.group().split())[:60])
                break


def _is_likely(line: str) -> bool:
    return NUMBERS.search(line) is not None or any(map(_speaks, _WORD.findall(line)))


@cache
def _speaks(word: str) -> bool:
    return SPEAKS.search(word) is not None


def _own_names(code: str) -> frozenset[str]:
    """Names in CUDA's manner that the file itself gives: `cudaMallocOrDie` is a function of the user's."""
    return frozenset(found.group(1) or found.group(2) for found in _OWN.finditer(code))


def _includes(text: str, code: str) -> Iterator[Place]:
    """Paths of includes are blanked out with the strings, so they are read from the text itself, where the code has them."""
    for found in _INCLUDE.finditer(text):
        at = text.index("#", found.start())
        rule = next((rule for rule, pattern in HEADERS if pattern.match(found.group(1))), None)
        if rule and code[at] == "#":
            yield Place(text.count("\n", 0, at) + 1, found.start(1) - text.rfind("\n", 0, at), rule, f"#include {found.group(1)}")


def _switches(code: str) -> Iterator[Place]:
    """#if and its kin that ask for CUDA; the guard of a header, whose name only holds the word, isn't one."""
    lines = code.split("\n")
    for number, line in enumerate(lines, 1):
        found = SWITCH.match(line)
        if not found:
            continue
        following = next((after for after in lines[number:] if after.strip()), "")
        if "ifndef" in line and re.match(rf"[ \t]*#[ \t]*define[ \t]+{re.escape(found.group(1))}[ \t]*$", following):
            continue
        yield Place(number, found.start(1) + 1, "cu-switch", found.group(1))


def _launches_in_kernels(code: str) -> Iterator[Place]:
    for begin, end in _bodies(code, _KERNEL):
        for found in re.finditer(r"(?<!<)<<<(?!<)", code[begin:end]):
            yield _place(code, begin + found.start(), "cu-dynamic", "<<<...>>> in a kernel")


def _last_warps(code: str) -> Iterator[Place]:
    """`if (tid < 32)` where no barrier follows: from there on the lanes of one warp are left to themselves."""
    lines = code.split("\n")
    for number, line in enumerate(lines, 1):
        found = LAST_WARP.search(line)
        if found and not any("__syncthreads" in after for after in lines[number : number + _NEAR]):
            yield Place(number, found.start() + 1, "cu-lanes", " ".join(found.group().split()))


def _in_step(code: str) -> Iterator[Place]:
    """The reduction of old days: s[t] += s[t + 16]; s[t] += s[t + 8]; one step after the other, and no barrier between them."""
    lines = code.split("\n")
    steps = [(number, found) for number, line in enumerate(lines, 1) if (found := STEP.search(line))]
    for (number, found), (after, _) in pairwise(steps):
        between = lines[number - 1 : after]
        if after - number <= _NEAR and not any("__sync" in line or "sync()" in line for line in between):
            yield Place(number, found.start() + 1, "cu-in-step", " ".join(found.group().split())[:60])


def _bodies(code: str, marked: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Begin and end of each function that is marked so; a declaration has none."""
    for found in marked.finditer(code):
        begin = re.compile(r"[;{]").search(code, found.end())
        if begin is None or begin.group() == ";":
            continue
        depth = 0
        for brace in re.compile(r"[{}]").finditer(code, begin.start()):
            depth += 1 if brace.group() == "{" else -1
            if depth == 0:
                yield begin.start(), brace.start()
                break


def _place(code: str, at: int, rule: str, what: str) -> Place:
    return Place(code.count("\n", 0, at) + 1, at - code.rfind("\n", 0, at), rule, what)


def _in_short(path: str, kernels: int, rules: set[str]) -> str:
    hardest = difficulty(rules) or "no kernel"
    counted = f"{kernels} kernel{'s' if kernels != 1 else ''}"
    return f"{PurePath(path).name}: {counted}; hardest: {hardest}"
