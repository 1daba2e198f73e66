"""What stands around a string.

Asked:  is this string only told to people, run as a command, asked for as a variable or an attribute, or handed to a build?
Answer: by the calls and statements above it.
"""

from __future__ import annotations

import ast
import re

from forebay.porting.scan.called import last_name
from forebay.porting.scan.page import Page

# Calls that run what they are given; a command is found in these wherever in its text it stands.
_RUNS = re.compile(
    r"run|system|popen|Popen|check_output|check_call|call|getoutput|getstatusoutput|which|execute|sh|cmd|spawn\w*|exec\w*"
    r"|create_subprocess_\w+"
)
_TELLS = re.compile(
    r"^(print\w*|debug|info|warn\w*|error|exception|critical|log\w*|write\w*|\w+Error|Exception|echo|secho|skip\w*|fail"
    r"|add_argument|title|set_title)$"
)


def is_told(page: Page, node: ast.expr) -> bool:
    """Whether a string ends in a printed line, a message or a help text."""
    for above in page.above(node):
        if isinstance(above, ast.stmt):
            return isinstance(above, (ast.Raise, ast.Assert)) and _is_message(above, page, node)
        if isinstance(above, ast.keyword) and above.arg in ("help", "description", "epilog", "metavar", "msg", "reason"):
            return True
        if isinstance(above, ast.Call):
            return _TELLS.match(last_name(above.func)) is not None and not _is_default(page, node)
    return False


def _is_message(statement: ast.stmt, page: Page, node: ast.expr) -> bool:
    if isinstance(statement, ast.Assert):
        return statement.msg is not None and (statement.msg is node or statement.msg in page.above(node))
    return True


def _is_default(page: Page, node: ast.expr) -> bool:
    return keyword_of(page, node) in ("default", "choices", "const")


def keyword_of(page: Page, node: ast.expr) -> str:
    """The name of the argument in which a string is handed over, or ""."""
    for above in page.above(node):
        if isinstance(above, ast.keyword):
            return above.arg or ""
        if isinstance(above, (ast.stmt, ast.Call)):
            return ""
    return ""


def is_run(page: Page, node: ast.expr) -> bool:
    return any(isinstance(above, ast.Call) and _RUNS.fullmatch(last_name(above.func)) for above in page.above(node))


def is_variable(page: Page, node: ast.expr) -> bool:
    """Whether a string is the name of a variable of the environment: os.getenv("FORCE_ONLY_CUDA"), os.environ["X"]."""
    above = page.parents[node]
    taken = above.func if isinstance(above, ast.Call) else above.value if isinstance(above, ast.Subscript) else None
    if isinstance(taken, ast.Attribute) and taken.attr in ("get", "setdefault", "pop"):
        taken = taken.value
    return last_name(taken) in ("getenv", "putenv", "unsetenv", "environ", "env", "setenv", "delenv")


def is_built(page: Page, node: ast.expr) -> bool:
    """Whether a flag is handed to a call that builds an extension at once, which is found by itself."""
    calls = (above for above in page.above(node) if isinstance(above, ast.Call))
    return any((page.full_name(call.func) or "").startswith("torch.utils.cpp_extension.load") for call in calls)


def registers(page: Page, node: ast.expr) -> bool:
    """Whether "CUDA" is the dispatch key under which an operator is registered."""
    call = page.parents[node]
    if isinstance(call, ast.keyword):
        call = page.parents[call]
    return isinstance(call, ast.Call) and last_name(call.func) in (
        "impl",
        "Library",
        "register_kernel",
        "fallthrough",
        "custom_op",
    )


def asks_attribute(page: Page, node: ast.expr) -> ast.Call | None:
    """The call of getattr or hasattr that asks for the attribute of this name."""
    call = page.parents[node]
    if isinstance(call, ast.Call) and last_name(call.func) in ("getattr", "hasattr") and node in call.args[1:2]:
        return call
    return None
