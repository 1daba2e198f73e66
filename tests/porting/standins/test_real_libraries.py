"""Real libraries with their CUDA settings, on the simulated device: the loss falls. Each is skipped where it isn't installed.

The scripts are benchmarks/entries, as a user of CUDA would write them. Public projects are run by their recipes
(docs/libraries.md).
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.shim import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENTRIES = Path(__file__).parents[3] / "benchmarks" / "entries"
TRAINER = ("transformers", "accelerate", "datasets")


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers isn't installed: pip install '.[libraries]'")
    folder = tmp_path_factory.mktemp("assets")
    subprocess.run([sys.executable, ENTRIES / "make_assets.py", folder], check=True, capture_output=True)
    return folder


def losses(simulated, assets, folder, needs, *command, cards=1):
    """The loss that a command prints must fall. Returns what its processes used of the shim: name -> class."""
    for module in needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} isn't installed: pip install '.[libraries]'")
    report = folder / "report.json"
    ended = subprocess.run(
        [*map(str, command), "--assets", str(assets), "--out", str(folder / "out")],
        capture_output=True,
        text=True,
        timeout=800,
        cwd=folder,
        env={
            **os.environ,
            **load.child_environment(simulated, cards),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HOME": str(folder),
            "FOREBAY_SHIM_REPORT": str(report),
        },
    )
    found = [float(number) for number in re.findall(r"loss(?:'?: '?| )([\d.]+)", ended.stdout)]
    assert ended.returncode == 0 and len(found) > 3, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert sum(found[-2:]) < sum(found[:2]), found
    reports = [json.loads(path.read_text())["uses"] for path in folder.glob("report*.json")]
    return {name: use["class"] for uses in reports for name, use in uses.items()}


def test_transformers_trainer_in_bf16(simulated, assets, tmp_path):
    losses(simulated, assets, tmp_path, TRAINER, sys.executable, ENTRIES / "trainer_clm.py")


def test_transformers_takes_the_stand_in_for_flash_attention_2(simulated, assets, tmp_path):
    words = (ENTRIES / "trainer_clm.py", "--attention", "flash_attention_2", "--precision", "fp16")
    uses = losses(simulated, assets, tmp_path, TRAINER, sys.executable, *words)
    assert "emulated" in {kind for name, kind in uses.items() if name.startswith("flash_attn.flash_attn")}, uses


def test_bitsandbytes_8_bit_adamw_is_the_real_one(simulated, assets, tmp_path):
    words = (ENTRIES / "trainer_clm.py", "--optimizer", "paged_adamw_8bit")
    losses(simulated, assets, tmp_path, (*TRAINER, "bitsandbytes"), sys.executable, *words)


def test_accelerate_launches_two_cards(simulated, assets, tmp_path):
    launcher = shutil.which("accelerate", path=str(Path(sys.executable).parent)) or "accelerate"
    words = ("launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "bf16", ENTRIES / "accelerate_gpt.py")
    losses(simulated, assets, tmp_path, ("transformers", "accelerate"), launcher, *words, cards=2)


@pytest.mark.parametrize("stage, precision", [(1, "fp16"), (2, "bf16"), (3, "bf16")])
def test_deepspeed_cuts_the_state_over_two_cards(simulated, assets, tmp_path, stage, precision):
    launcher = shutil.which("deepspeed", path=str(Path(sys.executable).parent)) or "deepspeed"
    words = ("--num_gpus", "2", ENTRIES / "deepspeed_gpt.py", "--stage", stage, "--precision", precision)
    losses(simulated, assets, tmp_path, ("transformers", "deepspeed"), launcher, *words, cards=2)


def test_trl_fine_tunes_with_lora_over_4_bit_weights(simulated, assets, tmp_path):
    needs = (*TRAINER, "trl", "peft", "bitsandbytes")
    losses(simulated, assets, tmp_path, needs, sys.executable, ENTRIES / "trl_qlora.py")
