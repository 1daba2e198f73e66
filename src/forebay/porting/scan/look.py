"""Find in a script what speaks of CUDA.

Asked:  which lines of this text need something of the chip, and what?
Answer: the text is parsed, never run. Names are followed through imports, aliases ("from torch import cuda as gpu") and plain
        assignments, scope by scope, so that a word is told from a device: `"cuda"` handed to `.to()` is a device, in
        `if kind == "cuda"` a comparison, in a file name or a heading a word.
        One use is one finding: the string in torch.cuda.device("cuda") belongs to the call, and an import is found once a rule.
Limits: the standard library's `ast` is enough to read, and is several times as fast as LibCST, which rewrites; it forgets spaces
        and comments. What is computed at run time ("cu" + "da", exec, devices read from a file) isn't seen. A name is followed
        within its file only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from forebay.errors import BadScript
from forebay.porting.findings import Finding
from forebay.porting.known import CALLS, SCALERS, VARIABLE, package_of, rule_of_name
from forebay.porting.rules import RULES
from forebay.porting.scan.called import argument, is_card, is_number, last_name, option_of
from forebay.porting.scan.page import Page, read_page
from forebay.porting.scan.strings import rule_of_string
from forebay.porting.scan.text import parse

_KERNELS = (".cu", ".cuh", ".ptx")
_SPREADS = re.compile(r"(Data|Distributed|Sharded)Parallel(CPU)?$|(^|_)DDP$|^DP$|^data_parallel$|^barrier$")
_PROFILES = re.compile(r"^(profile|Profile|profiler)$")
_PROFILED = re.compile(r"(self_)?cuda_(time|memory)\w*")


def scan(text: str, path: str, own: Collection[str] = ()) -> tuple[Finding, ...]:
    """What a script's text needs, in the order of its lines. Raises BadScript where it doesn't parse.

    `own` are the names of the project's own modules: what is imported from them is found where it stands.
    """
    return look(read_page(parse(text, path), text, path), own)


def look(page: Page, own: Collection[str] = ()) -> tuple[Finding, ...]:
    """The same, for a script that is parsed and walked already."""
    try:
        return _Look(page, own).findings()
    except RecursionError:  # expressions are shown by ast.unparse
        raise BadScript(f"{page.path}: nested too deeply to be shown.", hint="does python itself run it?") from None


class _Look:
    """One page, and what was found on it so far."""

    def __init__(self, page: Page, own: Collection[str]) -> None:
        self.page = page
        self.own = own
        self.found: dict[tuple[int, int, str], Finding] = {}
        self.guarded: set[str] = set()  # packages whose import may fail
        self.compiled: set[str] = set()  # modules that are most likely its own kernels

    def findings(self) -> tuple[Finding, ...]:
        for statement in self.page.imports:
            self._import(statement)
        for call in self.page.calls:
            self._call(call)
        for assigned in self.page.assigns:
            if assigned.value is not None and is_number(assigned.value):
                self._add(assigned.value, "device-index", f"device = {ast.unparse(assigned.value)}")
        for chain in self.page.chains:
            self._chain(chain)
        for name in self.page.names:
            self._name(name)
        for string in self.page.strings:
            if (use := rule_of_string(self.page, string)) is not None:
                rule, place, shown = use
                if rule != "nvcc" or not any(key[0] == place.lineno and key[2] == rule for key in self.found):
                    self._add(place, rule, shown)
        return tuple(self.found[key] for key in sorted(self.found))

    # -- adding

    def _add(self, node: ast.expr | ast.stmt | ast.keyword, rule: str, what: str) -> None:
        self._add_at(node.lineno, node.col_offset, rule, what)

    def _add_method(self, method: ast.Attribute, rule: str, what: str) -> None:
        """A method is found where its name stands: in a chain over several lines the call begins far above."""
        self._add_at(method.end_lineno or 1, (method.end_col_offset or 0) - len(method.attr.encode()), rule, what)

    def _add_at(self, number: int, offset: int, rule: str, what: str) -> None:
        line = self.page.lines[number - 1] if number <= len(self.page.lines) else ""
        column = len(line.encode()[:offset].decode(errors="ignore")) + 1  # ast counts bytes, people letters
        key = (number, column, rule)
        if key not in self.found:
            self.found[key] = Finding(
                file=self.page.path,
                line=number,
                column=column,
                rule=rule,
                what=what,
                excerpt=line.strip()[:100],
                meaning=RULES[rule].meaning,
            )

    # -- imports

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Found where the word stands: with the module that is CUDA's, or with the name that is taken from another."""
        if isinstance(node, ast.ImportFrom) and node.level:
            return
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        whole = module != "" and (rule_of_name(module) is not None or module.split(".")[0] == "triton")
        seen: set[tuple[int, str]] = set()
        for alias in node.names:
            name = f"{module}.{alias.name}".removesuffix(".*") if module else alias.name
            found = self._imported(node, name)
            place = node if whole or alias.lineno == node.lineno else alias
            if found is not None and (place.lineno, found[0]) not in seen:
                seen.add((place.lineno, found[0]))
                self._add_at(place.lineno, place.col_offset, *found)

    def _imported(self, node: ast.stmt, name: str) -> tuple[str, str] | None:
        first = name.split(".")[0]
        if first in self.own and first not in ("torch", "triton"):
            return None
        if package := package_of(name):
            if self._is_guarded(node):
                self.guarded.add(package)
                return "cuda-package-optional", package
            return rule_of_name(name) or "cuda-package", package
        if first == "triton":
            return "triton", "triton"
        rule = rule_of_name(name)
        if rule is not None:
            return (rule, name) if RULES[rule].ties else None
        if "cuda" in first.lower():
            self.compiled.add(first)
            return "own-extension", first
        return None

    def _is_guarded(self, node: ast.AST) -> bool:
        """Whether an import that fails is caught: it stands in the body of a try with an except for it."""
        for above in self.page.above(node):
            if isinstance(above, ast.Try) and node in above.body and any(map(_catches_import, above.handlers)):
                return True
            node = above
        return False

    # -- calls

    def _call(self, node: ast.Call) -> None:
        name = self.page.full_name(node.func)
        if name is not None and name in CALLS:
            self._known_call(node, name)
        for keyword in node.keywords:
            self._keyword(node, keyword, name or "")
        if isinstance(node.func, ast.Attribute) and not (name or "").startswith(("torch.", "numba.")):
            self._method(node, node.func)
        elif name == "torch.device" and node.args and is_card(node.args[0]):
            self._add(node, "device-index", f"torch.device({ast.unparse(node.args[0])})")
        if name in ("torch.nn.DataParallel", "torch.nn.parallel.DataParallel") and len(node.args) > 1:
            self._add(node.args[1], "device-ids", "device_ids")

    def _known_call(self, node: ast.Call, name: str) -> None:
        rule = CALLS[name]
        if rule == "cpp-extension":
            rule = _extension(node, name)
        elif rule == "autocast":
            device = argument(node, 0, "device" if name in SCALERS else "device_type")
            if device is None and name in SCALERS:
                rule = "amp"  # a scaler that isn't told for which device is CUDA's
            elif device is not None and "cuda" in ast.unparse(device):
                return  # the string is the use
        self._add(node, rule, name)

    def _method(self, call: ast.Call, method: ast.Attribute) -> None:
        if method.attr == "cuda":
            self._add_method(method, "cuda-move", ".cuda()")
        elif method.attr == "pin_memory":
            self._add_method(method, "pinned-memory", ".pin_memory()")
        elif method.attr == "bfloat16" and not call.args:
            self._add_method(method, "bf16", ".bfloat16()")
        elif method.attr == "double" and not call.args:
            self._add_method(method, "fp64", ".double()")
        elif method.attr == "to" and call.args and is_card(call.args[0]):
            self._add_method(method, "device-index", f".to({ast.unparse(call.args[0])})")

    def _keyword(self, call: ast.Call, keyword: ast.keyword, name: str) -> None:
        value, argument = keyword.value, keyword.arg
        off = isinstance(value, ast.Constant) and (value.value is False or value.value is None)
        if off or argument is None:
            return
        if argument in ("pin_memory", "pin_memory_device"):
            self._add(keyword, "pinned-memory", argument)
        elif argument == "non_blocking":
            self._add(keyword, "non-blocking", "non_blocking")
        elif argument in ("device_ids", "output_device"):
            if isinstance(value, ast.IfExp) and ast.unparse(value.test).endswith(".accelerator.is_available()"):
                return  # for every device already
            if _SPREADS.search(last_name(call.func)) or name.startswith("torch.") or _hands_on(call, _SPREADS):
                self._add(keyword, "device-ids", argument)
        elif argument == "map_location":
            if "cuda" not in ast.unparse(value):
                rule = "device-index" if is_card(value) else "checkpoint-device"
                self._add(keyword, rule, f"map_location={ast.unparse(value)[:40]}")
        elif argument == "device":
            if is_card(value):
                self._add(keyword, "device-index", f"device={ast.unparse(value)[:40]}")
        elif argument == "default":
            if is_number(value) and option_of(call) in ("device", "device_id"):
                self._add(keyword, "device-index", f"--device {ast.unparse(value)}")
        elif argument == "device_map" and isinstance(value, ast.Dict) and any(is_card(item) for item in value.values):
            self._add(keyword, "device-index", f"device_map={ast.unparse(value)[:40]}")
        elif argument == "gpus" and last_name(call.func).endswith("Trainer"):
            self._add(keyword, "trainer-gpus", f"gpus={ast.unparse(value)[:40]}")
        elif argument == "use_cuda" and _PROFILES.match(last_name(call.func)):
            self._add(keyword, "profiler", "use_cuda")
        elif VARIABLE.fullmatch(argument):
            rule = "visible-devices" if argument == "CUDA_VISIBLE_DEVICES" else "cuda-environment"
            self._add(keyword, rule, argument)  # dict(os.environ, CUDA_VISIBLE_DEVICES="0")

    # -- names

    def _chain(self, node: ast.Attribute) -> None:
        name = self.page.full_name(node)
        if name is not None and self._full_name(node, name):
            return
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            if inner.attr == "is_cuda":
                self._add_method(inner, "is-cuda", ".is_cuda")
            elif inner.attr == "cuda_stream" and not _is_own_call(self.page, inner.value):
                self._add_method(inner, "streams", ".cuda_stream")
            elif _PROFILED.fullmatch(inner.attr):
                self._add_method(inner, "profiler", f".{inner.attr}")
            inner = inner.value

    def _name(self, node: ast.Name) -> None:
        if (name := self.page.full_name(node)) is not None:
            self._full_name(node, name)

    def _full_name(self, node: ast.Name | ast.Attribute, name: str) -> bool:
        first = name.split(".")[0]
        if first in self.compiled:
            self._add(node, "own-extension", name)
            return True
        rule = rule_of_name(name)
        if rule is None or (first in self.own and first != "torch"):
            return False
        if rule.startswith("cuda-package"):
            package = package_of(name) or first
            rule = "cuda-package-optional" if package in self.guarded else rule
        self._add(node, rule, name)
        return True


def _extension(call: ast.Call, name: str) -> str:
    """Whether a call that builds an extension is handed CUDA sources, C++ alone, or what can't be told."""
    if any(keyword.arg in ("cuda_sources", "extra_cuda_cflags", "with_cuda") for keyword in call.keywords):
        return "cuda-extension"
    sources = call if name.endswith("load_inline") else argument(call, 1, "sources")
    strings = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if any(text.endswith(_KERNELS) for text in strings):
        return "cuda-extension"
    if name.endswith("CppExtension") or (sources is not None and not isinstance(sources, (ast.Name, ast.Attribute))):
        return "cpp-extension"
    return "extension"


def _hands_on(call: ast.Call, pattern: re.Pattern[str]) -> bool:
    """functools.partial(DistributedDataParallel, device_ids=...)"""
    return bool(call.args) and last_name(call.func) == "partial" and pattern.search(last_name(call.args[0])) is not None


def _is_own_call(page: Page, node: ast.expr) -> bool:
    """torch.cuda.current_stream(), which is found by itself."""
    return isinstance(node, ast.Call) and (page.full_name(node.func) or "").startswith("torch.cuda")


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
