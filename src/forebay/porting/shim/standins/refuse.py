"""Refuse what a stand-in can't carry.

Asked:  a script calls something that has no counterpart in torch: what does it get?
Answer: a NotCarried (a RuntimeError) that names the call, the line that made it and what to use; the report has it as refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

from forebay.porting.shim.journal import note


class NotCarried(RuntimeError):
    """It is in the library, and not in our stand-in for it."""


def refuse(name: str, use: str) -> NoReturn:
    line = note(name, "refused")
    raise NotCarried(f"{name} is not carried by Forebay's stand-in (called at {line}). Use {use}.")


def refused(name: str, use: str) -> type:
    """Something that can be imported and asked for with isinstance, and is refused when it is called."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(name, use)

    return type(name.rpartition(".")[2], (), {"__new__": __new__, "__doc__": f"Not carried. Use {use}."})
