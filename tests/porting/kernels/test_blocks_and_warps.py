"""Blocks, warps and launches keep their meaning. The sentences are the names of the checks in checks.py."""

import ast
import importlib.util
import json
from pathlib import Path

import pytest

CHECKS = Path(__file__).parent / "checks.py"
NAMES = [
    node.name
    for node in ast.parse(CHECKS.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name not in ("compiled", "call")
]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch isn't installed")


@pytest.fixture(scope="module")
def said(run, tmp_path_factory):
    ended = run(CHECKS, tmp_path_factory.mktemp("checks"))
    lines = [line[7:] for line in ended.stdout.splitlines() if line.startswith("CHECKS ")]
    assert lines, ended.stdout + ended.stderr
    return json.loads(lines[0])


@pytest.mark.parametrize("name", NAMES)
def test(said, name):
    assert said[name] == ""
