"""A Design to and from TOML and JSON, with units.

Asked:  how is a design written so that a person can read and change it?
Answer:     kind = "rail-optimised"
            hosts = 128
            port_speed = "400 Gbit/s"
            [scale_up]
            cards = 8
            speed = "450 GB/s"
        What is left out has the default of the noun. `port_bytes_per_s` and `bytes_per_s`, as the noun has them, are read too.
Limits: no presets, no files: `read.load` opens them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from forebay.errors import BadInput, nearest
from forebay.fabric.design import Design, ScaleUp
from forebay.fabric.quantity import line_of, speed, where, whole
from forebay.units import write_bytes_per_s

LEAST = {
    "hosts": 1,
    "cards_per_host": 1,
    "nics_per_host": 1,
    "switch_ports": 1,
    "planes": 1,
    "cards": 1,
    "switches": 0,
    "links": 0,
}
SPEED = {Design: ("port_speed", "port_bytes_per_s"), ScaleUp: ("speed", "bytes_per_s")}


def to_data(design: Design) -> dict[str, Any]:
    """Plain data, speeds as texts with their unit. What has its default stays: a file says all."""
    told: dict[str, Any] = {}
    for field in dataclasses.fields(design):
        value = getattr(design, field.name)
        if isinstance(value, ScaleUp):
            up = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            told["scale_up"] = {
                ("speed" if k == "bytes_per_s" else k): write_bytes_per_s(v) if k == "bytes_per_s" else v for k, v in up.items()
            }
        elif field.name == "port_bytes_per_s":
            told["port_speed"] = write_bytes_per_s(value)
        elif value is not None:
            told[field.name] = list(value) if isinstance(value, tuple) else value
    return told


def to_toml(design: Design) -> str:
    told = to_data(design)
    up = told.pop("scale_up", None)
    lines = [f"{key} = {_toml(value)}" for key, value in told.items()]
    if up:
        lines += ["", "[scale_up]", *(f"{key} = {_toml(value)}" for key, value in up.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        escaped = "".join(c if c >= " " and c not in '"\\\x7f' else f"\\u{ord(c):04x}" for c in value)
        return f'"{escaped}"'
    return repr(value)  # whole numbers, floats and lists of them are the same in TOML


def from_data(data: Mapping[str, Any], text: str = "") -> Design:
    """The design that a table tells of. `text` is the file, to find lines in."""
    told = _fields(data, Design, "design", text)
    if told.get("scale_up") is not None:
        if not isinstance(told["scale_up"], dict):
            raise BadInput("scale_up: a table.", found=repr(told["scale_up"]))
        told["scale_up"] = ScaleUp(**_fields(told["scale_up"], ScaleUp, "scale_up", text))
    return Design(**told)


def _fields(data: Mapping[str, Any], cls: type[Design] | type[ScaleUp], at: str, text: str) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    written, noun = SPEED[cls]
    told: dict[str, Any] = {}
    for key, value in data.items():
        line = line_of(text, key, value)
        if key in (written, noun):
            if noun in told:
                raise BadInput(f"{where(key, line)}: said twice.", found=f"{written} and {noun}")
            told[noun] = speed(value, key, line, bare="B/s" if key == noun else "")
        elif key not in fields:
            names = [written, *(name for name in fields if name != noun)]
            raise BadInput(f"{where(at, line)}: no field of that name.", found=key, hint=", ".join(nearest(key, names) or names))
        else:
            told[key] = _value(key, value, line)
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in told:
            raise BadInput(f"{at}: {written if name == noun else name} is missing.")
    return told


def _value(key: str, value: Any, line: int) -> Any:
    if key in LEAST:
        if isinstance(value, str):
            raise BadInput(f"{where(key, line)}: a whole number, {LEAST[key]} or more.", found=repr(value))
        return whole(value, key, line, least=LEAST[key])
    if key == "oversubscription":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
            raise BadInput(f"{where(key, line)}: down over up, above zero.", found=repr(value), hint="1.0, 2.0")
        return float(value)
    if key == "shape":
        if not isinstance(value, (list, tuple)):
            raise BadInput(f"{where(key, line)}: a list of whole numbers.", found=repr(value), hint="[4, 4, 4]")
        return tuple(whole(x, f"shape[{i}]", line) for i, x in enumerate(value))
    if key == "kind" and (not isinstance(value, str) or not value):
        raise BadInput(f"{where(key, line)}: the name of a family.", found=repr(value))
    return value
