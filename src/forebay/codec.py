"""A noun to plain JSON and back.

Asked:  how does a frozen dataclass survive a trip through a file, the journal or HTTP?
Answer: its type hints say it all. `encode` makes dicts, lists, strings and numbers; `decode(cls, data)` checks each field
        on the way in and names the one that is wrong ("job.options[0].cards: a whole number, found 'two'").
Limits: dataclasses, str, int, float, bool, None, Enum, tuple[X, ...], Mapping[str, X], X | None. A field that is unknown here
        was written by a newer Forebay: it is refused unless the reader says `strict=False`.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from forebay import codec_built
from forebay.codec_built import PLAIN, Odd
from forebay.errors import BadInput

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Plain JSON data for a noun, or for a tuple or mapping of nouns."""
    cls: Any = type(value)
    if cls in PLAIN:
        return value
    if _is_noun(cls):
        return codec_built.writer(cls)(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): item if type(item) in PLAIN else encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [item if type(item) in PLAIN else encode(item) for item in value]
    raise TypeError(f"{cls.__name__} has no place in a noun")


def decode(cls: type[T], data: Any, *, at: str = "", strict: bool = True) -> T:
    """The noun that `data` tells of. Raises BadInput with the path of the first field that is wrong."""
    kind: Any = cls
    if _is_noun(kind):
        try:
            return typing.cast(T, codec_built.reader(kind, strict)(data))
        except Odd:
            pass  # wrong, or right in another way
    return typing.cast(T, _reader(kind, strict)(data, at or cls.__name__.lower()))


@cache
def _is_noun(cls: type) -> bool:
    return dataclasses.is_dataclass(cls)


def _wrong(at: str, wanted: str, found: Any) -> BadInput:
    return BadInput(f"{at}: {wanted}", found=f"{found!r:.80}")


Reader = Callable[[Any, str], Any]


@cache
def _reader(hint: Any, strict: bool) -> Reader:
    """A function that reads values of this type; built once a type, so that a journal of many lines is read fast."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object):
        return lambda data, at: data
    if origin in (typing.Union, types.UnionType):
        return _optional(args, strict)
    if origin is tuple:
        return _tuple(_reader(args[0], strict))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(_reader(args[1], strict))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), strict)
    if hint is float:
        return _number
    if hint in (str, int, bool):
        return _plain(hint)
    raise TypeError(f"no reader for {hint!r}")


def _plain(cls: type) -> Reader:
    wanted = {str: "a text", int: "a whole number", bool: "true or false"}[cls]

    def read(data: Any, at: str) -> Any:
        if type(data) is not cls:
            raise _wrong(at, wanted, data)
        return data

    return read


def _number(data: Any, at: str) -> float:
    if type(data) not in (int, float):
        raise _wrong(at, "a number", data)
    return float(data)


def _enum(cls: type[enum.Enum]) -> Reader:
    def read(data: Any, at: str) -> Any:
        try:
            return cls(data)
        except ValueError:
            raise _wrong(at, "one of " + ", ".join(str(item.value) for item in cls), data) from None

    return read


def _optional(args: tuple[Any, ...], strict: bool) -> Reader:
    inner = [arg for arg in args if arg is not type(None)]
    if len(inner) != 1:
        raise TypeError(f"a field is one type or None, not {args!r}")
    read_inner = _reader(inner[0], strict)
    return lambda data, at: None if data is None else read_inner(data, at)


def _tuple(item: Reader) -> Reader:
    def read(data: Any, at: str) -> Any:
        if not isinstance(data, (list, tuple)):
            raise _wrong(at, "a list", data)
        return tuple(item(value, f"{at}[{i}]") for i, value in enumerate(data))

    return read


def _mapping(item: Reader) -> Reader:
    def read(data: Any, at: str) -> Any:
        if not isinstance(data, dict):
            raise _wrong(at, "a table", data)
        return {str(key): item(value, f"{at}.{key}") for key, value in data.items()}

    return read


def _dataclass(cls: type, strict: bool) -> Reader:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    readers = {name: _reader(hints[name], strict) for name in fields}
    needed = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def read(data: Any, at: str) -> Any:
        if not isinstance(data, dict):
            raise _wrong(at, "a table", data)
        given = {}
        for name, value in data.items():
            if name in readers:
                given[name] = readers[name](value, f"{at}.{name}")
            elif strict:
                raise BadInput(f"{at}: no field of that name", found=name, hint=", ".join(fields))
        for name in needed:
            if name not in given:
                raise BadInput(f"{at}.{name}: missing")
        return cls(**given)

    return read
