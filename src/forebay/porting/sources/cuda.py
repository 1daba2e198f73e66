"""Find in C++ and CUDA sources what ties them to NVIDIA's cards, and say how hard a source is to carry elsewhere.

Asked:  which lines of a .cu, .cuh, .cpp or header need a card, and by what?
Answer: one finding a line, by the hardest thing in it; and for a source with kernels one for the file, with how many kernels
        there are and the hardest kind of thing among them (porting.source_rules.DIFFICULTY). Comments and strings are
        blanked out first, by the tokenizer of porting.kernels, so that a word in them is no use. Text that a macro
        switches off counts: which branch is built is not known here.
Limits: words, not types, and no preprocessor: what a macro of another file stands for isn't seen. A kernel's body is told by its
        shared memory, atomics, warps and libraries; plain arithmetic and threadIdx in it are the kernel's own line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from forebay.porting.kernels.tokens import tokenize
from forebay.porting.source_rules import DIFFICULTY
from forebay.porting.sources.features import CARD, CARD_PLAIN, HEADERS, HOST, IS_FOR_CARD, SWITCH, WORTH_READING
from forebay.porting.sources.place import Place

CARD_ENDINGS = (".cu", ".cuh")
ENDINGS = (*CARD_ENDINGS, ".ptx", ".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".hh", ".hxx", ".inl", ".inc", ".ipp", ".tpp")
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include|import)[ \t]*[<\"]([^>\"\n]+)[>\"]", re.MULTILINE)
_KERNEL = re.compile(r"\b__global__\b")
_HARDEST_FIRST = (*CARD, *HOST[:1], *CARD_PLAIN, *HOST[1:])
_OF_CARDS = frozenset().union(*DIFFICULTY.values()) - {"cu-runtime", "cu-torch", "cu-switch"}
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
    places = {place.line: place for place in _in_lines(code, for_card)}
    places |= {place.line: place for place in _switches(code)}
    places |= {place.line: place for place in _launches_in_kernels(code)}
    places |= {place.line: place for place in _in_step(code)}
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
    pieces: list[str] = []
    for token in tokenize(text):
        if token.kind == "marker":
            pieces.append(_blank_in_marker(token.text))
        elif token.kind == "text" or (token.kind == "space" and token.text.startswith(("//", "/*"))):
            pieces.append(_KEPT.sub(" ", token.text))
        else:
            pieces.append(token.text)
    return "".join(pieces)


def difficulty(rules: set[str]) -> str:
    """The name of the hardest kind of thing among these rules; "" where none of them is a source's."""
    return next((name for name in reversed(DIFFICULTY) if DIFFICULTY[name] & rules), "")


def _blank_in_marker(line: str) -> str:
    """A preprocessor's line without its comments and strings. The body of a #define is code like any other."""
    sharp = line.index("#") + 1
    rest = "".join(
        token.text
        if token.kind not in ("text", "marker") and not token.text.startswith(("//", "/*"))
        else _KEPT.sub(" ", token.text)
        for token in tokenize(line[sharp:])
    )
    return line[:sharp] + rest


def _in_lines(code: str, for_card: bool) -> Iterator[Place]:
    table = _HARDEST_FIRST if for_card else HOST
    for number, line in enumerate(code.split("\n"), 1):
        if line.isspace() or not line:
            continue
        for rule, pattern in table:
            found = pattern.search(line)
            if found:
                yield Place(number, found.start() + 1, rule, " ".join(found.group().split())[:60])
                break


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


def _in_step(code: str) -> Iterator[Place]:
    """The reduction of old days: a function that is handed shared memory as volatile, to go on without a barrier."""
    for found in re.finditer(r"\b(?:__device__|__global__)\b[^;{}]*?\bvolatile\b[^;{})]*\*", code):
        at = code.index("volatile", found.start())
        yield _place(code, at, "cu-in-step", "volatile")


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
