"""`forebay chips certify`, as a person calls it: names, formats, results, and what bad input gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from forebay.cli.certify import Place, find
from forebay.errors import Unknown


def forebay(*words, cwd, **environment):
    command = [sys.executable, "-m", "forebay.cli", "chips", "certify", *words]
    environ = {**os.environ, "XDG_DATA_HOME": str(cwd / "data"), **environment}
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=110)


def test_a_chips_name_means_a_device_its_plug_in_and_the_formats_of_its_sheet():
    assert find("simulated") == Place("cuda", (), "simulated")
    assert find("ascend-910b").device == "npu" and find("ascend-910b").imports == ("torch_npu",)
    assert find("h100-sxm").formats == ("float64", "float8_e4m3fn", "float8_e5m2", "int8")
    assert find("cpu").formats == ()


def test_an_unknown_chip_gets_the_nearest_names():
    with pytest.raises(Unknown) as error:
        find("ascend-910")
    assert "ascend-910b" in str(error.value.hint)


def test_a_few_operators_of_the_host_are_certified_and_a_second_call_has_nothing_left_to_do(tmp_path):
    pytest.importorskip("torch")
    words = ("cpu", "--only", "add", "--formats", "float32,float64", "--out", "run", "--json")
    first, second = forebay(*words, cwd=tmp_path), forebay(*words, cwd=tmp_path)
    assert first.returncode == second.returncode == 0, first.stderr
    assert json.loads(first.stdout)["verdicts"] == {"strict": 4} == json.loads(second.stdout)["verdicts"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert {(one["format"], one["direction"]) for one in lines} == {
        (kind, way) for kind in ("float32", "float64") for way in ("forward", "backward")
    }


@pytest.mark.parametrize(
    "words, said",
    [
        (("cpu", "--only", "no_such_operator"), "Torch's database has no such operator"),
        (("cpu", "--formats", "float31"), "float31"),
        (("mine", "--device", "nosuchdevice"), "nosuchdevice"),
        (("mine", "--device", "cpu", "--import", "no_such_module"), "no_such_module"),
        (("cpu", "--python", "/no/such/python"), "This Python can't be started"),
    ],
)
def test_bad_input_is_one_clear_error_and_leaves_no_results(tmp_path, words, said):
    pytest.importorskip("torch")
    done = forebay(*words, "--out", "run", cwd=tmp_path)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
    kept = tmp_path / "run" / "results.jsonl"
    assert not kept.exists() or kept.read_text() == ""
