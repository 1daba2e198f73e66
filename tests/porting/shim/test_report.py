"""What a run used of the shim: counts, lines, processes, and the table for people."""

import json
import os
import subprocess
import sys

import pytest

from forebay.porting.shim import journal
from forebay.porting.shim.truth import NCCL, told_the_truth

from .conftest import run
from .test_launch import launch, script


def report(carrier="simulated", uses=None, operators=None):
    return {
        "carrier": carrier,
        "why": "no GPU",
        "limits": [],
        "uses": uses or {},
        "operators": {"of": operators or {}},
    }


def use(kind, **sites):
    return {"class": kind, "calls": sum(sites.values()), "sites": sites}


def test_reports_of_several_processes_are_added():
    merged = journal.merge(
        [
            report(uses={"a": use("exact", x=2), "b": use("no-op", y=1)}, operators={"aten::add": 3}),
            report(uses={"a": use("exact", x=1, z=4)}, operators={"aten::add": 1, "aten::mm": 1}),
        ]
    )
    assert merged["uses"]["a"] == {"class": "exact", "calls": 7, "sites": {"z": 4, "x": 3}}
    assert (merged["processes"], merged["operators"]["calls"], merged["operators"]["names"]) == (2, 5, 2)


def test_merging_one_report_twice_over_changes_no_more_than_its_counts():
    one = report(uses={"a": use("emulated", x=2)}, operators={"aten::add": 3})
    assert journal.merge([journal.merge([one])]) == journal.merge([one])
    assert journal.merge([]) == {"carrier": None}


def test_the_table_begins_with_what_was_refused_and_ends_with_what_was_exact():
    shown = journal.table(journal.merge([report(uses={k: use(k, **{"/a/train.py:3": 1}) for k in journal.CLASSES})]))
    found = [line.split()[0] for line in shown.splitlines() if line.split()[0] in journal.CLASSES]
    assert found == list(reversed(journal.CLASSES))
    assert "a/train.py:3 (1)" in shown


def test_a_report_names_the_lines_that_called(simulated, tmp_path):
    place = tmp_path / "report.json"
    path = script(
        tmp_path,
        "import torch\n"
        "for _ in range(3):\n"
        "    torch.cuda.synchronize()\n"
        "start = torch.cuda.Event(enable_timing=True)\n"
        "torch.cuda.synchronize()\n",
    )
    run(simulated, path, FOREBAY_SHIM_REPORT=str(place))
    uses = json.loads(place.read_text())["uses"]
    assert uses["torch.cuda.synchronize"]["sites"] == {f"{path}:3": 3, f"{path}:5": 1}
    assert uses["torch.cuda.Event"] == {
        "class": "emulated",
        "calls": 1,
        "sites": {f"{path}:4": 1},
        "remark": "its times are of the host's clock, not a card's",
    }


def test_a_refusal_says_the_name_the_line_and_what_to_use(simulated, tmp_path):
    path = script(tmp_path, "import torch\n\ntorch.cuda.nccl.unique_id()\n")
    ended = run(simulated, path)
    assert f"unique_id is not carried without a GPU: use torch.distributed (called at {path}:3)" in ended.stderr


def test_the_table_is_shown_at_exit_over_all_processes(cache, simulated, tmp_path):
    path = script(
        tmp_path,
        "import torch, torch.multiprocessing as mp\n"
        "def work(rank):\n"
        "    torch.cuda.set_device(rank)\n"
        "    torch.ones(2, device='cuda').mul(2)\n"
        "if __name__ == '__main__':\n"
        "    mp.spawn(work, nprocs=2)\n"
        "    fork = mp.get_context('fork').Process(target=work, args=(0,))\n"
        "    fork.start(); fork.join()\n"
        "    raise SystemExit(fork.exitcode or 3)\n",
    )
    ended = launch(cache, "--report", path)
    assert ended.returncode == 3, ended.stderr
    (row,) = [line for line in ended.stderr.splitlines() if "torch.cuda.set_device" in line]
    assert row.split()[:2] == ["exact", "3"]
    assert "train.py:3 (3)" in row
    assert "carried by: simulated" in ended.stderr


def test_two_processes_that_end_at_once_keep_both_reports(tmp_path):
    place = tmp_path / "report.json"
    words = (
        "import os, sys; from forebay.porting.shim import journal;"
        "journal.write({'carrier': 'mapped', 'uses': {}, 'operators': {'of': {'a': 1}}})"
    )
    environment = {**os.environ, journal.PLACE: str(place)}
    for process in [subprocess.Popen([sys.executable, "-c", words], env=environment) for _ in range(3)]:
        assert process.wait() == 0
    assert len(journal.read_all(place)) == 3


@pytest.mark.parametrize("module, heard", [("train", True), ("transformers.utils", True), ("torch._inductor.config", False)])
def test_who_hears_that_there_is_a_gpu_on_the_simulated_device(module, heard):
    assert told_the_truth(module) is not heard


def test_on_a_chip_of_its_own_the_libraries_that_know_chips_hear_the_truth():
    asked = ("train", "megatron.core", "transformers.utils", "accelerate", "deepspeed.accelerator", "vllm", "peftish")
    assert [told_the_truth(module, chip=True) for module in asked] == [False, False, True, True, True, True, False]


def test_dynamo_hears_what_the_script_that_it_traces_would_hear():
    assert told_the_truth("torch._dynamo.utils")
    assert not told_the_truth("torch._dynamo.variables.torch")
    assert told_the_truth("torch.distributed.distributed_c10d", NCCL)
    assert not told_the_truth("torch.nn.parallel.distributed", NCCL)
