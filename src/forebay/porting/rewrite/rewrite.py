"""Rewrite one Python text.

Asked:  what is this file, device-agnostic?
Answer: the scan says what ties it to CUDA; each expression is shown to the idioms in turn, and the first that knows it gives a
        Change; the head chooses names and adds the lines that they need; all splices are made at once. What no change settles
        is left with the reason. A text without findings isn't parsed again, and comes back as it was.
Limits: Python that LibCST can't parse, and a text whose encoding doesn't give its own bytes back, are left whole.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from importlib.metadata import version

import libcst as cst

from forebay.porting.findings import Finding
from forebay.porting.rewrite import devices, groups, head, mixed, moves, runtime
from forebay.porting.rewrite.change import Change, Splice, applied, named
from forebay.porting.rewrite.guards import Guards
from forebay.porting.rewrite.names import children
from forebay.porting.rewrite.page import Page
from forebay.porting.rewrite.reasons import reason
from forebay.porting.rewrite.rewritten import Edit, Left, Rewritten
from forebay.porting.rules import RULES
from forebay.porting.scan import scan
from forebay.porting.scan.text import decode

_MARK = b"\xef\xbb\xbf"


def rewrite(body: bytes, path: str, chosen_late: bool = True) -> Rewritten:
    """One file, rewritten. Raises BadScript where Python can't parse it."""
    text, encoding, mark = _decoded(body, path)
    findings = tuple(one for one in scan(text, path) if RULES[one.rule].ties)
    if not findings:
        return _as_it_was(path, body, (), "")
    if mark + text.encode(encoding) != body:
        return _as_it_was(path, body, findings, f"in {encoding} the file's bytes can't be written as they were; save it as UTF-8")
    places = _offsets(text, findings)
    rules: dict[int, frozenset[str]] = {}
    for at, finding in zip(places, findings, strict=True):
        rules[at] = rules.get(at, frozenset()) | {finding.rule}
    try:
        page = Page(text, rules)
    except (cst.ParserSyntaxError, RecursionError, cst.CSTValidationError) as error:
        told = f" (line {error.raw_line})" if isinstance(error, cst.ParserSyntaxError) else ""
        return _as_it_was(path, body, findings, f"LibCST {version('libcst')} can't parse this file{told}; rewrite it by hand")
    if page.module.code != text:
        return _as_it_was(path, body, findings, "LibCST doesn't give this file's bytes back; rewrite it by hand")
    plan = head.plan(page, tuple(_changes(page)), chosen_late)
    splices = [*plan.added, *(splice for change in plan.changes for splice in change.splices)]  # new lines first where both begin
    edits, left = _settled(page, places, findings, plan)
    cuts = tuple(_cuts(page.body, splices, plan.names, encoding, len(mark)))
    return Rewritten(
        path=path,
        before=body,
        after=mark + applied(page.body, splices, plan.names).decode().encode(encoding),
        edits=edits,
        left=left,
        splices=cuts,
        torch=max((change.torch for change in plan.changes), default=""),
    )


def _cuts(
    body: bytes, splices: list[Splice], names: Mapping[str, str], encoding: str, first: int
) -> Iterator[tuple[int, int, bytes]]:
    """The splices in the bytes of the file itself, which may be in another encoding than UTF-8."""
    for one in sorted(splices, key=lambda splice: (splice.start, splice.end)):
        start = first + len(body[: one.start].decode().encode(encoding))
        cut = len(body[one.start : one.end].decode().encode(encoding))
        yield start, start + cut, named(one.text, names).encode(encoding)


def _decoded(body: bytes, path: str) -> tuple[str, str, bytes]:
    """The text, its encoding, and the mark in front of it. Raises BadScript as a scan does."""
    decode(body, path)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
    if encoding == "utf-8-sig":
        return body[len(_MARK) :].decode("utf-8"), "utf-8", _MARK
    return body.decode(encoding), encoding, b""


def _as_it_was(path: str, body: bytes, findings: tuple[Finding, ...], why: str) -> Rewritten:
    left = tuple(Left(finding=finding, reason=why) for finding in findings)
    return Rewritten(path=path, before=body, after=body, edits=(), left=left)


def _offsets(text: str, findings: tuple[Finding, ...]) -> list[int]:
    """Where each finding begins, in bytes of UTF-8."""
    starts, at = [0], 0
    for match in re.finditer(r"\r\n|\r|\n", text):
        at = match.end()
        starts.append(at)
    return [len(text[: starts[one.line - 1] + one.column - 1].encode()) for one in findings]


def _changes(page: Page) -> Iterator[Change]:
    """Every change, from the outside in; nothing is looked for inside what is replaced whole."""
    guards = Guards(page)
    waiting: list[cst.CSTNode] = [page.module]
    while waiting:
        node = waiting.pop()
        change = _change(node, page, guards)
        if change is not None:
            yield change
            if change.whole:
                continue
        waiting += children(node)


def _change(node: cst.CSTNode, page: Page, guards: Guards) -> Change | None:
    return (
        devices.found_device(node, page)
        or devices.made_device(node, page)
        or devices.asked_device(node, page)
        or devices.named_device(node, page)
        or mixed.mixed(node, page)
        or mixed.imported(node, page)
        or runtime.tensor_type(node, page)
        or runtime.default_type(node, page)
        or runtime.runtime(node, page, guards)
        or moves.moved(node, page)
        or moves.uncalled(node, page)
        or moves.made_of_number(node, page)
        or moves.pinned(node, page, guards)
        or groups.backend(node, page)
        or groups.own_card(node, page)
    )


def _settled(
    page: Page, places: list[int], findings: tuple[Finding, ...], plan: head.Head
) -> tuple[tuple[Edit, ...], tuple[Left, ...]]:
    """Which change settled which finding; changes that settle none come last."""
    edits, left, used = [], [], set[int]()
    for at, finding in zip(places, findings, strict=True):
        change = next((one for one in plan.changes if _covers(one, at)), None)
        if change is None:
            dropped = any(_covers(one, at) for one in plan.dropped)
            left.append(Left(finding=finding, reason=head.TORCH_IS_LATE if dropped else reason(finding.rule)))
        else:
            used.add(id(change))
            edits.append(_edit(page, change, plan, finding))
    edits += [_edit(page, change, plan, None) for change in plan.changes if id(change) not in used]
    return tuple(edits), tuple(left)


def _covers(change: Change, at: int) -> bool:
    return any(start <= at < end for start, end in change.covers)


def _edit(page: Page, change: Change, plan: head.Head, finding: Finding | None) -> Edit:
    start, end = change.span
    inside = [s for one in plan.changes for s in one.splices if start <= s.start and s.end <= end]
    moved = [type(s)(s.start - start, s.end - start, s.text) for s in inside]
    body = page.body[start:end]
    return Edit(finding=finding, before=body.decode(), after=named(applied(body, moved, plan.names).decode(), plan.names))
