"""Files in and out: a fabric, or the design of one.

Asked:  what is in this file?
Answer: its content says, never its name: XML is GraphML; blocks of `Switch` and `Ca` are `ibnetdiscover`; in JSON and TOML
        "kind" makes a Design, "wiring" our own arrays, and "hosts" and "links" tables written by hand. Each may be gzipped.
Limits: a file that is none of these is refused. Everything is held in memory; a gzip that unfolds to more than 1 GiB is refused.
"""

from __future__ import annotations

import gzip
import io
import json
import tomllib
import zlib
from pathlib import Path
from typing import Any

from forebay.errors import BadInput, Unknown
from forebay.fabric import design_file
from forebay.fabric.design import Design
from forebay.fabric.read import exact, graphml, ibnet, tables
from forebay.fabric.read.listing import wire
from forebay.fabric.wiring import Wiring
from forebay.units import GIB

KNOWN = "a design or fabric in TOML or JSON, GraphML, or the output of ibnetdiscover"


def load(path: Path | str) -> Wiring | Design:
    """What is in a file. Raises BadInput for what can't be read or can't be meant, Unknown where there is no file."""
    path = Path(path)
    try:
        body = path.read_bytes()
    except OSError as no:
        raise Unknown("That file can't be read.", asked=str(path), found=no.strerror or str(no)) from None
    try:
        return parse(body, path.name.removesuffix(".gz").rpartition(".")[0] or path.name)
    except BadInput as bad:
        raise BadInput(bad.text, asked=bad.asked or str(path), found=bad.found, hint=bad.hint) from None


def parse(body: bytes | str, name: str = "a fabric") -> Wiring | Design:
    """The same for what stands in a file. `name` is for a fabric that doesn't say its own."""
    text = body if isinstance(body, str) else _text(body)
    bare = text.lstrip("\ufeff \t\r\n")
    if bare.startswith("<"):
        if "<graphml" not in bare:
            raise BadInput("That XML is no GraphML.", found=bare[:60], hint=KNOWN)
        return wire(graphml.listing(text.lstrip("\ufeff \t\r\n"), name))
    if ibnet.looks(text):
        return wire(ibnet.listing(text, name))
    data = table(bare if bare.startswith("{") else text)
    if "wiring" in data:
        return exact.from_data(data)
    if "kind" in data:
        return design_file.from_data(data, text)
    if "hosts" in data or "links" in data:
        return wire(tables.listing(data, text, name))
    raise BadInput("What is in that file?", found=", ".join(data)[:80] or "nothing", hint=KNOWN)


def table(text: str) -> dict[str, Any]:
    """The table in JSON or TOML."""
    try:
        data = (
            json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
            if text.startswith(("{", "["))
            else tomllib.loads(text)
        )
    except json.JSONDecodeError as bad:
        raise BadInput(f"line {bad.lineno}: that is no JSON.", found=bad.msg) from None
    except tomllib.TOMLDecodeError as bad:
        raise BadInput("That can't be read.", found=str(bad), hint=KNOWN) from None
    except RecursionError:
        raise BadInput("That can't be read: tables in tables without end.", hint=KNOWN) from None
    if not isinstance(data, dict):
        raise BadInput("That is no table.", found=type(data).__name__, hint=KNOWN)
    return data


def save(thing: Wiring | Design, path: Path | str) -> None:
    """Write a wiring as our own JSON, or a design as TOML (JSON where the name says so); gzipped where it ends in .gz."""
    path = Path(path)
    text = dump(thing, toml=".json" not in path.suffixes)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def dump(thing: Wiring | Design, *, toml: bool = True) -> str:
    """The text of such a file. A wiring is JSON always."""
    if isinstance(thing, Design):
        return design_file.to_toml(thing) if toml else json.dumps(design_file.to_data(thing), indent=2) + "\n"
    told = exact.to_data(thing)
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in told.items()) + "\n}\n"


def _no_constant(word: str) -> None:
    raise BadInput("That is no number.", found=word)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) < len(pairs):
        keys = [key for key, _ in pairs]
        raise BadInput("A name stands for one thing.", found=f"{next(key for key in keys if keys.count(key) > 1)!r} twice")
    return told


def _text(body: bytes) -> str:
    if body[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(body)) as file:
                body = file.read(GIB + 1)
        except (OSError, EOFError, zlib.error) as bad:
            raise BadInput("That gzip is broken.", found=str(bad)) from None
        if len(body) > GIB:
            raise BadInput("That gzip unfolds to more than 1 GiB.")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise BadInput("That is no text.", found=f"byte {bad.start} is {body[bad.start]:#04x}", hint=KNOWN) from None
