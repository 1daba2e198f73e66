"""GraphML as text: nodes, edges and their attributes, each with its line.

Asked:  what stands in the file, before anybody asks what it means?
Answer: expat walks it; keys give attributes their names and defaults. Lines come from the parser.
Limits: no entities, no DOCTYPE, no nested graphs, no hyperedges: refused, so nothing is expanded or fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from forebay.errors import BadInput


@dataclass(slots=True)
class Thing:
    """A node or an edge while it is read."""

    line: int
    ends: tuple[str, ...]  # its id, or source and target
    directed: bool = False
    data: dict[str, str] = field(default_factory=dict)


class Reader:
    """What expat calls. Holds what was read so far."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.keys: dict[str, tuple[str, str]] = {}  # id -> (for, name)
        self.defaults: dict[tuple[str, str], str] = {}
        self.nodes: list[Thing] = []
        self.edges: list[Thing] = []
        self.graph: dict[str, str] = {}
        self.depth = 0
        self.directed = False
        self.open: Thing | None = None
        self.key = ""
        self.words: list[str] | None = None

    @property
    def line(self) -> int:
        return self.parser.CurrentLineNumber

    def _refuse(self, *_: Any) -> None:
        raise BadInput(f"line {self.line}: a GraphML file with a DOCTYPE or entities isn't read.", hint="save it without")

    def _start(self, name: str, attrs: dict[str, str]) -> None:
        kind = name.rpartition(" ")[2]
        try:
            if kind == "key":
                self.key = attrs["id"]
                self.keys[self.key] = (attrs.get("for", "all"), attrs.get("attr.name", self.key).lower())
            elif kind == "graph":
                self.depth += 1
                self.directed = attrs.get("edgedefault") == "directed"
                if self.depth > 1 or self.nodes:
                    raise BadInput(f"line {self.line}: one graph a file.", found="a second graph")
            elif kind == "node":
                self.open = Thing(self.line, (attrs["id"],))
                self.nodes.append(self.open)
            elif kind == "edge":
                directed = attrs.get("directed", str(self.directed)).lower() == "true"
                self.open = Thing(self.line, (attrs["source"], attrs["target"]), directed)
                self.edges.append(self.open)
            elif kind == "hyperedge":
                raise BadInput(f"line {self.line}: an edge joins two nodes.", found="a hyperedge")
            elif kind in ("data", "default"):
                self.key = attrs.get("key", self.key)
                self.words = []
        except KeyError as missing:
            raise BadInput(f"line {self.line}: <{kind}> lacks an attribute.", found=str(missing)) from None

    def _text(self, words: str) -> None:
        if self.words is not None:
            self.words.append(words)

    def _end(self, name: str) -> None:
        kind = name.rpartition(" ")[2]
        if kind in ("data", "default") and self.words is not None:
            kept, attr = self.keys.get(self.key, ("all", self.key.lower()))
            said = "".join(self.words).strip()
            if kind == "default":
                self.defaults[kept, attr] = said
            else:
                (self.graph if self.open is None else self.open.data)[attr] = said
            self.words = None
        elif kind in ("node", "edge"):
            self.open = None
        elif kind == "graph":
            self.depth -= 1

    def said(self, thing: Thing, kind: str) -> dict[str, str]:
        """The attributes of a node or an edge, with the defaults that the keys give."""
        first = {name: said for (kept, name), said in self.defaults.items() if kept in (kind, "all")}
        return {name: said for name, said in (first | thing.data).items() if said != ""}


def parse(text: str) -> Reader:
    """All of a GraphML file."""
    reader = Reader()
    try:
        reader.parser.Parse(text, True)
    except expat.ExpatError as bad:
        raise BadInput(f"line {bad.lineno}: that is no XML.", found=expat.ErrorString(bad.code)) from None
    return reader
