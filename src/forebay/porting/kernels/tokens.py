"""Cut preprocessed C++ into tokens, so that a rewrite never mistakes a string, a comment or a number for code.

Asked:  where does a token begin, and in which file and line of the user does it lie?
Answer: `tokenize(text)` gives every piece of the text, white space too, so that joining them gives the text again. `>` is
        always a token of its own: whether `>>>` ends a launch or three templates is for the reader to say.
Limits: preprocessed text: no macros, no line splices; line markers are tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIECES = re.compile(
    r"""(?P<marker>^[ \t]*\#[^\n]*)
    |(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<text>(?:u8|[uUL])?R"(?P<fence>[^\s()\\]{0,16})\(.*?\)(?P=fence)"|(?:u8|[uUL])?"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+')
    |(?P<word>[A-Za-z_]\w*)
    |(?P<number>\.?\d(?:[eEpP][+-]|['\w.])*)
    |(?P<sign><<<|<<=|<<|<=|->\*?|::|\+\+|--|&&|\|\||[-+*/%&|^=!]=|\.\.\.|.)""",
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_MARKER = re.compile(r'#\s*(?:line\s+)?(\d+)\s+"([^"]*)"')
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Token:
    """A piece of source text and where the user wrote it."""

    kind: str  # "word", "number", "text" (strings and characters), "sign", "space", "marker"
    text: str
    file: str
    line: int

    @property
    def blank(self) -> bool:
        return self.kind in ("space", "marker")


def tokenize(text: str, file: str = "", line: int = 1) -> list[Token]:
    tokens = []
    for found in _PIECES.finditer(text):
        kind = found.lastgroup or "sign"
        kind = "text" if kind == "fence" else kind
        piece = found.group()
        tokens.append(Token(kind, piece, file, line))
        marker = _MARKER.match(piece.strip()) if kind == "marker" else None
        if marker:
            file, line = marker.group(2), int(marker.group(1)) - 1
        line += piece.count("\n")
    return tokens


def next_solid(tokens: list[Token], place: int) -> int:
    """The place of the first token at or after `place` that isn't white space; len(tokens) at the end."""
    while place < len(tokens) and tokens[place].blank:
        place += 1
    return place


def last_solid(tokens: list[Token], place: int) -> int:
    """The same, backwards; -1 at the beginning."""
    while place >= 0 and tokens[place].blank:
        place -= 1
    return place


def closing(tokens: list[Token], place: int) -> int:
    """The place of the bracket that closes the one at `place`; len(tokens) if there is none."""
    depth = 0
    for at in range(place, len(tokens)):
        if tokens[at].kind != "sign":
            continue
        if tokens[at].text in _PAIRS:
            depth += 1
        elif tokens[at].text in _PAIRS.values():
            depth -= 1
            if depth == 0:
                return at
    return len(tokens)


def opening(tokens: list[Token], place: int) -> int:
    """The place of the bracket that the one at `place` closes; -1 if there is none."""
    depth = 0
    for at in range(place, -1, -1):
        if tokens[at].kind != "sign":
            continue
        if tokens[at].text in _PAIRS.values():
            depth += 1
        elif tokens[at].text in _PAIRS:
            depth -= 1
            if depth == 0:
                return at
    return -1


def commas(tokens: list[Token]) -> list[list[Token]]:
    """What lies between the commas that are in no bracket and no template's angle; nothing for nothing."""
    parts: list[list[Token]] = [[]]
    depth, at = 0, 0
    while at < len(tokens):
        token = tokens[at]
        if token.kind == "sign" and token.text in _PAIRS:
            end = closing(tokens, at)
            parts[-1] += tokens[at : end + 1]
            at = end + 1
            continue
        if token.kind == "sign" and token.text == "<" and _angle_closes(tokens, at):
            depth += 1
        elif token.kind == "sign" and token.text == ">" and depth:
            depth -= 1
        if token.kind == "sign" and token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
        at += 1
    return parts if len(parts) > 1 or any(not token.blank for token in parts[0]) else []


def _angle_closes(tokens: list[Token], place: int) -> bool:
    """Is the `<` here a template's? It is when a name stands before it, and only names, types and numbers up to its `>`."""
    before = last_solid(tokens, place - 1)
    if before < 0 or tokens[before].kind != "word":
        return False
    depth = 0
    for at in range(place, len(tokens)):
        token = tokens[at]
        if token.blank or token.kind in ("word", "number"):
            continue
        if token.text == "<":
            depth += 1
        elif token.text == ">":
            depth -= 1
            if depth == 0:
                after = next_solid(tokens, at + 1)
                return after == len(tokens) or tokens[after].text in ("(", ")", "{", ",", "::", ">", "*", "&")
        elif token.text not in ("::", ",", "*", "&", "...", "[", "]"):
            return False
    return False


def text_of(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)
