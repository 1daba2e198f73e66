"""A script under the shim: a true __main__, its children, its report, and what a broken set-up says."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .conftest import run


def launch(cache, *words, **variables):
    command = [sys.executable, "-m", "forebay.porting.shim", "--cache", str(cache), "--cards", "2", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, timeout=100)


def script(folder, text):
    path = folder / "train.py"
    path.write_text(text)
    return path


def test_a_script_spawns_workers_that_have_the_cards(cache, simulated, tmp_path):
    path = script(
        tmp_path,
        """
import sys
import torch, torch.multiprocessing as mp

class Box:  # pickled by name from a true __main__
    def __init__(self, value): self.value = value

def work(rank, box):
    print(f"rank {rank} of {torch.cuda.device_count()}", torch.full((1,), box.value, device=f"cuda:{rank}").device, flush=True)

if __name__ == "__main__":
    print(sys.argv[1:])
    mp.spawn(work, (Box(3),), nprocs=torch.cuda.device_count())
""",
    )
    ended = launch(cache, path, "--lr", "1")
    assert sorted(ended.stdout.splitlines()) == ["['--lr', '1']", "rank 0 of 2 cuda:0", "rank 1 of 2 cuda:1"], ended.stderr


def test_a_traceback_has_the_scripts_frames_only(cache, simulated, tmp_path):
    ended = launch(cache, script(tmp_path, "import torch\nraise ValueError('mine')\n"))
    assert ended.returncode == 1
    assert ended.stderr.count("  File ") == 1
    assert "train.py" in ended.stderr


def test_a_script_that_is_not_there_is_named(cache, simulated):
    ended = launch(cache, "no.py")
    assert (ended.returncode, "BadScript: The script isn't there." in ended.stderr) == (2, True)


def test_a_script_that_cannot_be_read_is_told_with_its_line_before_anything_runs(cache, simulated, tmp_path):
    for text, words in (("x = 1\nprint 'hi'\n", "train.py:2"), ("def f(:\n", "train.py:1"), ("x = '\0'\n", "null bytes")):
        ended = launch(cache, script(tmp_path, text))
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith("BadScript: This Python"), ended.stderr
        assert words in ended.stderr


def test_cuda_visible_devices_hides_cards(simulated):
    words = """
import os, torch
for os.environ["CUDA_VISIBLE_DEVICES"] in ("1", "0,1", "", "-1", "0,7,1"):
    print(torch.cuda.device_count(), torch.cuda.is_available())
"""
    ended = run(simulated, "-c", words)
    assert ended.stdout.splitlines() == ["1 True", "2 True", "0 False", "0 False", "1 True"], ended.stderr


def test_the_report_is_written_at_exit(simulated, tmp_path):
    place = tmp_path / "report.json"
    words = "import torch; x = torch.ones(2, device='cuda'); x @ x"
    run(simulated, "-c", words, FOREBAY_SHIM_REPORT=str(place))
    report = json.loads(place.read_text())
    assert (report["carrier"], report["cards"], report["operators"]["of"]["aten::dot"]) == ("simulated", 2, 1)


def test_a_hidden_sitecustomize_still_runs(simulated, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello from another')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run(simulated, "-c", "import torch; print(torch.cuda.device_count())")
    assert ended.stdout.splitlines() == ["hello from another", "2"]


def test_a_process_that_cannot_be_carried_ends(simulated):
    gone = json.dumps({"carrier": {"kind": "simulated", "why": "", "library": "/no.so"}, "cards": 1})
    for value, words in (("{", "can't be read"), (gone, "no.so")):
        ended = run(simulated, "-c", "print('went on')", FOREBAY_SHIM=value)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert words in ended.stderr


def test_asking_whether_torch_is_there_does_not_use_up_its_import(simulated):
    words = """
import importlib.util
importlib.util.find_spec("torch")
import torch
print(torch.cuda.is_available.__code__.co_filename)
"""
    ended = run(simulated, "-c", words)
    assert ended.stdout.strip().endswith("lies.py"), ended.stderr


def test_python_without_torch_costs_no_torch(simulated):
    ended = run(simulated, "-c", "import sys; print('torch' in sys.modules, 'libtorch' in open('/proc/self/maps').read())")
    assert ended.stdout.split() == ["False", "False"]


def test_the_example_trains_on_two_cards_and_goes_on_from_its_checkpoint(simulated, tmp_path):
    example = Path(__file__).parents[3] / "examples" / "train_gpt.py"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 800)
    words = [example, "--data", tmp_path / "data", "--out", tmp_path / "out", "--batch", "2"]
    first = run(simulated, *words, "--steps", "6", ranks=2)
    assert [one.returncode for one in first] == [0, 0], first[0].stderr
    second = run(simulated, *words, "--steps", "9", ranks=2)
    assert "going on from step 6" in second[0].stdout, second[0].stderr
