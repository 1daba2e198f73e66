"""gitignore(5), line by line; and the law that git itself agrees."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.data.ignore import left_out, read_rules


def ignored(rules: str, path: str, is_folder: bool = False) -> bool:
    return left_out(path, is_folder, read_rules(rules, ""))


@pytest.mark.parametrize(
    "rules, path, answer",
    [
        ("*.pyc", "a/b/x.pyc", True),
        ("x", "a/x", True),
        ("/x", "a/x", False),
        ("a/x", "a/x", True),
        ("a/x", "b/a/x", False),
        ("**/a/x", "b/a/x", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a*b", "a/b", False),
        ("a?c", "abc", True),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[[:digit:]]x", "7x", True),
        ("*.log\n!keep.log", "keep.log", False),
        ("!keep.log\n*.log", "keep.log", True),
        ("# note", "# note", False),
        (r"\# note", "# note", True),
        (r"\!x", "!x", True),
        ("x  ", "x", True),
        ("x\\ ", "x ", True),
        ("x\r\ny", "x", True),
        ("out/", "out", False),
        ("", "x", False),
        ("a.c", "abc", False),
        ("foo[", "foo[", False),
    ],
)
def test_a_rule_means_what_git_says_it_means(rules, path, answer):
    assert ignored(rules, path) is answer


def test_a_slash_at_the_end_means_folders_only():
    assert ignored("out/", "a/out", is_folder=True) is True


def test_a_rule_of_a_deeper_file_speaks_of_paths_below_it():
    rules = (*read_rules("*.bin", ""), *read_rules("!x.bin\n/y", "deep/"))
    assert [left_out(p, False, rules) for p in ("x.bin", "deep/x.bin", "deep/y", "y")] == [True, False, True, False]


NAMES = st.text(alphabet="ab.", min_size=1, max_size=3).filter(lambda n: n.strip(".") != "")
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
LINES = st.text(alphabet="ab.*?/!# [-]\\", max_size=7)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=4), st.lists(LINES, max_size=2), st.lists(PATHS, min_size=1, max_size=8))
def test_git_agrees(rules, deeper, paths):
    from forebay.data.bundle import pack, unpack

    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "tree"
        (root / "a").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        for path in paths:
            if not any(above.is_file() for above in (root / path).parents) and not (root / path).exists():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
        (root / ".gitignore").write_text("\n".join(rules))
        if (root / "a").is_dir():
            (root / "a" / ".gitignore").write_text("\n".join(deeper))
        listed = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "-c",
                "core.excludesFile=/dev/null",
                "ls-files",
                "-oz",
                "--exclude-per-directory=.gitignore",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        pack(root, limit_bytes=10**6, to=Path(name) / "bundle")
        unpack(Path(name) / "bundle", Path(name) / "out")
        packed = {str(p.relative_to(Path(name) / "out")) for p in (Path(name) / "out").rglob("*") if p.is_file()}
        assert packed == set(listed.split("\0")) - {""}
