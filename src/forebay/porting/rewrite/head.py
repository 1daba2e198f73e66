"""The few lines that a file gets once, after its imports, and the names in them.

Asked:  the changes of a file speak of the device that is there: under which name, and where does that name come from?
Answer: a line `DEVICE = ...` after the imports; a second with the device's module, a class for events, where they are needed.
        A file that already has such a line keeps its name. A module-level `device = torch.device("cuda" if ...)` becomes that
        line itself; where a file needs the device once, in such an expression, it is written there.
Limits: torch must be imported at the top of the file, or nowhere. A file that imports it in functions or tries to import it
        gets no lines, and what would need them is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import libcst as cst

from forebay.porting.rewrite.change import DEVICE, EVENT, MODULE, TORCH, Change, Splice
from forebay.porting.rewrite.page import Page

TORCH_IS_LATE = "torch is imported inside a function or a try here, so no line at the top of the file can ask for the device"
_FREE = {
    DEVICE: ("DEVICE", "TORCH_DEVICE", "ACCELERATOR"),
    MODULE: ("DEVICE_MODULE", "TORCH_DEVICE_MODULE", "ACCELERATOR_MODULE"),
    EVENT: ("DeviceEvent", "TorchDeviceEvent"),
}
_ASKED = "{torch}.accelerator.current_accelerator() if {torch}.accelerator.is_available() else {torch}.device({mark}cpu{mark})"
_BUILT = "{torch}.accelerator.current_accelerator() or {torch}.device({mark}cpu{mark})"  # starts no driver
_NAMED = "{torch}.accelerator.current_accelerator().type if {torch}.accelerator.is_available() else {mark}cpu{mark}"
_BUILT_NAMED = "({torch}.accelerator.current_accelerator() or {torch}.device({mark}cpu{mark})).type"
_MODULE_OF = "{torch}.get_device_module({device})"
_HOST_EVENT = '''\
class Host{event}:
    """Stands in for a device's event where there is no accelerator: its time is the host's clock."""

    def __init__(self, *args, **kwargs):
        self.time_s = perf_counter()

    def record(self, stream=None):
        self.time_s = perf_counter()

    def wait(self, stream=None):
        pass

    def synchronize(self):
        pass

    def query(self):
        return True

    def elapsed_time(self, end):
        return 1000 * (end.time_s - self.time_s)


{event} = {module}.Event if {torch}.accelerator.is_available() else Host{event}
'''


@dataclass(frozen=True, slots=True)
class Head:
    """What is added once, and how the words in the changes are to be read."""

    names: Mapping[str, str]
    added: tuple[Splice, ...]
    changes: tuple[Change, ...]  # those that can be made
    dropped: tuple[Change, ...] = ()  # those that would need torch where it isn't


def plan(page: Page, changes: tuple[Change, ...], chosen_late: bool) -> Head:
    """`chosen_late`: the project chooses its cards by an environment variable while it runs, so no driver may start before."""
    if not any(change.needs(word) for change in changes for word in (DEVICE, MODULE, EVENT, TORCH)):
        return Head({}, (), changes)
    torch, at_import = _torch(page)
    if torch is None and _imports_somewhere(page):
        kept = tuple(change for change in changes if not any(change.needs(word) for word in (DEVICE, MODULE, EVENT, TORCH)))
        return Head({}, (), kept, tuple(change for change in changes if change not in kept))
    names = {TORCH: torch or "torch"}
    users = [change for change in changes if any(change.needs(word) for word in (DEVICE, MODULE, EVENT))]
    at, before = _place(page, at_import)
    late = chosen_late and _sets_cards(page, at)
    if len(users) == 1 and users[0].is_device:
        return Head(names, _lines(page, at, before, _import(torch)), _inline(page, changes, users[0], names[TORCH], late))
    if known := _known(page, names[TORCH], users):
        names[DEVICE], at, before = known
        lines: list[str] = []
    elif idiom := _own_line(page, users):
        name, change, at = idiom
        names[DEVICE], before, lines = name, False, []
        changes = _inline(page, changes, change, names[TORCH], late)
    else:
        names[DEVICE] = _free(page, DEVICE)
        lines = [f"{names[DEVICE]} = {_text(_BUILT if late else _ASKED, names[TORCH], page.quote(page.module))}"]
    more = ""
    if any(change.needs(MODULE) or change.needs(EVENT) for change in users):
        made = _MODULE_OF.format(torch=names[TORCH], device=names[DEVICE])
        names[MODULE] = _given(page, made) or _free(page, MODULE)
        if _given(page, made) is None:
            lines.append(f"{names[MODULE]} = {made}  # torch.cuda, torch.npu, torch.xpu, ... or torch.cpu")
    if any(change.needs(EVENT) for change in users):
        names[EVENT] = _defined_event(page) or _free(page, EVENT)
        if _defined_event(page) is None:
            more = _HOST_EVENT.format(event=names[EVENT], module=names[MODULE], torch=names[TORCH])
    imports = [*_import(torch), *(["from time import perf_counter"] if more and "perf_counter" not in page.words else [])]
    return Head(names, _lines(page, at, before, imports, lines, more), changes)


def _text(pattern: str, torch: str, mark: str) -> str:
    return pattern.format(torch=torch, mark=mark)


# ---------------------------------------------------------------- torch, and where lines can go


def _torch(page: Page) -> tuple[str | None, int]:
    """The name of torch at the top of the file, and the number of the statement that imports it."""
    for number, statement in enumerate(page.module.body):
        for one in _top_level(statement):
            if isinstance(one, cst.Import):
                for alias in one.names:
                    full = alias.evaluated_name
                    if full == "torch":
                        return alias.evaluated_alias or "torch", number
                    if full.startswith("torch.") and alias.asname is None:
                        return "torch", number
    return None, -1


def _top_level(statement: cst.BaseStatement) -> Iterator[cst.BaseSmallStatement]:
    """The statements of a line; and of a try that lets the file end when it fails."""
    if isinstance(statement, cst.SimpleStatementLine):
        yield from statement.body
    elif isinstance(statement, cst.Try) and all(_ends(handler.body) for handler in statement.handlers):
        lines = statement.body.body if isinstance(statement.body, cst.IndentedBlock) else ()
        yield from (one for line in lines if isinstance(line, cst.SimpleStatementLine) for one in line.body)


def _ends(body: cst.BaseSuite) -> bool:
    last = body.body[-1] if isinstance(body, cst.IndentedBlock) and body.body else None
    return isinstance(last, cst.SimpleStatementLine) and isinstance(last.body[-1], cst.Raise)


def _imports_somewhere(page: Page) -> bool:
    return any(
        (alias.evaluated_name.split(".")[0] == "torch" and alias.asname is None) or alias.evaluated_name == "torch"
        for node in page.nodes(cst.Import)
        for alias in node.names
    )


def _import(torch: str | None) -> list[str]:
    return [] if torch else ["import torch"]


def _place(page: Page, at_import: int) -> tuple[int, bool]:
    """Number of the statement after which lines go; True with 0: before the first statement."""
    last = -1
    for number, statement in enumerate(page.module.body):
        if _is_import(statement) or (number == 0 and _is_docstring(statement)):
            last = number
        elif isinstance(statement, (cst.FunctionDef, cst.ClassDef, cst.For, cst.While, cst.With)) or _is_main(page, statement):
            break
    last = max(last, at_import)
    return (last, False) if last >= 0 else (0, True)


def _is_import(statement: cst.BaseStatement) -> bool:
    if isinstance(statement, cst.SimpleStatementLine):
        return any(isinstance(one, (cst.Import, cst.ImportFrom)) for one in statement.body)
    if isinstance(statement, (cst.Try, cst.If)) and isinstance(statement.body, cst.IndentedBlock):
        return all(_is_import(one) for one in statement.body.body)
    return False


def _is_docstring(statement: cst.BaseStatement) -> bool:
    if not isinstance(statement, cst.SimpleStatementLine) or not isinstance(statement.body[0], cst.Expr):
        return False
    return isinstance(statement.body[0].value, (cst.SimpleString, cst.ConcatenatedString))


def _is_main(page: Page, statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.If) and "__name__" in page.source(statement.test)


def _lines(
    page: Page, number: int, before: bool, imports: list[str], lines: list[str] | None = None, more: str = ""
) -> tuple[Splice, ...]:
    """The added lines as one splice, with the blank lines that a reader expects around them."""
    blocks = ["\n".join(imports)] if imports else []
    blocks += ["\n" + "\n".join(lines)] if lines else []
    text = "\n".join(blocks)
    if more:
        text = f"{text}\n\n\n{more.rstrip()}" if text else f"\n\n{more.rstrip()}"
    if not text:
        return ()
    start, end = page.span(page.module.body[number])
    if before:
        return (Splice(start, start, text.lstrip("\n").replace("\n", page.newline) + 2 * page.newline),)
    end = start + len(page.body[start:end].rstrip())
    stop = _line_end(page.body, end)
    rest = page.body[stop:]
    missing = "" if page.body[:stop].endswith((b"\n", b"\r")) else "\n"
    following = 0 if not (lines or more) else (2 if more or _is_definition(page, number + 1) else 1)
    text = f"{missing}{text}\n" + "\n" * max(0, following - _blank_lines(rest))
    return (Splice(stop, stop, text.replace("\n", page.newline)),)


def _is_definition(page: Page, number: int) -> bool:
    following = page.module.body[number : number + 1]
    return bool(following) and isinstance(following[0], (cst.FunctionDef, cst.ClassDef))


def _blank_lines(rest: bytes) -> int:
    """How many blank lines a text begins with; many where nothing else is left."""
    lines = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return next((i for i, line in enumerate(lines) if line.strip()), 2)


def _line_end(body: bytes, at: int) -> int:
    """Just behind the end of the line."""
    while at < len(body) and body[at : at + 1] not in (b"\n", b"\r"):
        at += 1
    return at + (2 if body[at : at + 2] == b"\r\n" else 1 if at < len(body) else 0)


# ---------------------------------------------------------------- the device's name


def _free(page: Page, word: str) -> str:
    for name in _FREE[word]:
        if name not in page.words:
            return name
    return next(f"{_FREE[word][0]}_{i}" for i in range(1, 1000) if f"{_FREE[word][0]}_{i}" not in page.words)


def _module_level(page: Page) -> list[tuple[int, str, cst.Assign]]:
    """`NAME = value` lines of the file itself, for names that nothing else in it binds."""
    found = []
    for number, statement in enumerate(page.module.body):
        if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
            one = statement.body[0]
            if isinstance(one, cst.Assign) and len(one.targets) == 1 and isinstance(one.targets[0].target, cst.Name):
                name = one.targets[0].target.value
                if page.bindings(name) == 1:
                    found.append((number, name, one))
    return found


def _given(page: Page, text: str) -> str | None:
    return next((name for _, name, one in _module_level(page) if page.source(one.value) == text), None)


def _defined_event(page: Page) -> str | None:
    names = [
        node.name.value for node in page.module.body if isinstance(node, cst.ClassDef) and node.name.value.startswith("Host")
    ]
    return next((name[4:] for name in names if name[4:] in _FREE[EVENT]), None)


def _known(page: Page, torch: str, users: list[Change]) -> tuple[str, int, bool] | None:
    """A device's line that stands here already, from an earlier rewrite or by the author's hand."""
    texts = {_text(pattern, torch, mark) for pattern in (_ASKED, _BUILT) for mark in ('"', "'")}
    for number, name, one in _module_level(page):
        if page.source(one.value) in texts and _is_before(page, one, users):
            return name, number, False
    return None


def _own_line(page: Page, users: list[Change]) -> tuple[str, Change, int] | None:
    """A module-level line that finds a device in the usual way, for the others to use."""
    for number, name, one in _module_level(page):
        change = next((user for user in users if user.is_device == "device" and user.span == page.span(one.value)), None)
        if change is not None and _is_before(page, one, [user for user in users if user is not change]):
            return name, change, number
    return None


def _is_before(page: Page, line: cst.Assign, users: Iterable[Change]) -> bool:
    """Whether everything that needs the name runs after its line: below it, or in a function that runs later."""
    end = page.span(line)[1]
    return all(user.span[0] >= end or page.in_function(user.span[0]) for user in users)


def _inline(page: Page, changes: tuple[Change, ...], idiom: Change, torch: str, late: bool) -> tuple[Change, ...]:
    """The idiom with the device's whole expression in its place, in the quotation marks of the text."""
    start, end = idiom.span
    mark = "'" if b"'" in page.body[start:end] else '"'
    pattern = {("device", False): _ASKED, ("device", True): _BUILT, ("name", False): _NAMED, ("name", True): _BUILT_NAMED}
    text = _text(pattern[idiom.is_device, late], torch, mark)
    made = replace(idiom, splices=(Splice(start, end, page.closed_at(idiom.span, text)),))
    return tuple(made if change is idiom else change for change in changes)


def _sets_cards(page: Page, number: int) -> bool:
    """Whether the file chooses its cards by the environment variable after the place of the new lines."""
    start = page.span(page.module.body[number])[1] if page.module.body else 0
    return any("visible-devices" in rules and at > start for at, rules in page.rules.items())
