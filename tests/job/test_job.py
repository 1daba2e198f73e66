"""The inside of a job runs in environments that are not ours."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from forebay import job
from forebay.job import wire
from forebay.job.wire import Begin

SOURCES = sorted(Path(job.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_is_written_for_python_3_9_and_imports_only_what_every_base_has(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {name for name in imported if name.startswith("forebay")}
    assert {name for name in ours if not name.startswith(("forebay.job", "forebay.errors", "forebay.porting.shim"))} == set()
    assert {name.split(".")[0] for name in imported - ours} <= {*sys.stdlib_module_names, "torch"}


def test_a_packet_of_a_newer_supervisor_is_understood() -> None:
    packet = {"say": "begin", "ranks": 1, "start": "exec", "work": "/w", "entry": "a.py", "argv": [], "python": "/p", "env": {}}
    begin = wire.read(Begin, {**packet, "store": False, "view": {}, "something": "new"})
    assert (begin.ranks, begin.start, begin.uid, begin.packages) == (1, "exec", None, None)


def test_a_packet_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="start"):
        wire.read(Begin, {"say": "begin", "ranks": 1})
