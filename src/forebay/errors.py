"""The errors of the house, as one tree.

    ForebayError             exit 1    HTTP 500
    ├── BadInput             exit 2    HTTP 422    the request can't be carried out as it stands
    │   ├── BadScript                              the tenant's program can't be read or doesn't parse
    │   ├── BadBundle                              the code folder can't be packed or unpacked safely
    │   ├── BadRequirement                         a package that the base environment forbids
    │   ├── DoesNotFit                             more cards, memory or quota than there will ever be
    │   ├── TooLarge                   HTTP 413    a request of more bytes than are taken
    │   └── TooSlow                    HTTP 408    a request that doesn't go on
    ├── Unknown              exit 3    HTTP 404    no such thing, or not yours to see
    ├── Refused              exit 4    HTTP 403    understood, and not allowed
    │   └── BadKey                     HTTP 401    the key is missing, wrong, expired or revoked
    ├── Conflict             exit 5    HTTP 409    something with that name, port or folder is there already
    │   └── Stale                                  said by an agent that doesn't know what happened meanwhile: it is to ask anew
    ├── Unavailable          exit 6    HTTP 503    the cloud, a disk or a centre can't be reached just now
    │   └── TooMany                    HTTP 429    too many requests, or too much at a time; the answer says how long to wait
    └── RunFailed            exit 1    HTTP 200    the tenant's own program ended badly; the cloud is fine

An error says what was asked, what was found and what to try. The command line prints it and exits with its code,
the API sends it as JSON, and the client raises the same class again on the other side.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ForebayError(Exception):
    """The root. `text` is one plain sentence; the other three are optional lines under it."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, text: str, *, asked: str = "", found: str = "", hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.asked = asked
        self.found = found
        self.hint = hint

    @property
    def kind(self) -> str:
        return type(self).__name__

    def __str__(self) -> str:
        lines = [self.text]
        lines += [f"  asked: {self.asked}"] if self.asked else []
        lines += [f"  found: {self.found}"] if self.found else []
        lines += [f"  try:   {self.hint}"] if self.hint else []
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        told = {"kind": self.kind, "text": self.text, "asked": self.asked, "found": self.found, "try": self.hint}
        # What was asked may hold halves of letters, which no text that is sent can.
        return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in told.items()}


class BadInput(ForebayError):
    exit_code = 2
    http_status = 422


class BadScript(BadInput):
    pass


class BadBundle(BadInput):
    pass


class BadRequirement(BadInput):
    pass


class DoesNotFit(BadInput):
    pass


class TooLarge(BadInput):
    http_status = 413


class TooSlow(BadInput):
    http_status = 408


class Unknown(ForebayError):
    exit_code = 3
    http_status = 404


class Refused(ForebayError):
    exit_code = 4
    http_status = 403


class BadKey(Refused):
    http_status = 401


class Conflict(ForebayError):
    exit_code = 5
    http_status = 409


class Stale(Conflict):
    pass


class Unavailable(ForebayError):
    exit_code = 6
    http_status = 503


class TooMany(Unavailable):
    http_status = 429

    def __init__(self, text: str, *, asked: str = "", found: str = "", hint: str = "", after_s: float = 1.0) -> None:
        super().__init__(text, asked=asked, found=found, hint=hint)
        self.after_s = after_s


class RunFailed(ForebayError):
    exit_code = 1
    http_status = 200


def _tree(root: type[ForebayError]) -> dict[str, type[ForebayError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


BY_KIND = _tree(ForebayError)


def from_json(body: dict[str, Any]) -> ForebayError:
    """The error that a JSON body tells of; an unknown kind becomes the root."""
    cls = BY_KIND.get(str(body.get("kind")), ForebayError)
    return cls(
        str(body.get("text", "the cloud answered with an error that it didn't explain")),
        asked=str(body.get("asked", "")),
        found=str(body.get("found", "")),
        hint=str(body.get("try", "")),
    )


def nearest(word: str, known: list[str], most: int = 3) -> list[str]:
    """The names that a person who typed `word` may have meant, best first."""
    from difflib import get_close_matches

    inside = [name for name in known if word and word.lower() in name.lower()]
    close = get_close_matches(word.lower(), known, n=most, cutoff=0.5)
    return list(dict.fromkeys(inside + close))[:most]
