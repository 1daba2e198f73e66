"""Every byte outside the edits stays, whatever the file's encoding, line ends and spaces."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import BadScript
from forebay.porting.rewrite.diff import unified
from forebay.porting.rewrite.rewrite import rewrite

LINES = (
    "x = x.cuda()",
    "y = torch.zeros(3, device='cuda')  # on the card: ü",
    "torch.cuda.synchronize( )",
    "torch.cuda.empty_cache();z = 1",
    "if x.is_cuda : pass",
    "def f(device = 'cuda'):\n\treturn [ device,\n\n  2 ]",
    "with torch.cuda.amp.autocast( enabled=True ):\n  x = x + 1",
    "t = '''\n  a text about \"cuda\"  \n'''",
    "print(f'{torch.cuda.memory_allocated()/2:.1f} {x.is_cuda!r}')",
    "m = torch.nn.parallel.DistributedDataParallel(m, device_ids = [ rank ])",
    "x = torch.load(p,map_location = f'cuda:{rank}')",
    "# a comment about torch.cuda.synchronize()",
    "\x0c",
    "",
    "class C:\n    def g(self, x):\n        torch.cuda.manual_seed_all(1)\n        return x.cuda(non_blocking=True)",
)


def outside_edits(one):
    """What is left of the old and of the new bytes when the edits are cut out of both."""
    old, new, at_old, at_new = [], [], 0, 0
    for start, end, text in one.splices:
        kept = start - at_old
        old.append(one.before[at_old:start])
        new.append(one.after[at_new : at_new + kept])
        assert one.after[at_new + kept :].startswith(text)
        at_old, at_new = end, at_new + kept + len(text)
    return [*old, one.before[at_old:]], [*new, one.after[at_new:]]


@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=8),
    st.sampled_from(("\n", "\r\n", "\r", "mixed")),
    st.booleans(),
    st.sampled_from(("utf-8", "utf-8-sig", "latin-1")),
)
def test_with_the_edits_cut_out_before_and_after_are_equal_and_a_second_rewrite_changes_nothing(lines, newline, last, encoding):
    if newline == "\r":
        encoding = "utf-8"  # Python itself reads the encoding from a line that ends with a line feed
    first = f"# -*- coding: {encoding.replace('-sig', '')} -*-"
    text = "\n".join([first, "import torch", *lines]) + ("\n" if last else "")
    if newline == "mixed":
        text = "".join(c if c != "\n" else ("\r\n" if i % 3 else "\n") for i, c in enumerate(text))
    else:
        text = text.replace("\n", newline)
    one = rewrite(text.encode(encoding), "script.py")
    old, new = outside_edits(one)
    assert old == new
    assert rewrite(one.after, "script.py").after == one.after
    compile(one.after, "script.py", "exec")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_added_lines_end_as_the_files_own(newline):
    body = newline.join([b"import torch", b"", b"x = x.cuda()", b"torch.cuda.empty_cache()", b""])
    after = rewrite(body, "script.py").after
    rest = after.replace(newline, b"")
    assert b"\n" not in rest
    assert b"\r" not in rest


def test_a_file_without_a_last_newline_gets_none():
    assert rewrite(b"import torch\nx = x.cuda()", "s.py").after.endswith(b"\nx = x.to(DEVICE)")


def test_a_file_without_findings_comes_back_as_it_was():
    body = b"import torch\n\n\nx = torch.zeros(3)  \n"
    one = rewrite(body, "s.py")
    assert (one.after, one.edits, one.left) == (body, (), ())


def test_a_text_that_cant_be_given_back_byte_by_byte_is_left_whole():
    body = b"# coding: utf-7\nimport torch\nx = x.cuda()\nt = '+AGE-'  # an a, which nobody writes so\n"
    one = rewrite(body, "s.py")
    assert one.after == body
    assert [item.reason.startswith("in utf-7") for item in one.left] == [True]


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=12), st.booleans(), st.sampled_from(("\n", "\r\n")))
def test_git_applies_the_diff_and_gets_the_new_bytes(tmp_path_factory, lines, last, newline):
    folder = tmp_path_factory.mktemp("tree")
    body = ("\n".join(["import torch", *lines]) + ("\n" if last else "")).replace("\n", newline).encode()
    (folder / "a b.py").write_bytes(body)
    one = rewrite(body, "a b.py")
    if one.after == body:
        return
    patch = subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=folder, input=unified([one]), capture_output=True)
    assert patch.stderr == b""
    assert (folder / "a b.py").read_bytes() == one.after


def test_bytes_that_are_in_no_encoding_are_told_as_for_a_scan():
    with pytest.raises(BadScript, match="isn't in the file's encoding"):
        rewrite(b"import torch\nx = 'gr\xfcn'\n", "s.py")


def test_a_name_beyond_plain_letters_is_quoted_as_git_does(tmp_path):
    name = 'tränieren "1".py'
    (tmp_path / name).write_bytes(b"import torch\nx = x.cuda()\n")
    one = rewrite((tmp_path / name).read_bytes(), name)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=unified([one]), check=True)
    assert (tmp_path / name).read_bytes() == one.after


def test_the_new_text_imports_nothing_but_torch_and_the_standard_library():
    body = b"import torch\n" + "\n".join(LINES).encode() + b"\ne = torch.cuda.Event(enable_timing=True)\n"
    added = [line for line in rewrite(body, "s.py").after.decode().splitlines() if line.startswith(("import ", "from "))]
    roots = {line.split()[1].split(".")[0] for line in added}
    assert roots <= {"torch"} | set(sys.stdlib_module_names)
