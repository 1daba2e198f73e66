"""What a string that reads like a device is there for.

Asked:  `"cuda"` stands here: is it a device, one side of a comparison, or a word?
Answer: the place decides: what it is handed to, assigned to, compared with or keyed by, and under which name. Walked from the
        string outwards, through whatever passes a value on (`a if b else "cuda"`, lists, `Field(default=...)`).
        An exact "cuda" under a name that says nothing is taken for a device; under one that says label, title or path, for a
        word, unless the file hands that name to torch as a device.
Limits: read from names, as a person would read it. What a function of another file does with its argument isn't known.
"""

from __future__ import annotations

import ast
import enum
import re
from dataclasses import dataclass

from forebay.porting.known import DEVICE_ARGUMENTS, DEVICE_KEYWORDS
from forebay.porting.scan.called import argument_of, last_name, option_before, option_of
from forebay.porting.scan.page import Page


class Role(enum.Enum):
    """What a string that reads like a device is there for."""

    DEVICE = "device"
    COMPARISON = "comparison"
    CHECKPOINT = "checkpoint"  # map_location
    PART = "part"  # of a use of torch.cuda that is found by itself: torch.cuda.device("cuda")
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a string is handed over: the name under which, and what it is there for if the place alone says it."""

    name: str = ""
    role: Role | None = None
    call: ast.Call | None = None  # the call that takes it


_SPEAKS_OF_DEVICE = re.compile(r"device|\bdev\b|map_location|gpu|accelerator|cuda|backend|platform|hardware", re.IGNORECASE)
_LABEL = re.compile(
    r"(^|_)(labels?|titles?|[fd]?names?|basename|dirname|stem|projects?|groups?|tags?|prefix|suffix|folder|dir|directory|files?|filename|paths?|keys?|cols?"
    r"|columns?|headers?|headings?|caption|legend|texts?|messages?|msg|desc|description|notes?|help|metavar|section|experiment"
    r"|exp|run|id|url|colou?r|style|category|topic|keywords?|extras?|classifiers|reason|words?|dest|sep|end|kind_of|version"
    r"|branch|image|output|out|log|logs|results?|timings?|stats|metrics?|report|summary|doc|docs|markers?|errors?|status|details?"
    r"|excludes?|packages?|modules?)$|\w(dir|path|file|folder|url)s?$"
)
_FILES = re.compile(r"file|path|fname|title|url|folder|caption|(^|[._])(dir|names?)\b", re.IGNORECASE)
OTHER_DEVICES = frozenset({"cpu", "mps", "xpu", "npu", "hpu", "mlu", "musa", "tpu", "xla", "meta", "privateuseone", "hip"})
# Calls that pass a value on: what counts is where their result goes.
_PASSES_ON = frozenset(
    {"field", "Field", "Option", "Argument", "attrib", "ib", "Parameter", "str", "cast", "Str", "lower", "list"}
)
_ASKS = frozenset({"startswith", "endswith", "find", "count", "index", "rfind", "removeprefix", "__contains__", "__eq__"})
_ASSERTS = re.compile(r"^(assert|expect)", re.IGNORECASE)
_TAKES_WORDS = re.compile(
    r"^(print\w*|pprint|open|Path|PurePath|join|joinpath|debug|info|warn|warning|error|exception|critical|log\w*|write\w*|title"
    r"|legend|suptitle|xlabel|ylabel|text|annotate|set_\w*(title|label|name)|hasattr|setattr|delattr|split|rsplit|replace|strip"
    r"|partition|add_(scalar|scalars|text|row|column|tag|label|figure)|record_function|range_push|range_start|timer|Timer|section"
    r"|span|echo|secho|Column|TypeVar|NewType|namedtuple|Exception|\w+Error|\w*Warning|skip|skipif|skipIf|xfail|fail|input"
    r"|encode|getLogger|mark|dirname|basename|exists|glob|mkdir|makedirs|Counter|sum|max|min|len|re|sub|compile|match|search"
    r"|findall|fullmatch|subplot|bar|plot|scatter|hist|rule|Panel|Text|format_row|(\w+_)?(tag|label|title|heading|caption|section)|define|heading|header|command|group|add_(parser|command|typer|group)"
    r"|store|copy|rename|rmtree)$"
)


def role(page: Page, node: ast.expr) -> Role:
    place = place_of(page, node)
    if place.role is not None:
        return place.role
    if speaks_of_device(place.name):
        return Role.DEVICE
    if _LABEL.search(place.name.lower()):
        return Role.DEVICE if place.name in _handed_to_torch(page) else Role.WORD
    return Role.DEVICE


def place_of(page: Page, node: ast.AST) -> Place:
    """Walks outwards to what takes the string, and says under which name it does."""
    inner, above = node, page.parents.get(node)
    while above is not None:
        if isinstance(above, ast.IfExp):
            if above.test is inner:
                return Place(role=Role.WORD)
        elif isinstance(above, (ast.List, ast.Tuple, ast.Set)):
            if option := option_before(above, inner):
                return Place(name=option)
        elif isinstance(above, ast.Call):
            if inner is above.func or (isinstance(above.func, ast.Attribute) and above.func.value is inner):
                pass  # "cuda:{}".format(i)
            elif not _passes_on(above, inner):
                return _argument(page, above, inner)
        elif isinstance(above, ast.Attribute):
            if above.attr not in ("format", "lower"):
                return Place(role=Role.WORD)
        elif isinstance(above, ast.keyword):
            found = _keyword(page, above)
            if found is not None:
                return found
            above = page.parents[above]  # the call that passes it on
        elif not isinstance(above, (ast.BoolOp, ast.NamedExpr, ast.Starred, ast.BinOp, ast.Lambda, ast.Await)):
            return _end(page, above, inner)
        inner, above = above, page.parents.get(above)
    return Place(role=Role.WORD)


def speaks_of_device(name: str) -> bool:
    return _SPEAKS_OF_DEVICE.search(name) is not None


# ---------------------------------------------------------------- where the walk ends


def _end(page: Page, above: ast.AST, inner: ast.AST) -> Place:
    if isinstance(above, ast.Compare):
        others = [side for side in (above.left, *above.comparators) if side is not inner]
        return Place(role=Role.WORD if any(_FILES.search(ast.unparse(side)) for side in others) else Role.COMPARISON)
    if isinstance(above, ast.MatchValue):
        return Place(role=Role.COMPARISON)
    if isinstance(above, ast.Assign):
        names = [last_name(target) for target in above.targets]
        if isinstance(above.targets[0], ast.Tuple) and isinstance(above.value, ast.Tuple):
            pairs = zip(above.targets[0].elts, above.value.elts, strict=False)
            names = [last_name(target) for target, value in pairs if value is inner] or names
        return Place(name=next((name for name in names if speaks_of_device(name)), names[0]))
    if isinstance(above, (ast.AnnAssign, ast.AugAssign)):
        return Place(name=last_name(above.target), role=Role.WORD if inner is not above.value else None)
    if isinstance(above, (ast.For, ast.AsyncFor, ast.comprehension)):
        return Place(name=last_name(above.target))
    if isinstance(above, ast.Dict):
        return _in_dict(page, above, inner)
    if isinstance(above, ast.arguments):
        return Place(name=argument_of(above, inner))
    if isinstance(above, (ast.Return, ast.Yield)):
        function = next((up for up in page.above(above) if isinstance(up, (ast.FunctionDef, ast.AsyncFunctionDef))), None)
        return Place(name=function.name if function is not None else "")
    if isinstance(above, ast.Subscript):
        if inner is not above.slice:
            return place_of(page, above)
        base = last_name(above.value)
        if base == "Literal":
            return Place(role=Role.DEVICE)
        return Place(role=Role.COMPARISON if re.search(r"device|backend", base, re.IGNORECASE) else Role.WORD)
    return Place(role=Role.WORD)


def _in_dict(page: Page, above: ast.Dict, inner: ast.AST) -> Place:
    for key, value in zip(above.keys, above.values, strict=True):
        if value is inner:
            named = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else last_name(key)
            if named in ("", *OTHER_DEVICES) or named.startswith("cuda"):
                outer = place_of(page, above)  # {"cpu": "cuda"}, {name: "cuda"}
                return outer if outer.role is not Role.WORD else Place(role=Role.WORD)
            return Place(name=named)
    outer = place_of(page, above)
    if outer.role is Role.CHECKPOINT:
        return outer
    return Place(role=Role.COMPARISON if _chooses(page, above, outer.name) else Role.WORD)


def _chooses(page: Page, table: ast.Dict, name: str) -> bool:
    """Whether a dict is asked by a device: by its name, by what it is asked with, or as it holds torch's things by device."""
    if re.search(r"device|backend|map_location", name, re.IGNORECASE):
        return True
    above = page.parents[table]
    if isinstance(above, ast.Subscript):
        return speaks_of_device(ast.unparse(above.slice))
    if (
        isinstance(above, ast.Attribute)
        and above.attr == "get"
        and isinstance(call := page.parents[above], ast.Call)
        and call.args
    ):
        return speaks_of_device(ast.unparse(call.args[0]))
    others = {key.value for key in table.keys if isinstance(key, ast.Constant)} & OTHER_DEVICES
    return bool(others) and any((page.full_name(value) or "").startswith("torch.") for value in table.values)


def _keyword(page: Page, keyword: ast.keyword) -> Place | None:
    """The place that an argument with a name is; None where its call passes it on."""
    name = keyword.arg or ""
    call = page.parents[keyword]
    if not isinstance(call, ast.Call):
        return Place(name=name)  # class C(Base, device="cuda")
    if name == "map_location":
        return Place(name=name, role=Role.CHECKPOINT, call=call)
    if _is_torch_cuda(page, call):
        return Place(role=Role.PART, call=call)
    if name in DEVICE_KEYWORDS:
        return Place(name=name, role=Role.DEVICE, call=call)
    if name in ("help", "metavar", "description", "doc"):
        return Place(role=Role.WORD, call=call)
    if name in ("default", "choices", "const", "default_value", "default_factory", "type"):
        if option := option_of(call):
            return Place(name=option, call=call)
        return None
    return Place(name=name, call=call)


def _argument(page: Page, call: ast.Call, inner: ast.AST) -> Place:
    index = next((i for i, argument in enumerate(call.args) if argument is inner), -1)
    name = page.full_name(call.func) or ""
    if index in DEVICE_ARGUMENTS.get(name, ()):
        return Place(role=Role.CHECKPOINT if name == "torch.load" else Role.DEVICE, call=call)
    if _is_torch_cuda(page, call):
        return Place(role=Role.PART, call=call)
    called = last_name(call.func)
    before = call.args[:index]
    if called in ("to", "type", "device", "empty_like", "module_device"):
        return Place(role=Role.DEVICE, call=call)
    if called in ("get", "pop", "setdefault", "getattr", "getenv", "DEFINE_string", "DEFINE_enum", "parametrize", "DEFINE"):
        key = before[-1] if before else None
        if called.startswith("DEFINE") and before:
            key = before[0]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return Place(name=key.value, call=call)
        base = last_name(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        return Place(role=Role.COMPARISON if re.search(r"device|backend", base, re.IGNORECASE) else Role.WORD, call=call)
    if called in _ASKS:
        receiver = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        return Place(role=Role.WORD if _FILES.search(receiver) else Role.COMPARISON, call=call)
    if _ASSERTS.match(called):
        others = [other for other in call.args if other is not inner]
        bare = bool(others) and all(isinstance(other, (ast.Constant, ast.List, ast.Tuple, ast.Set)) for other in others)
        return Place(role=Role.WORD if bare else Role.COMPARISON, call=call)
    if called in ("append", "extend", "insert", "add"):
        return Place(name=last_name(call.func.value) if isinstance(call.func, ast.Attribute) else "", call=call)
    if called in ("add_argument", "option", "argument", "add_option", "Choice"):
        return place_of(page, call) if called == "Choice" else Place(role=Role.WORD, call=call)
    if _TAKES_WORDS.match(called):
        return Place(role=Role.WORD, call=call)
    return Place(call=call)  # a function of the script's own: most likely a device


def _is_torch_cuda(page: Page, call: ast.Call) -> bool:
    return (page.full_name(call.func) or "").startswith("torch.cuda.")


def _passes_on(call: ast.Call, inner: ast.AST) -> bool:
    return last_name(call.func) in _PASSES_ON and (not call.args or call.args[0] is inner or inner in call.args)


def _handed_to_torch(page: Page) -> frozenset[str]:
    """Names that the file hands to torch where a device belongs."""
    if page.device_names is None:
        found = set()
        for call in page.calls:
            found |= {last_name(word.value) for word in call.keywords if word.arg in DEVICE_KEYWORDS}
            if call.args and (last_name(call.func) in ("to", "cuda") or page.full_name(call.func) in DEVICE_ARGUMENTS):
                found.add(last_name(call.args[0]))
        page.device_names = frozenset(found - {""})
    return page.device_names
