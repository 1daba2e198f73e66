"""Bytes to text to tree, and what is said where that fails.

Asked:  can this file be read as Python 3, and where not, which line and column stand in the way?
Answer: `read` decodes as Python does; `parse` is Python's own parser, with its error turned into one of ours.
Limits: a script in the syntax of a Python newer than ours is refused, and so is Python 2.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from pathlib import Path

from forebay.errors import BadScript

_PYTHON_2 = re.compile(r"except\s+[\w.]+\s*,|raise\s+\w+\s*,|exec\s+[\"'\w]|.*<>|.*`|.*\bur[\"']|.*\b0\d+\b|.*\d[lL]\b")


def read(path: Path) -> str:
    """A script's text, in the encoding that it declares, or UTF-8 as Python has it."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadScript(f"{path} can't be read.", found=error.strerror or str(error)) from None
    return decode(body, str(path))


def decode(body: bytes, path: str) -> str:
    if (at := body.find(b"\0")) >= 0:
        raise BadScript(
            f"{path}: not a text file.", found=f"a zero byte at {at}", hint="give a Python script; compiled files can't be read"
        )
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
    except SyntaxError as error:
        if (wrong := _not_utf8(body)) is not None:
            raise _bad_letter(path, body, wrong) from None
        raise BadScript(f"{path}: {error.msg}.", hint="save it as UTF-8") from None
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        raise _bad_letter(path, body, error.start) from None


def parse(text: str, path: str, flags: int = 0) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence" is the script's own affair
            tree = compile(text, path, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
            assert isinstance(tree, ast.Module)
            return tree
    except SyntaxError as error:
        raise _bad_syntax(text, path, error) from None
    except ValueError as error:  # a zero byte, for Python below 3.12
        raise BadScript(f"{path}: {error}.", hint="give a Python script; compiled files can't be read") from None
    except (RecursionError, MemoryError):
        raise BadScript(f"{path}: nested too deeply for Python to parse.", hint="does python itself run it?") from None


def lines_of(text: str) -> list[str]:
    """As Python counts lines; str.splitlines also cuts at form feeds."""
    return re.split(r"\r\n|\r|\n", text)


def _not_utf8(body: bytes) -> int | None:
    try:
        body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return None


def _bad_letter(path: str, body: bytes, at: int) -> BadScript:
    line = body.count(b"\n", 0, at) + 1
    begin = body.rfind(b"\n", 0, at) + 1
    shown = body[begin:].split(b"\n")[0][:80].decode("utf-8", "backslashreplace")
    return BadScript(
        f"{path}, line {line}, column {at - begin + 1}: this byte isn't in the file's encoding.",
        found=shown,
        hint="save the file as UTF-8, or name its encoding in its first line: # -*- coding: latin-1 -*-",
    )


def _bad_syntax(text: str, path: str, error: SyntaxError) -> BadScript:
    line, column = error.lineno or 1, error.offset or 1
    lines = lines_of(text)
    shown = (lines[line - 1] if 0 < line <= len(lines) else (error.text or "")).strip()
    two = "Missing parentheses in call" in (error.msg or "") or _PYTHON_2.match(shown)
    return BadScript(
        f"{path}, line {line}, column {column}: {(error.msg or '').rstrip('.?')}.",
        found=shown[:100],
        hint="this looks like Python 2; rewrite it for Python 3 (2to3 does most of it)"
        if two
        else f"python{sys.version_info[0]}.{sys.version_info[1]} -m py_compile {path} shows the same",
    )
