"""Writing is all or nothing, and the originals can be had again."""

import os
import stat
import subprocess

import pytest

from forebay.errors import BadInput
from forebay.porting.rewrite.project import rewrite_project
from forebay.porting.rewrite.reasons import reason
from forebay.porting.rewrite.rewritten import Rewritten
from forebay.porting.rewrite.write import write
from forebay.porting.scan import scan_tree

BODY = b"import torch\n\nx = x.cuda()\n"


def ported(root):
    return rewrite_project(root, scan_tree(root))


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file() and ".git" not in path.parts
    }


def git(root, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)


def test_without_git_each_original_lies_beside_its_file(tmp_path):
    (tmp_path / "a.py").write_bytes(BODY)
    (tmp_path / "b.py").write_bytes(b"x = 1\n")
    written = write(tmp_path, ported(tmp_path))
    assert (written.files, written.in_git, written.copies) == (("a.py",), (), ("a.py.orig",))
    assert (tmp_path / "a.py.orig").read_bytes() == BODY
    assert b"x.to(DEVICE)" in (tmp_path / "a.py").read_bytes()
    assert (tmp_path / "b.py").read_bytes() == b"x = 1\n"


def test_an_older_original_is_never_written_over(tmp_path):
    (tmp_path / "a.py").write_bytes(BODY)
    (tmp_path / "a.py.orig").write_bytes(b"mine")
    assert write(tmp_path, ported(tmp_path)).copies == ("a.py.orig2",)
    assert (tmp_path / "a.py.orig").read_bytes() == b"mine"


def test_what_git_holds_needs_no_copy_and_what_it_does_not_gets_one(tmp_path):
    for name in ("committed.py", "edited.py"):
        (tmp_path / name).write_bytes(BODY)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "edited.py").write_bytes(BODY + b"y = y.cuda()\n")
    (tmp_path / "new.py").write_bytes(BODY)
    written = write(tmp_path, ported(tmp_path))
    assert written.in_git == ("committed.py",)
    assert written.copies == ("edited.py.orig", "new.py.orig")
    git(tmp_path, "checkout", "committed.py")
    assert (tmp_path / "committed.py").read_bytes() == BODY


def test_permissions_stay(tmp_path):
    (tmp_path / "run.py").write_bytes(BODY)
    (tmp_path / "run.py").chmod(0o754)
    write(tmp_path, ported(tmp_path))
    assert stat.S_IMODE((tmp_path / "run.py").stat().st_mode) == 0o754


def test_a_file_that_changed_meanwhile_stops_everything(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_bytes(BODY)
    files = ported(tmp_path)
    (tmp_path / "b.py").write_bytes(BODY + b"# mine\n")
    before = files_of(tmp_path)
    with pytest.raises(BadInput, match="changed while it was read"):
        write(tmp_path, files)
    assert files_of(tmp_path) == before


def test_a_link_out_of_the_tree_is_not_followed(tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_bytes(BODY)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.py").symlink_to(outside)
    one = Rewritten(path="a.py", before=BODY, after=BODY + b"#", edits=(), left=())
    with pytest.raises(BadInput, match="leads out of the folder"):
        write(tree, [one])
    assert outside.read_bytes() == BODY


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cant_be_written_leaves_all_files_as_they_were(tmp_path):
    for name in ("a/x.py", "b/x.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(BODY)
    files = ported(tmp_path)
    (tmp_path / "b").chmod(0o500)
    try:
        with pytest.raises(BadInput, match="all are as they were"):
            write(tmp_path, files)
    finally:
        (tmp_path / "b").chmod(0o700)
    assert files_of(tmp_path) == {"a/x.py": BODY, "b/x.py": BODY}


def test_a_failure_in_the_middle_puts_back_what_was_replaced(tmp_path):
    (tmp_path / "a.py").write_bytes(BODY)
    (tmp_path / "z.py").write_bytes(BODY)
    draft = tmp_path / f".z.py.{os.getpid()}.draft"
    draft.write_bytes(b"in the way")
    with pytest.raises(BadInput, match="all are as they were"):
        write(tmp_path, ported(tmp_path))
    assert files_of(tmp_path) == {"a.py": BODY, "z.py": BODY, draft.name: b"in the way"}


def test_files_that_are_no_python_are_left_with_how_to_go_on(tmp_path):
    (tmp_path / "setup.cfg").write_text("[x]\n")
    (tmp_path / "k.cu").write_text("__global__ void f(float* x) { x[threadIdx.x] = 0; }\n")
    files = ported(tmp_path)
    assert [one.path for one in files] == ["k.cu"]
    assert [item.reason for item in files[0].left][:1] == [reason("cu-file")]
    assert write(tmp_path, files).files == ()
