"""A notebook is read cell by cell, with the lines for IPython and the shell told from Python."""

from __future__ import annotations

import json

import pytest

from forebay.errors import BadScript
from forebay.porting.scan import scan_script, scan_tree
from forebay.porting.scan.notebook import scan_notebook


def book(*cells: str | tuple[str, str], **metadata: object) -> str:
    made = []
    for cell in cells:
        kind, source = cell if isinstance(cell, tuple) else ("code", cell)
        made.append({"cell_type": kind, "source": source.splitlines(keepends=True), "outputs": []})
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4})


def found(text: str) -> list[tuple[int | None, int, str]]:
    return [(one.cell, one.line, one.rule) for one in scan_notebook(text, "x.ipynb").findings]


def test_a_name_of_one_cell_is_known_in_the_next_and_places_are_cells_and_lines():
    text = book("from torch import cuda as gpu", ("markdown", "# on cuda"), "x = 1\ngpu.synchronize()")
    assert found(text) == [(1, 1, "cuda-module"), (3, 2, "sync")]
    (_, last) = scan_notebook(text, "a/x.ipynb").findings
    assert last.place == "a/x.ipynb, cell 3, line 2"


@pytest.mark.parametrize(
    "cell, rules",
    [
        ("!nvidia-smi", ["nvidia-smi"]),
        ("%%bash\nnvidia-smi -L", ["nvidia-smi"]),
        ("gpus = !nvidia-smi -L\nx.cuda()", ["nvidia-smi", "cuda-move"]),
        ("%env CUDA_VISIBLE_DEVICES=0", ["visible-devices"]),
        ("!python train.py --device cuda", ["device-string"]),
        ("!nvcc --version", ["nvcc"]),
        ("%%time\nx.cuda()", ["cuda-move"]),
        ("%%writefile train.py\nx.cuda()", ["cuda-move"]),
        ("%%writefile notes.md\nx.cuda( is a call", []),
        ("%%html\n<b>cuda</b>", []),
        ("%%cu\n__global__ void k() {}", ["cuda-source"]),
        ("if ok:\n    !pip install torch\nx.cuda()", ["cuda-move"]),
        ("x.cuda?", []),
        ("%matplotlib inline\ny = 5 % 3\nx.cuda()", ["cuda-move"]),
        ("text = '''\n%time is not magic here\n'''\nx.cuda()", ["cuda-move"]),
        ("await run()\nx.cuda()", ["cuda-move"]),
        ("", []),
    ],
)
def test_lines_for_ipython_are_told_from_python(cell, rules):
    assert [rule for _, _, rule in found(book(cell))] == rules


def test_a_cell_that_does_not_parse_is_told_and_the_others_are_read():
    read = scan_notebook(book("x = (", "y.cuda()"), "x.ipynb")
    assert [(one.cell, one.rule) for one in read.findings] == [(2, "cuda-move")]
    assert [one.reason for one in read.unread] == ["cell 1, line 1, column 5: '(' was never closed."]


def test_a_notebook_is_read_as_a_script_and_in_a_folder(tmp_path):
    (tmp_path / "x.ipynb").write_text(book("import torch", "x = torch.ones(1).cuda()"))
    alone, within = scan_script(tmp_path / "x.ipynb"), scan_tree(tmp_path)
    assert alone.findings == within.findings
    assert (alone.imports_torch, within.files) == (True, ("x.ipynb",))


def test_an_old_notebook_with_worksheets_is_read():
    text = json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": ["x.cuda()\n"]}]}], "nbformat": 3})
    assert found(text) == [(1, 1, "cuda-move")]


@pytest.mark.parametrize(
    "text, word",
    [
        ("{not json", "is JSON, and this isn't"),
        ("[]", "no cells"),
        ('{"cells": 3}', "no cells"),
        (book("x <- 1", language_info={"name": "R"}), "aren't Python"),
    ],
)
def test_what_is_no_notebook_in_python_is_told(text, word, tmp_path):
    with pytest.raises(BadScript, match=word):
        scan_notebook(text, "x.ipynb")
    (tmp_path / "x.ipynb").write_text(text)
    assert [one.file for one in scan_tree(tmp_path).unread] == ["x.ipynb"]
