"""A notebook, read as one script.

Asked:  what do a notebook's cells need, and in which cell and line?
Answer: the code cells are put under each other, so that a name imported in the first is known in the last; what is found is told
        by cell and line. A line for IPython (`%time`, `!pip install`, `?torch`) is left out of the Python; of a line for the
        shell we read the commands that are ours: nvidia-smi, nvcc, CUDA_VISIBLE_DEVICES=, --device cuda.
Limits: cells are read in the order in which they stand, whatever the order they were run in. A cell that doesn't parse is told
        and the others are read. Other languages than Python are refused.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, replace

from forebay.errors import BadScript
from forebay.porting.findings import Finding, Unread
from forebay.porting.rules import RULES
from forebay.porting.scan.look import look
from forebay.porting.scan.page import read_page
from forebay.porting.scan.text import lines_of, parse

_FOR_IPYTHON = re.compile(
    r"(?P<indent>[ \t]*)(?P<bound>[\w., ]+=[ \t]*)?(?P<line>[!%].*|\?.*)$|(?P<help>[ \t]*[\w.]+\?{1,2}[ \t]*)$"
)
_PYTHON_MAGICS = ("time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "python", "python3", "writefile", "file")
_SHELL = (
    (re.compile(r"(^|[\s;&|(`/!])nvidia-smi\b"), "nvidia-smi", "nvidia-smi"),
    (re.compile(r"\bCUDA_VISIBLE_DEVICES\b"), "visible-devices", "CUDA_VISIBLE_DEVICES"),
    (re.compile(r"(^|[\s;&|!/])(nvcc|nsys|ncu|nvprof)\s"), "nvcc", "nvcc"),
    (re.compile(r"--device[ =]cuda(:\d+)?\b"), "device-string", "--device cuda"),
    (re.compile(r"\b(NCCL|CUBLAS|PYTORCH_CUDA)_[A-Z_]+="), "cuda-environment", "an environment variable"),
)


@dataclass(frozen=True, slots=True)
class Notebook:
    """What was read of a notebook, cell by cell. Outputs and text cells are no part of it."""

    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...]  # cells that don't parse
    imports_torch: bool


def scan_notebook(text: str, path: str) -> Notebook:
    """Raises BadScript where the file is no notebook in Python."""
    found: list[Finding] = []
    unread: list[Unread] = []
    where: list[tuple[int, int]] = []  # of each line of the whole: cell, line in it
    whole: list[str] = []
    for number, source in _code_cells(text, path):
        lines, told = _python(lines_of(source), path, number)
        found += told
        try:
            parse("\n".join(lines), f"{path}, cell {number}", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except BadScript as error:
            unread.append(Unread(file=path, reason=error.text.removeprefix(f"{path}, ")))
            lines = []
        whole += lines
        where += [(number, i + 1) for i in range(len(lines))]
    script = "\n".join(whole)
    page = read_page(parse(script, path, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), script, path)
    for finding in look(page):
        cell, line = where[finding.line - 1]
        found.append(replace(finding, cell=cell, line=line))
    ordered = sorted(found, key=lambda one: (one.cell or 0, one.line, one.column, one.rule))
    return Notebook(tuple(ordered), tuple(unread), page.imports_package("torch"))


def _code_cells(text: str, path: str) -> list[tuple[int, str]]:
    """Number (from 1, among all cells) and source of each code cell."""
    try:
        book = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadScript(
            f"{path}: a notebook is JSON, and this isn't.", found=str(error), hint="open it in Jupyter and save it again"
        ) from None
    cells = book.get("cells") if isinstance(book, dict) else None
    if cells is None and isinstance(book, dict) and isinstance(book.get("worksheets"), list):  # format 3, before 2015
        sheets = [sheet for sheet in book["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets for cell in sheet.get("cells", [])]
    if not isinstance(cells, list):
        raise BadScript(f"{path}: no cells are in this notebook's JSON.", hint="open it in Jupyter and save it again")
    language = _language(book)
    if language and language.lower() not in ("python", "python3", "ipython"):
        raise BadScript(f"{path}: its cells aren't Python.", found=language)
    return [
        (number, _source(cell))
        for number, cell in enumerate(cells, start=1)
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]


def _language(book: dict[str, object]) -> str:
    metadata = book.get("metadata")
    for part in ("language_info", "kernelspec"):
        told = metadata.get(part) if isinstance(metadata, dict) else None
        if isinstance(told, dict) and isinstance(name := told.get("name" if part == "language_info" else "language"), str):
            return name
    return ""


def _source(cell: dict[str, object]) -> str:
    source = cell.get("source", cell.get("input", ""))
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _python(lines: list[str], path: str, cell: int) -> tuple[list[str], list[Finding]]:
    """The cell's lines with IPython's own taken out, and what those hold of ours."""
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    magic = re.match(r"%%(\w+)(.*)", lines[first].strip()) if lines else None
    if magic is not None:
        python = magic[1] in _PYTHON_MAGICS and (not magic[1].endswith("file") or magic[2].strip().endswith(".py"))
        told = _finding(path, cell, first + 1, lines[first], "cuda-source", magic[0]) if magic[1] in ("cu", "cuda") else None
        if not python:
            found = [one for i, line in enumerate(lines) if i != first for one in _shell(path, cell, i + 1, line)]
            return [""] * len(lines), [told] if told else found
        lines = [*lines[:first], "", *lines[first + 1 :]]
    kept, found = [], []
    inside = _inside_strings(lines)
    for i, line in enumerate(lines):
        ours = None if i in inside else _FOR_IPYTHON.match(line)
        if ours is None:
            kept.append(line)
            continue
        found += _shell(path, cell, i + 1, line)
        indent = ours["indent"] or ""
        kept.append(f"{indent}{ours['bound']}None" if ours["bound"] else f"{indent}pass")
    return kept, found


def _inside_strings(lines: list[str]) -> frozenset[int]:
    """Lines that stand in a text of several lines: a % at their beginning is the text's."""
    inside, mark = set(), ""
    for i, line in enumerate(lines):
        if mark:
            inside.add(i)
        for found in re.finditer(r"\"\"\"|'''", line):
            mark = found.group() if not mark else "" if found.group() == mark else mark
    return frozenset(inside)


def _shell(path: str, cell: int, number: int, line: str) -> list[Finding]:
    return [_finding(path, cell, number, line, rule, what) for pattern, rule, what in _SHELL if pattern.search(line)]


def _finding(path: str, cell: int, number: int, line: str, rule: str, what: str) -> Finding:
    return Finding(
        file=path,
        line=number,
        column=len(line) - len(line.lstrip()) + 1,
        rule=rule,
        what=what,
        excerpt=line.strip()[:100],
        meaning=RULES[rule].meaning,
        cell=cell,
    )
