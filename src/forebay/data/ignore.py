"""Which paths does a .gitignore leave out?

Asked:  may this path go into a bundle?
Answer: the rules of gitignore(5), read from the files themselves: the last rule that matches wins, a deeper file comes after a
        shallower one, "!" takes back, and what lies in a folder that is left out can't be taken back.
Limits: only the .gitignore files of the tree. The user's global excludes and .git/info/exclude are not read, so that the same
        folder gives the same bundle on every machine. A file that git tracks although a rule leaves it out is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of a .gitignore. It says nothing of the folder it stands in; `base` does."""

    base: str  # folder of the .gitignore, relative to the root: "" or "src/"
    pattern: re.Pattern[str]  # of the path relative to base
    takes_back: bool
    folders_only: bool

    def matches(self, path: str, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        return path.startswith(self.base) and self.pattern.fullmatch(path[len(self.base) :]) is not None


def read_rules(text: str, base: str) -> tuple[Rule, ...]:
    """The rules of one file. `base` is its folder relative to the root, with a slash at the end, or ""."""
    return tuple(rule for line in text.split("\n") if (rule := _read_line(line.removesuffix("\r"), base)) is not None)


def left_out(path: str, is_folder: bool, rules: Iterable[Rule]) -> bool:
    """Whether the rules, shallowest file first, leave this path out. Its folder must have been let in."""
    answer = False
    for rule in rules:
        if answer is rule.takes_back and rule.matches(path, is_folder):
            answer = not rule.takes_back
    return answer


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression over whole relative paths: "*" and "?" stay within a name, "**" crosses folders.

    Without a slash (but at its end) it matches in any folder.
    """
    anchored = "/" in pattern.rstrip("/")
    pattern = pattern.removeprefix("/")
    out = "" if anchored else "(?:.*/)?"
    i = 0
    while i < len(pattern):
        if pattern.startswith("**/", i) and (i == 0 or pattern[i - 1] == "/"):
            out, i = out + "(?:.*/)?", i + 3
        elif pattern[i:] == "/**":
            out, i = out + "/.+", len(pattern)
        elif pattern[i] == "*":
            end = i
            while pattern[end : end + 1] == "*":
                end += 1
            whole = (i == 0 or pattern[i - 1] == "/") and end == len(pattern) and end - i == 2
            out, i = out + (".*" if whole else "[^/]*"), end
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif pattern[i] == "[" and (read := _bracket(pattern, i)):
            out, i = out + read[0], read[1]
        elif pattern[i] == "[":
            return re.compile(r"(?!)")  # an open bracket matches nothing, as in git
        elif pattern[i] == "\\" and i + 1 < len(pattern):
            out, i = out + re.escape(pattern[i + 1]), i + 2
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return re.compile(out, re.DOTALL)


def _read_line(line: str, base: str) -> Rule | None:
    if line.startswith("#"):
        return None
    takes_back = line.startswith("!")
    line = line[1:] if takes_back else line
    while line.endswith(" ") and not re.search(r"(?<!\\)(?:\\\\)*\\ $", line):
        line = line[:-1]
    if (len(line) - len(line.rstrip("\\"))) % 2:
        return None  # a lone backslash at the end is an invalid pattern, which never matches
    folders_only = line.endswith("/")
    line = line[:-1] if folders_only else line
    if line in ("", "/"):
        return None
    return Rule(base=base, pattern=glob(line), takes_back=takes_back, folders_only=folders_only)


_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-fA-F",
    "space": r"\s", "punct": r"!-/:-@\[-`{-~", "blank": r" \t",
}  # fmt: skip


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """The set "[...]" at `start` as a regular expression, and where it ends. None: it never ends."""
    i = start + 1
    negated = pattern[i : i + 1] in ("!", "^")
    i += negated
    first, out = i, ""
    while i < len(pattern):
        if pattern[i] == "]" and i > first:
            # A set never matches a slash: it stands for one letter of a name.
            return (f"[^/{out}]" if negated else f"(?!/)[{out}]"), i + 1
        if (named := re.match(r"\[:([a-z]+):\]", pattern[i:])) and named[1] in _CLASSES:
            out, i = out + _CLASSES[named[1]], i + named.end()
            continue
        low, i = _letter(pattern, i)
        if pattern[i : i + 1] == "-" and pattern[i + 1 : i + 2] not in ("", "]"):
            high, i = _letter(pattern, i + 1)
            out += f"{re.escape(low)}-{re.escape(high)}" if low <= high else ""
        else:
            out += re.escape(low)
        if not out:
            out = r"\x00"  # only an empty range so far: something that no name holds
    return None


def _letter(pattern: str, i: int) -> tuple[str, int]:
    if pattern[i] == "\\" and i + 1 < len(pattern):
        return pattern[i + 1], i + 2
    return pattern[i], i + 1
