"""A folder is read whole: what is left out, what can't be read, and that nothing is lost on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.porting import test_scan

from forebay.errors import BadInput, BadScript, Unknown
from forebay.porting.scan import Limits, scan, scan_tree
from forebay.porting.scan.trigger import speaks

CORPUS = Path(__file__).parent / "corpus"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, body in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body if isinstance(body, bytes) else body.encode())
    return root


def test_a_file_that_cant_be_read_is_told_and_the_others_are_read(tmp_path):
    write(
        tmp_path,
        {
            "good.py": "x.cuda()\n",
            "old.py": "import torch\nprint 'cuda'\n",
            "binary.py": b"\x7fELF\x00\x01cuda",
            "letters.py": b"import torch\nname = 'caf\xe9'\n",
            "huge.py": "x.cuda()\n" * 20,
        },
    )
    found = scan_tree(tmp_path, limits=Limits(largest_bytes=100))
    assert [(f.file, f.line) for f in found.findings] == [("good.py", 1)]
    assert found.files == ("good.py",)
    assert {one.file: one.reason.split(":")[0] for one in found.unread} == {
        "binary.py": "not a text file",
        "huge.py": "larger than is read",
        "letters.py": "line 2, column 12",
        "old.py": "line 2, column 1",
    }


def test_links_are_not_followed_into_a_loop_or_out_of_the_folder(tmp_path):
    outside = write(tmp_path / "outside", {"secret.py": "x.cuda()\n"})
    root = write(tmp_path / "project", {"a/train.py": "x.cuda()\n"})
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "same.py").symlink_to("train.py")
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "gone.py").symlink_to("nowhere.py")
    found = scan_tree(root)
    assert found.files == ("a/train.py",)
    assert found.unread == ()


def test_hidden_installed_and_built_files_are_left_out_and_pipes_are_no_files(tmp_path):
    names = [".git/a.py", "venv/b.py", "x/site-packages/c.py", "build/d.py", "node_modules/e.py", "kept/f.py"]
    write(tmp_path, dict.fromkeys(names, "x.cuda()\n"))
    os.mkfifo(tmp_path / "pipe.py")
    assert scan_tree(tmp_path).files == ("kept/f.py",)


def test_each_file_is_told_before_it_is_read(tmp_path):
    write(tmp_path, {"a.py": "", "b/c.py": "", "notes.txt": ""})
    told: list[tuple[int, int, str]] = []
    scan_tree(tmp_path, say=lambda *words: told.append(words))
    assert told == [(0, 2, "a.py"), (1, 2, "b/c.py"), (2, 2, "")]


def test_a_folder_beyond_the_limit_is_refused_with_what_to_do(tmp_path):
    write(tmp_path, {f"{i}.py": "" for i in range(4)})
    with pytest.raises(BadInput, match="more than 3") as caught:
        scan_tree(tmp_path, limits=Limits(most=3))
    assert "a folder inside it" in caught.value.hint


def test_many_files_are_no_error(tmp_path):
    write(tmp_path, {f"{i // 100}/{i}.py": "x = 1\n" for i in range(2000)})
    found = scan_tree(tmp_path)
    assert (len(found.files), found.findings) == (2000, ())


def test_a_folder_that_isnt_there_is_told(tmp_path):
    with pytest.raises(Unknown, match="no such folder"):
        scan_tree(tmp_path / "none")


def test_the_projects_own_modules_are_no_packages_of_others(tmp_path):
    write(tmp_path, {"train.py": "import cuda_tools\ncuda_tools.move(x)\nimport scan_cuda\n", "cuda_tools.py": "x.cuda()\n"})
    assert [(f.file, f.line, f.rule) for f in scan_tree(tmp_path).findings] == [
        ("cuda_tools.py", 1, "cuda-move"),
        ("train.py", 3, "own-extension"),
    ]


def test_a_scan_is_the_same_each_time_and_in_the_order_of_names(tmp_path):
    write(tmp_path, {"b.py": "x.cuda()\n", "a/z.py": "y.cuda()\n", "a.py": "z.cuda()\n"})
    first = scan_tree(tmp_path)
    assert first == scan_tree(tmp_path)
    assert first.files == ("a.py", "b.py", "a/z.py")


def test_the_files_are_not_touched(tmp_path):
    write(tmp_path, {"a.py": "x.cuda()\r\n"})
    before = ((tmp_path / "a.py").read_bytes(), (tmp_path / "a.py").stat().st_mtime_ns, sorted(os.listdir(tmp_path)))
    scan_tree(tmp_path)
    assert ((tmp_path / "a.py").read_bytes(), (tmp_path / "a.py").stat().st_mtime_ns, sorted(os.listdir(tmp_path))) == before


# ---------------------------------------------------------------- files that aren't parsed


def test_no_text_with_a_finding_is_without_a_word_for_which_it_is_parsed():
    """What isn't parsed can't lose a finding: every line of the manual that holds one by itself is such a text."""
    lines = [code for mark in test_scan.test_each_thing_is_found_for_what_it_is.pytestmark for code, _ in mark.args[1]]
    lines += [line for file in CORPUS.glob("*.py.txt") for line in file.read_text().splitlines() if can_be_read(line)]
    alone = [line for line in lines if scan(line, "x.py")]
    assert len(alone) > 250
    assert [line for line in alone if not speaks(line)] == []


def can_be_read(line: str) -> bool:
    try:
        scan(line.strip(), "x.py")
    except BadScript:
        return False
    return line == line.strip()


def test_a_file_without_any_such_word_is_read_and_not_parsed(tmp_path):
    write(tmp_path, {"a.py": "print 'hello'\n"})
    found = scan_tree(tmp_path)
    assert (found.files, found.unread) == (("a.py",), ())
