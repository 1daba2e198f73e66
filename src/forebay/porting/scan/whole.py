"""Read a script with what it imports, or a folder, and put together what was found.

Asked:  what does all of this need of a chip?
Answer: each file by its reader: Python by `scan.look`, notebooks by `scan.notebook`, all others by `porting.sources`. What ties
        the text to CUDA is a finding, the rest a note, as the rule says.
Limits: a script that can't be read is an error; in a folder it is told among `unread`, and the others are read.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from forebay.errors import BadScript, ForebayError, Unknown, nearest
from forebay.porting import sources
from forebay.porting.findings import Finding, Findings, Unread
from forebay.porting.rules import RULES
from forebay.porting.scan.beside import beside
from forebay.porting.scan.folder import Limits, Say, files
from forebay.porting.scan.look import look
from forebay.porting.scan.notebook import scan_notebook
from forebay.porting.scan.page import read_page
from forebay.porting.scan.text import decode, parse, read
from forebay.porting.scan.trigger import speaks


@dataclass(slots=True)
class _Sum:
    """What was found so far, file by file."""

    files: list[str] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    torch: bool = False

    def findings(self, entry: str) -> Findings:
        rules = {finding.rule for finding in self.found}
        needs: set[str] = {key for key in ("bf16", "fp8", "fp64", "tf32") if key in rules}
        needs |= {"tf32"} if "matmul-precision" in rules else set()
        needs |= {"torch.distributed"} if rules & {"distributed", "nccl", "nccl-comparison", "device-ids"} else set()
        needs |= {"a device"} if any(RULES[rule].names_device for rule in rules) else set()
        return Findings(
            entry=entry,
            files=tuple(self.files),
            findings=tuple(finding for finding in self.found if RULES[finding.rule].ties),
            notes=tuple(finding for finding in self.found if not RULES[finding.rule].ties),
            imports_torch=self.torch,
            unread=tuple(self.unread),
            needs=tuple(sorted(needs)),
        )


def scan_script(path: Path) -> Findings:
    """What a script needs, with the files of its own folder that it imports; or a notebook, or one other file."""
    path = _script_path(path)
    total = _Sum()
    if path.suffix == ".ipynb" or sources.reads(path.name):
        _read_into(total, path.name, path.read_bytes(), str(path), ())
        return total.findings(str(path))
    own = _own(path.parent)
    waiting, pages = [path], {}
    while waiting:
        now = waiting.pop()
        if now not in pages:
            text = read(now)
            pages[now] = read_page(parse(text, str(now)), text, _shown(now, path.parent))
            waiting += beside(pages[now].imports, now, path.parent)
    for page in (pages[file] for file in sorted(pages)):
        total.files.append(page.path)
        total.found += look(page, own)
        total.torch = total.torch or page.imports_package("torch")
    return total.findings(str(path))


def scan_tree(root: Path, entry: str = "", limits: Limits = Limits(), say: Say | None = None) -> Findings:  # noqa: B008
    """What all scripts, notebooks and sources of a folder need. `say` hears of each file before it is read."""
    names = files(root, reads, limits)
    total = _Sum()
    own = {folder: _own(root / folder) for folder in ("", "src")}
    with without_collector():
        for i, name in enumerate(names):
            if say is not None:
                say(i, len(names), name)
            try:
                body = _bytes(root / name, limits)
                folder = str(PurePath(name).parent)
                if folder not in own:
                    own[folder] = _own(root / folder)
                _read_into(total, name, body, name, own[""] | own["src"] | own[folder])
            except ForebayError as error:
                total.unread.append(Unread(file=name, reason=_reason(error, name)))
    if say is not None:
        say(len(names), len(names), "")
    return total.findings(entry or str(root))


def reads(path: str) -> bool:
    """Whether a file is one that a folder's scan reads, by its name."""
    return path.endswith((".py", ".pyw", ".ipynb")) or sources.reads(path)


# ---------------------------------------------------------------- one file


def _read_into(total: _Sum, name: str, body: bytes, told: str, own: Collection[str]) -> None:
    """Reads one file; `told` is what an error calls it. Nothing is added when it can't be read."""
    if name.endswith(".ipynb"):
        book = scan_notebook(_utf8(body, told), name)
        total.found += book.findings
        total.unread += book.unread
        total.torch = total.torch or book.imports_torch
    elif name.endswith((".py", ".pyw")):
        text = decode(body, told)
        if speaks(text):
            page = read_page(parse(text, told), text, name)
            total.found += look(page, own)
            total.torch = total.torch or page.imports_package("torch")
    else:
        total.found += sources.find(name, _utf8(body, told))
    total.files.append(name)


def _utf8(body: bytes, path: str) -> str:
    if b"\0" in body[:8192]:
        raise BadScript(f"{path}: not a text file.", found="zero bytes")
    return body.decode("utf-8-sig", errors="replace")


def _bytes(path: Path, limits: Limits) -> bytes:
    try:
        size = path.stat().st_size
        if size > limits.largest_bytes:
            raise BadScript(f"{path}: larger than is read.", found=f"{size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadScript(f"{path} can't be read.", found=error.strerror or str(error)) from None


def _reason(error: ForebayError, name: str) -> str:
    text = error.text.split(name, 1)[-1].lstrip(",: ").rstrip(".")
    return f"{text}: {error.found}" if error.found else text


def _own(folder: Path) -> frozenset[str]:
    """The names under which a folder's scripts and packages are imported by those beside them."""
    try:
        return frozenset(path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    except OSError:
        return frozenset()


def _script_path(path: Path) -> Path:
    if path.is_dir():
        scripts = sorted(item.name for item in path.glob("*.py"))
        raise BadScript(
            f"{path} is a folder; a script is a file.", found=", ".join(scripts[:5]), hint=f"forebay port {path}/SCRIPT.py"
        )
    if not path.exists():
        beside_it: Iterable[Path] = path.parent.iterdir() if path.parent.is_dir() else ()
        near = [str(path.parent / name) for name in nearest(path.name, sorted(item.name for item in beside_it))]
        raise Unknown(f"{path}: there is no such file.", hint=" or ".join(near) or "the path of a Python script")
    return path


def _shown(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


@contextmanager
def without_collector() -> Iterator[None]:
    """Trees of thousands of nodes come and go without a cycle in them; the collector would look at each again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
