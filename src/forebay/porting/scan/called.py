"""What things are called where they are handed over.

Asked:  under which name does a value go: that of a variable, an attribute, an option, an argument? And is it a card's number?
Answer: the last name that a reader would say aloud.
"""

from __future__ import annotations

import ast

from forebay.porting.known import NUMBER


def last_name(node: ast.AST | None) -> str:
    """The name that a reader would call it by: "device" for `args.device` and `cfg["device"]`, "gpu_ids" for `gpu_ids[0]`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else last_name(node.value)
    if isinstance(node, ast.Starred):
        return last_name(node.value)
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return ""


def option_of(call: ast.Call) -> str:
    """The name of a command's option: `add_argument("-d", "--device", ...)` -> "device"."""
    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    destination = next((k.value.value for k in call.keywords if k.arg == "dest" and isinstance(k.value, ast.Constant)), None)
    if isinstance(destination, str):
        words = [*words, destination]
    return max((word.lstrip("-").replace("-", "_") for word in words), key=len, default="")


def option_before(listed: ast.List | ast.Tuple | ast.Set, inner: ast.AST) -> str:
    """In `["train.py", "--device", "cuda"]` the option before the string."""
    place = next((i for i, item in enumerate(listed.elts) if item is inner), 0)
    before = listed.elts[place - 1] if place else None
    if isinstance(before, ast.Constant) and isinstance(before.value, str) and before.value.startswith("-"):
        return before.value.lstrip("-").replace("-", "_")
    return ""


def argument_of(arguments: ast.arguments, default: ast.AST) -> str:
    """Name of the argument whose default this is."""
    places = [*arguments.posonlyargs, *arguments.args]
    for argument, value in zip(reversed(places), reversed(arguments.defaults), strict=False):
        if value is default:
            return argument.arg
    for argument, kw_value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if kw_value is default:
            return argument.arg
    return ""


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int


def is_card(node: ast.expr) -> bool:
    """Whether an expression is a card's number: 0, rank, args.local_rank, gpu_ids[0]."""
    if isinstance(node, ast.Constant):
        return is_number(node)
    if isinstance(node, ast.Call):
        return False
    return NUMBER.fullmatch(last_name(node)) is not None


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named if named is not None else (call.args[place] if len(call.args) > place else None)
