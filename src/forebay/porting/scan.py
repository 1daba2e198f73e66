"""Find in a script what speaks of CUDA.

Asked:  which lines of this text need something of the chip, and what?
Answer: the text is parsed, never run. Names are followed through imports, aliases ("from torch import cuda as gpu") and plain
        assignments, scope by scope, so that a word is told from a device: `"cuda"` handed to `.to()` is a device, in
        `if kind == "cuda"` a comparison, in a file name or a heading a word.
Limits: the standard library's `ast` is enough to read, and parses torch's own largest files quickly; it forgets spaces and
        comments, so the rewriting of a later issue brings LibCST. What is computed at run time ("cu" + "da", getattr, exec,
        devices read from a file) isn't seen. A name is followed within its file only.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from forebay.errors import BadScript, Unknown, nearest
from forebay.porting import sources
from forebay.porting.findings import Finding, Findings
from forebay.porting.rules import (
    CALLS,
    CUDA_NAMES,
    CUDA_PACKAGES,
    CUDA_VARIABLES,
    DEVICE_ARGUMENTS,
    DEVICE_KEYWORDS,
    NAMES,
    RULES,
    STOOD_IN,
)

DEVICE = re.compile(r"cuda(:\d+)?")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})
_KERNELS = (".cu", ".cuh", ".ptx")  # as they are named in a script
_PASSES_ON = (ast.IfExp, ast.BoolOp, ast.NamedExpr, ast.List, ast.Tuple, ast.Set)  # what holds a string and is used in its stead
_TAKES_WORDS = frozenset(
    {"print", "open", "Path", "join", "debug", "info", "warning", "error", "exception", "log", "write", "title", "legend"}
    | {
        "set_title",
        "getattr",
        "hasattr",
        "setattr",
        "import_module",
        "add_argument",
        "get",
        "split",
        "replace",
        "append",
        "add_scalar",
    }
)


def scan(text: str, path: str) -> tuple[Finding, ...]:
    """What a script's text needs, in the order of its lines. Raises BadScript where it doesn't parse."""
    return _Script(_parse(text, path), text, path).findings()


def scan_script(path: Path) -> Findings:
    """What a script needs, with the files of its own folder that it imports."""
    path = _script_path(path)
    waiting, texts = [path], dict[Path, str]()
    while waiting:
        now = waiting.pop()
        if now not in texts:
            texts[now] = read(now)
            waiting += _beside(_parse(texts[now], str(now)), now, path.parent)
    return _findings(str(path), {_shown(file, path.parent): text for file, text in sorted(texts.items())})


def scan_tree(root: Path, entry: str = "") -> Findings:
    """What all scripts of a folder need. Hidden folders and installed packages are left out."""
    if not root.is_dir():
        raise Unknown(f"{root}: there is no such folder.")
    inside = [path for path in sorted(root.rglob("*")) if path.is_file() and not _is_skipped(path.relative_to(root))]
    texts = {str(path.relative_to(root)): read(path) for path in inside if path.suffix == ".py"}
    others = {str(path.relative_to(root)): path for path in inside if sources.reads(str(path.relative_to(root)))}
    more = [finding for name, path in others.items() for finding in sources.find(name, path.read_text(errors="replace"))]
    return _findings(entry or str(root), texts, tuple(others), tuple(more))


def read(path: Path) -> str:
    """A script's text, in the encoding that it declares, or UTF-8 as Python has it."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise BadScript(f"{path} can't be read.", found=error.strerror or str(error)) from None
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
    except SyntaxError as error:
        if (at := _not_utf8(body)) is not None:
            raise _bad_letter(path, body, at) from None
        raise BadScript(f"{path}: {error.msg}.", hint="save it as UTF-8") from None
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        raise _bad_letter(path, body, error.start) from None


# ---------------------------------------------------------------- reading files


def _script_path(path: Path) -> Path:
    if path.is_dir():
        scripts = sorted(item.name for item in path.glob("*.py"))
        raise BadScript(
            f"{path} is a folder; a script is a file.", found=", ".join(scripts[:5]), hint=f"forebay port {path}/SCRIPT.py"
        )
    if not path.exists():
        beside = sorted(item.name for item in path.parent.iterdir()) if path.parent.is_dir() else []
        near = [str(path.parent / name) for name in nearest(path.name, beside)]
        raise Unknown(f"{path}: there is no such file.", hint=" or ".join(near) or "the path of a Python script")
    return path


def _not_utf8(body: bytes) -> int | None:
    try:
        body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return error.start
    return None


def _bad_letter(path: Path, body: bytes, at: int) -> BadScript:
    line = body.count(b"\n", 0, at) + 1
    begin = body.rfind(b"\n", 0, at) + 1
    shown = body[begin:].split(b"\n")[0][:80].decode("utf-8", "backslashreplace")
    return BadScript(
        f"{path}, line {line}, column {at - begin + 1}: this byte isn't in the file's encoding.",
        found=shown,
        hint="save the file as UTF-8, or name its encoding in its first line: # -*- coding: latin-1 -*-",
    )


def _parse(text: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence" is the script's own affair
            return ast.parse(text, filename=path)
    except SyntaxError as error:
        raise _bad_syntax(text, path, error) from None
    except (RecursionError, MemoryError):
        raise BadScript(f"{path}: nested too deeply for Python to parse.", hint="does python itself run it?") from None


def _bad_syntax(text: str, path: str, error: SyntaxError) -> BadScript:
    line, column = error.lineno or 1, error.offset or 1
    lines = text.splitlines()
    shown = (lines[line - 1] if 0 < line <= len(lines) else (error.text or "")).strip()
    two = "Missing parentheses in call" in (error.msg or "") or re.match(
        r"except\s+[\w.]+\s*,|raise\s+\w+\s*,|exec\s+[\"'\w]|.*<>|.*`|.*\bur?[\"']|.*\b0\d+\b|.*\d[lL]\b", shown
    )
    return BadScript(
        f"{path}, line {line}, column {column}: {(error.msg or '').rstrip('.?')}.",
        found=shown[:100],
        hint="this looks like Python 2; rewrite it for Python 3 (2to3 does most of it)"
        if two
        else f"python{sys.version_info[0]}.{sys.version_info[1]} -m py_compile {path} shows the same",
    )


def _beside(tree: ast.Module, file: Path, folder: Path) -> Iterator[Path]:
    """Files of the script's folder that a file imports."""
    for node in ast.walk(tree):
        names: list[str] = []
        base = folder
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = file.parents[node.level - 1] if node.level <= len(file.parents) else folder
            stem = f"{node.module}." if node.module else ""
            names = [node.module or "", *(stem + alias.name for alias in node.names)]
        for name in filter(None, names):
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                module = base.joinpath(*parts[:i])
                yield from (path for path in (module.with_name(module.name + ".py"), module / "__init__.py") if path.is_file())


def _shown(file: Path, folder: Path) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def _is_skipped(path: Path) -> bool:
    return any(part in _SKIPPED or part.startswith(".") for part in path.parts)


def _findings(entry: str, texts: Mapping[str, str], others: tuple[str, ...] = (), more: tuple[Finding, ...] = ()) -> Findings:
    """Sorts what was found by what it is: what ties the text to CUDA, and what is only good to know."""
    found = list[Finding]()
    torch = False
    for name, text in texts.items():
        script = _Script(_parse(text, name), text, name)
        found += script.findings()
        torch = torch or script.imports("torch")
    found += more
    rules = {finding.rule for finding in found}
    needs: set[str] = {key for key in ("bf16", "fp8", "fp64", "tf32") if key in rules}
    needs |= {"torch.distributed"} if rules & {"distributed", "nccl", "device-ids"} else set()
    needs |= {"a device"} if any(RULES[rule].names_device for rule in rules) else set()
    return Findings(
        entry=entry,
        files=(*texts, *others),
        findings=tuple(finding for finding in found if RULES[finding.rule].ties),
        notes=tuple(finding for finding in found if not RULES[finding.rule].ties),
        imports_torch=torch,
        needs=tuple(sorted(needs)),
    )


def _finding(file: str, line: int, column: int, rule: str, what: str, excerpt: str) -> Finding:
    return Finding(file=file, line=line, column=column, rule=rule, what=what, excerpt=excerpt, meaning=RULES[rule].meaning)


# ---------------------------------------------------------------- reading names

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(slots=True)
class _Scope:
    """What names mean in a module, class or function: the full name of a torch thing, or None for anything else."""

    above: _Scope | None
    names: dict[str, str | None] = field(default_factory=dict)

    def meaning(self, name: str) -> str | None:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.above
        return None

    def full_name(self, node: ast.AST) -> str | None:
        """ "torch.cuda.Event" for an expression that leads there through names and dots; None for another."""
        dots: list[str] = []
        while isinstance(node, ast.Attribute):
            dots.append(node.attr)
            node = node.value
        root = self.meaning(node.id) if isinstance(node, ast.Name) else None
        return ".".join([root, *reversed(dots)]) if root else None


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the scopes inside it (whose names and defaults do belong here)."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting += ast.iter_child_nodes(node)


def _scope_of(node: ast.AST, above: _Scope | None) -> _Scope:
    """Imports first, then assignments: a name that is bound to anything that isn't torch's means nothing to us."""
    scope = _Scope(above)
    if isinstance(node, Function):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        scope.names.update({argument.arg: None for argument in every if argument is not None})
    body = list(_own_nodes(node))
    for inner in body:
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                name = alias.asname or alias.name.split(".")[0]
                scope.names[name] = alias.name if alias.asname else name
        elif isinstance(inner, ast.ImportFrom) and inner.module and not inner.level:
            scope.names.update({alias.asname or alias.name: f"{inner.module}.{alias.name}" for alias in inner.names})
        elif isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            scope.names.setdefault(inner.name, None)
    for inner in body:
        if isinstance(inner, ast.Assign) and len(inner.targets) == 1 and isinstance(inner.targets[0], ast.Name):
            name = inner.targets[0].id
            if name not in scope.names:
                meaning = scope.full_name(inner.value)
                scope.names[name] = meaning if meaning and meaning.startswith("torch") else None
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            scope.names.setdefault(inner.id, None)
    return scope


# ---------------------------------------------------------------- finding


class _Script:
    """One parsed file, with the scope and the parent of every node. Walked with a stack, for deep nesting is no error."""

    def __init__(self, tree: ast.Module, text: str, path: str) -> None:
        self.path = path
        self.lines = re.split(r"\r\n|\r|\n", text)  # as Python counts lines; splitlines also cuts at form feeds
        self.parents: dict[ast.AST, ast.AST] = {}
        self.scopes: dict[ast.AST, _Scope] = {}
        self.found: dict[tuple[int, int, str], Finding] = {}
        waiting: list[tuple[ast.AST, _Scope]] = [(tree, _scope_of(tree, None))]
        while waiting:
            node, scope = waiting.pop()
            self.scopes[node] = scope
            inside = _scope_of(node, scope) if isinstance(node, _SCOPES) else scope
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
                waiting.append((child, inside))

    def findings(self) -> tuple[Finding, ...]:
        for node in self.scopes:
            self._look(node)
        return tuple(self.found[key] for key in sorted(self.found))

    def imports(self, package: str) -> bool:
        return any(
            (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == package for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == package)
            for node in self.scopes
        )

    def _add(self, node: ast.expr | ast.stmt | ast.keyword, rule: str, what: str) -> None:
        self._add_at(node.lineno, node.col_offset, rule, what)

    def _add_method(self, method: ast.Attribute, rule: str, what: str) -> None:
        """A method is found where its name stands: in a chain over several lines the call begins far above."""
        self._add_at(method.end_lineno or 1, (method.end_col_offset or 0) - len(method.attr.encode()), rule, what)

    def _add_at(self, number: int, offset: int, rule: str, what: str) -> None:
        line = self.lines[number - 1] if number <= len(self.lines) else ""
        column = len(line.encode()[:offset].decode(errors="ignore")) + 1  # ast counts bytes, people letters
        self.found.setdefault((number, column, rule), _finding(self.path, number, column, rule, what, line.strip()[:100]))

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            self._name(node, self.scopes[node].full_name(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._string(node, node.value)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            if package := next((p for p in CUDA_PACKAGES if name == p or name.startswith(p + ".")), None):
                needed = "cuda-package-stood-in" if package in STOOD_IN else "cuda-package"
                self._add(node, "cuda-package-optional" if self._is_guarded(node) else needed, package)
            elif name.split(".")[0] == "triton":
                self._add(node, "triton", "triton")

    def _is_guarded(self, node: ast.AST) -> bool:
        """Whether an import that fails is caught: it stands in the body of a try with an except for it."""
        while (above := self.parents.get(node)) is not None:
            if isinstance(above, ast.Try) and node in above.body and any(map(_catches_import, above.handlers)):
                return True
            node = above
        return False

    def _call(self, node: ast.Call) -> None:
        name = self.scopes[node].full_name(node.func)
        rule = CALLS.get(name or "")
        if rule == "cpp-extension" and _holds_kernels(node):
            rule = "cuda-extension"
        if rule:
            self._add(node, rule, name or "")
        for keyword in node.keywords:
            self._keyword(node, keyword)
        if isinstance(node.func, ast.Attribute) and not (name or "").startswith("torch."):
            self._method(node, node.func)

    def _method(self, call: ast.Call, method: ast.Attribute) -> None:
        if method.attr == "cuda":
            self._add_method(method, "cuda-move", ".cuda()")
        elif method.attr == "pin_memory":
            self._add_method(method, "pinned-memory", ".pin_memory()")
        elif method.attr == "bfloat16" and not call.args:
            self._add_method(method, "bf16", ".bfloat16()")
        elif method.attr == "double" and not call.args:
            self._add_method(method, "fp64", ".double()")
        elif method.attr == "to" and call.args and _is_number(call.args[0]):
            self._add_method(method, "device-index", f".to({ast.unparse(call.args[0])})")

    def _keyword(self, call: ast.Call, keyword: ast.keyword) -> None:
        value = keyword.value
        off = isinstance(value, ast.Constant) and (value.value is False or value.value is None)
        if off or keyword.arg is None:
            return
        if keyword.arg in ("pin_memory", "pin_memory_device"):
            self._add(keyword, "pinned-memory", keyword.arg)
        elif keyword.arg == "non_blocking":
            self._add(keyword, "non-blocking", "non_blocking")
        elif keyword.arg in ("device_ids", "output_device"):
            self._add(keyword, "device-ids", keyword.arg)
        elif keyword.arg == "map_location":
            self._add(keyword, "map-location", f"map_location={ast.unparse(value)[:40]}")
        elif keyword.arg == "device" and _is_number(value):
            self._add(keyword, "device-index", f"device={ast.unparse(value)}")

    def _attribute(self, node: ast.Attribute) -> None:
        above = self.parents.get(node)
        if isinstance(above, ast.Attribute):
            return  # the whole chain is looked at, once
        name = self.scopes[node].full_name(node)
        if name is None:
            chain: ast.expr = node
            while isinstance(chain, ast.Attribute):
                if chain.attr == "is_cuda":
                    self._add_method(chain, "is-cuda", ".is_cuda")
                chain = chain.value
            return
        self._name(node, name)

    def _name(self, node: ast.Name | ast.Attribute, name: str | None) -> None:
        if name is None or not name.startswith("torch") or isinstance(self.parents.get(node), ast.Attribute):
            return
        if name.startswith("torch.cuda."):
            self._add(node, CUDA_NAMES.get(name.split(".")[2], "cuda-other"), name)
        elif name.startswith(("torch.backends.cuda", "torch.backends.cudnn")):
            self._add(node, "tf32" if "tf32" in name or "fp32_precision" in name else "backends", name)
        else:
            full = next((known for known in NAMES if name == known or name.startswith(known + ".")), None)
            if full:
                self._add(node, NAMES[full], full)

    # -- strings

    def _string(self, node: ast.Constant, text: str) -> None:
        above = self.parents[node]
        if isinstance(above, ast.Expr) or (isinstance(above, ast.JoinedStr) and not text.startswith("cuda:")):
            return  # a docstring, or the middle of a printed line
        shown = repr(text) if len(text) <= 40 else repr(text[:37] + "...")
        place: ast.expr = above if isinstance(above, ast.JoinedStr) else node
        if text == "nvidia-smi" or text.startswith("nvidia-smi "):
            self._add(place, "nvidia-smi", "nvidia-smi")
        elif text.endswith("_VISIBLE_DEVICES") and text.startswith("CUDA"):
            self._add(place, "visible-devices", text)
        elif re.fullmatch(r"[A-Z][A-Z0-9_]+", text) and text.startswith(CUDA_VARIABLES):
            self._add(place, "cuda-environment", text)
        elif re.fullmatch(r"(cpu:gloo,)?(cuda:)?nccl", text):
            if self._is_backend(node):
                self._add(place, "nccl", shown)
        elif text.startswith("torch.cuda.") and text.endswith("Tensor"):
            self._add(place, "cuda-tensor-type", shown)
        elif re.search(r"libcu\w*\.so|libnccl\.so|nvrtc", text):
            self._add(place, "cuda-library", shown)
        elif text.endswith(_KERNELS) and re.fullmatch(r"[\w./-]*\w\.\w+", text):
            self._add(place, "cu-file", shown)
        elif DEVICE.fullmatch(text) or (isinstance(above, ast.JoinedStr) and above.values[0] is node and text == "cuda:"):
            shown = shown if place is node else f"f{ast.unparse(place)[1:]}"[:40]
            if not self._is_map_location(place):  # told once, by its keyword
                self._add(place, self._role(place), shown)
        elif "cuda" in text.lower() and "\n" not in text and not isinstance(above, ast.JoinedStr):
            self._add(place, "word", shown)

    def _is_map_location(self, node: ast.expr) -> bool:
        above = self.parents[node]
        return isinstance(above, ast.keyword) and above.arg == "map_location"

    def _is_backend(self, node: ast.expr) -> bool:
        """A comparison with "nccl" asks, a label names; only what is handed over or kept chooses."""
        return not isinstance(self.parents[node], (ast.Compare, ast.List, ast.Tuple, ast.Set, ast.MatchValue))

    def _role(self, node: ast.expr) -> str:
        """What a string that reads like a device is there for."""
        inner: ast.AST = node
        above = self.parents[node]
        while isinstance(above, _PASSES_ON) and not (isinstance(above, ast.IfExp) and above.test is inner):
            inner, above = above, self.parents[above]
        if isinstance(above, (ast.Compare, ast.MatchValue)):
            return "device-comparison"
        if isinstance(above, ast.keyword):
            return self._keyword_role(above)
        if isinstance(above, ast.Call):
            return self._argument_role(above, inner)
        if isinstance(above, (ast.Assign, ast.AnnAssign)):
            targets = above.targets if isinstance(above, ast.Assign) else [above.target]
            return "device-string" if any(_speaks_of_device(ast.unparse(target)) for target in targets) else "word"
        if isinstance(above, ast.Dict):
            key = next((k for k, v in zip(above.keys, above.values, strict=True) if v is inner and k is not None), None)
            return "device-string" if key is not None and _speaks_of_device(ast.unparse(key)) else "word"
        if isinstance(above, ast.arguments):
            return "device-string" if _speaks_of_device(_argument_of(above, inner)) else "word"
        if isinstance(above, ast.Return):
            return "device-string"
        return "word"

    def _keyword_role(self, keyword: ast.keyword) -> str:
        if keyword.arg in DEVICE_KEYWORDS:
            return "device-string"
        call = self.parents[keyword]
        first = call.args[0] if isinstance(call, ast.Call) and call.args else None
        if keyword.arg in ("default", "choices") and first is not None and _speaks_of_device(ast.unparse(first)):
            return "device-string"  # parser.add_argument("--device", default="cuda")
        return "word"

    def _argument_role(self, call: ast.Call, inner: ast.AST) -> str:
        place = next((i for i, argument in enumerate(call.args) if argument is inner), -1)
        name = self.scopes[call].full_name(call.func)
        if place in DEVICE_ARGUMENTS.get(name or "", ()):
            return "map-location" if name == "torch.load" else "device-string"
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called in ("startswith", "endswith", "find", "count"):
            return "device-comparison"
        return "word" if called in _TAKES_WORDS else "device-string"  # a function of the script's own: most likely a device


def _argument_of(arguments: ast.arguments, default: ast.AST) -> str:
    """Name of the argument whose default this is."""
    places = [*arguments.posonlyargs, *arguments.args]
    for argument, value in zip(reversed(places), reversed(arguments.defaults), strict=False):
        if value is default:
            return argument.arg
    for argument, kw_value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if kw_value is default:
            return argument.arg
    return ""


def _speaks_of_device(name: str) -> bool:
    return re.search(r"device|\bdev\b|map_location|gpu", name, re.IGNORECASE) is not None


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def _holds_kernels(call: ast.Call) -> bool:
    """Whether a call that builds an extension is handed CUDA sources."""
    if any(keyword.arg in ("cuda_sources", "extra_cuda_cflags", "with_cuda") for keyword in call.keywords):
        return True
    strings = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return any(text.endswith(_KERNELS) for text in strings)


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
