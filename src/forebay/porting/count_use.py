"""Count which operators public projects call, for the weights of the inclusiveness index.

Asked:  which of torch's operators does each project's text call, file by file?
Answer: every Python file of each folder is parsed and read by `porting.operators`. A folder is named OWNER+NAME@COMMIT.

    python -m forebay.porting.count_use --projects DIR > src/forebay/chips/use.json

Limits: files that don't parse as Python 3, and those over a megabyte, are left out. Tests count: they are programs too.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from forebay.chips.use import Project, Use
from forebay.codec import encode
from forebay.porting.operators import called, names, of_torch
from forebay.units import MB


def count(folder: Path, operators: tuple[str, ...]) -> Project | None:
    """One project. None: no file of it calls torch by name."""
    place = {name: at for at, name in enumerate(operators)}
    sets: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        if path.is_symlink() or path.stat().st_size > MB:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = called(ast.parse(path.read_bytes()), path.name)
        except (SyntaxError, ValueError, RecursionError):
            continue
        if found.imports_torch and found.called:
            sets[" ".join(str(at) for at in sorted({place[one.operator] for one in found.called}))] += 1
    if not sets:
        return None
    name, _, commit = folder.name.partition("@")
    return Project(name=name.replace("+", "/"), commit=commit, files=sum(sets.values()), sets=dict(sorted(sets.items())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=Path, required=True, help="a folder of folders OWNER+NAME@COMMIT")
    asked = parser.parse_args()
    operators = names()
    found = [count(folder, operators) for folder in sorted(asked.projects.iterdir()) if folder.is_dir()]
    use = Use(
        counted_on=datetime.now(UTC).date().isoformat(),
        torch=of_torch(),
        operators=operators,
        projects=tuple(project for project in found if project is not None),
    )
    json.dump(encode(use), sys.stdout, indent=0)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
