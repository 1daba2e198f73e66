"""Functions that read and write one kind of noun, built from its type hints.

Asked:  a journal has as many lines as a cloud ever had events, and all are read at its start. How are they read quickly?
Answer: as `dataclasses` makes `__init__`: a function is written out for each class, field by field, and compiled once. It reads
        what is plainly right, and says `Odd` to all else; `codec.py`, which knows how to say what is wrong and where, looks at
        that again.
Limits: only classes of our own are built, from the names of their fields, never from data. A class that checks something when
        it is made, or has no slots, is made by its own `__init__`.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

PLAIN = frozenset({str, int, float, bool, type(None)})  # they go as they are, into JSON and out of it
NOTHING = object()  # stands for a field that isn't there

Built = Callable[[Any], Any]


class Odd(Exception):
    """This isn't plainly right. Maybe it is all the same."""


@cache
def reader(cls: type, strict: bool) -> Built:
    """Makes a noun out of a table. `strict`: a field that the noun doesn't have is odd."""
    return _Reader(strict).build(cls)


class _Reader:
    """Writes the function that reads a class."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._names: dict[str, Any] = {"Odd": Odd, "NOTHING": NOTHING, "number": _number}

    def build(self, cls: type) -> Built:
        hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)  # type: ignore[arg-type]
        is_plain = not hasattr(cls, "__post_init__") and all(hasattr(getattr(cls, f.name, None), "__set__") for f in fields)
        self._names |= {"cls": cls, "make": object.__new__}
        lines = ["if data.__class__ is not dict: raise Odd", "get, known = data.get, 0", "new = make(cls)" if is_plain else ""]
        for place, field in enumerate(fields):
            lines += [
                f"v{place} = get({field.name!r}, NOTHING)",
                f"if v{place} is NOTHING:",
                f"    {self._default(place, field)}",
            ]
            lines += ["else:", "    known += 1", *(f"    {line}" for line in self._check(f"v{place}", hints[field.name]))]
            if is_plain:
                self._names[f"set{place}"] = getattr(cls, field.name).__set__
                lines.append(f"set{place}(new, v{place})")
        if self._strict:
            lines.append("if known != len(data): raise Odd")
        given = ", ".join(f"{field.name}=v{place}" for place, field in enumerate(fields))
        lines.append("return new" if is_plain else f"return cls({given})")
        return _compiled("data", lines, self._names)

    def _default(self, place: int, field: dataclasses.Field[Any]) -> str:
        if field.default is not dataclasses.MISSING:
            self._names[f"default{place}"] = field.default
            return f"v{place} = default{place}"
        if field.default_factory is not dataclasses.MISSING:
            self._names[f"default{place}"] = field.default_factory
            return f"v{place} = default{place}()"
        return "raise Odd"

    def _check(self, name: str, hint: Any) -> list[str]:
        """Lines that check the value of that name and make of it what the noun holds."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if hint in (Any, object):
            return ["pass"]
        if origin in (typing.Union, types.UnionType):
            (inner,) = (arg for arg in args if arg is not type(None))
            return [f"if {name} is not None:", *(f"    {line}" for line in self._check(name, inner))]
        if origin is tuple:
            return [f"if {name}.__class__ is not list: raise Odd", f"{name} = tuple([{self._each(args[0])} for x in {name}])"]
        if origin is not None and issubclass(origin, Mapping):
            each = self._each(args[1])
            return [f"if {name}.__class__ is not dict: raise Odd", f"{name} = {{str(k): {each} for k, x in {name}.items()}}"]
        if hint is float:
            return [f"if {name}.__class__ is not float: {name} = number({name})"]
        if hint in PLAIN:
            return [f"if {name}.__class__ is not {hint.__name__}: raise Odd"]
        return [f"{name} = {self._called(hint)}({name})"]

    def _each(self, hint: Any) -> str:
        """What is made of one `x` of many."""
        return "x" if hint in (Any, object) else f"{self._called(hint)}(x)"

    def _called(self, hint: Any) -> str:
        """The name of a function that reads a value of this type."""
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            read = _enum(hint)
        elif dataclasses.is_dataclass(hint):
            read = reader(typing.cast(type, hint), self._strict)
        else:
            read = _compiled("v", [*self._check("v", hint), "return v"], self._names)
        name = f"read{len(self._names)}"
        self._names[name] = read
        return name


def _number(value: Any) -> float:
    if value.__class__ is float or value.__class__ is int:
        return float(value)
    raise Odd


def _enum(cls: type[enum.Enum]) -> Built:
    known = dict(cls._value2member_map_)

    def read(value: Any) -> Any:
        try:
            return known[value]
        except (KeyError, TypeError):
            raise Odd from None

    return read


@cache
def writer(cls: type) -> Built:
    """Makes a table out of a noun of this class."""
    return _Writer().build(cls)


class _Writer:
    """Writes the function that writes a class."""

    def __init__(self) -> None:
        from forebay.codec import encode

        self._names: dict[str, Any] = {"encode": encode}

    def build(self, cls: type) -> Built:
        try:
            hints: Mapping[str, Any] = typing.get_type_hints(cls)
        except NameError:  # of a module that is imported for the type checker only
            hints = {}
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        parts = (f"{field.name!r}: {self._made(f'noun.{field.name}', hints.get(field.name))}" for field in fields)
        return _compiled("noun", [f"return {{{', '.join(parts)}}}"], self._names)

    def _made(self, value: str, hint: Any) -> str:
        """What is written for a value of this type."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if hint in PLAIN:
            return value
        if origin in (typing.Union, types.UnionType):
            inner = [arg for arg in args if arg is not type(None)]
            if all(arg in PLAIN for arg in inner):
                return value
            return f"(None if (x := {value}) is None else {self._made('x', inner[0])})" if len(inner) == 1 else f"encode({value})"
        if origin is tuple and len(args) == 2 and args[1] is ...:
            return f"list({value})" if args[0] in PLAIN else f"[{self._each('x', args[0])} for x in {value}]"
        if origin is not None and issubclass(origin, Mapping) and args[0] is str:
            return f"dict({value})" if args[1] in PLAIN else f"{{k: {self._each('x', args[1])} for k, x in {value}.items()}}"
        return self._each(value, hint)

    def _each(self, value: str, hint: Any) -> str:
        """A value of a class of its own; one of a class below that one is written as what it is."""
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return f"{value}.value"
        if not dataclasses.is_dataclass(hint):
            return f"encode({value})"
        name = f"write{len(self._names)}"
        self._names |= {name: writer(typing.cast(type, hint)), f"{name}_of": hint}
        if value.isidentifier():
            return f"({name}({value}) if {value}.__class__ is {name}_of else encode({value}))"
        return f"({name}(y) if (y := {value}).__class__ is {name}_of else encode(y))"


def _compiled(argument: str, lines: list[str], names: dict[str, Any]) -> Built:
    text = f"def built({argument}):\n" + "\n".join(f"    {line}" for line in lines if line)
    space = dict(names)
    exec(compile(text, "<built by codec_built>", "exec"), space)  # the text has names of fields and of our own functions only
    built: Built = space["built"]
    return built
