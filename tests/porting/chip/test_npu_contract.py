"""The npu adapter against the real torch-npu: a contract of names, without a card.

FOREBAY_TEST_TORCH_NPU names a folder with torch-npu 2.13 for this Python (`make test-slow` fills one by `pip install --no-deps
--target`). The vendor's missing libraries get empty bodies, so that the plug-in can be imported.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.porting.shim import load
from forebay.porting.shim.build import build, find_torch
from forebay.porting.shim.carrier import Carrier
from forebay.porting.shim.chip.adapter import CALLED, named

from . import empty_bodies

PLACE = os.environ.get("FOREBAY_TEST_TORCH_NPU", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(580),
    pytest.mark.skipif(not PLACE, reason="FOREBAY_TEST_TORCH_NPU names no folder with torch-npu"),
]
ASK = """
import json, torch
from torch import distributed
def words(call):
    try:
        return call() and ""
    except RuntimeError as error:
        return str(error).splitlines()[0]
has, listed = torch._C._dispatch_has_kernel_for_dispatch_key, torch._C._dispatch_get_registrations_for_dispatch_key
print("SAID " + json.dumps({
    "name": torch._C._get_privateuse1_backend_name(),
    "names": sorted(dir(torch.npu)),
    "backends": distributed.Backend.backend_capability,
    "overloads": len(listed("PrivateUse1")),
    "renamed": [name for name in listed("BackendSelect") if has(name, "PrivateUse1")],
    "casts": has("aten::linear", "AutocastPrivateUse1"),
    "host": [str(torch.ones(1).device), torch.ones(1).is_cuda, torch.cuda.is_available(), torch.cuda.device_count()],
    "errors": {device: [words(lambda: torch.empty(3, device=device)), words(lambda: torch.ones(3).to(device))]
               for device in ("cuda", "npu")},
}), flush=True)
import os; os._exit(0)  # the plug-in's end wants a card
"""


@pytest.fixture(scope="module")
def said(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cann")
    missing = empty_bodies.build(Path(PLACE).resolve() / "torch_npu", find_torch().folder, folder)
    library = build(cache, recipe=named("npu").recipe())
    carrier = Carrier("chip", "for the contract", library, "npu")
    environment = {**os.environ, **load.child_environment(carrier, 1), "LD_LIBRARY_PATH": str(folder), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] += os.pathsep + str(Path(PLACE).resolve())
    ended = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=300, check=False)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, ended.stderr
    return {**json.loads(lines[0][5:]), "missing": missing}


def test_about_a_hundred_symbols_are_missing(said):
    assert 80 <= len(said["missing"]) <= 130


def test_the_plug_in_calls_its_device_as_the_adapter_says(said):
    assert said["name"] == named("npu").device


def test_the_plug_in_has_every_name_that_the_layer_calls(said):
    called = {named("npu").calls.get(name, name) for name in CALLED} | {"default_generators", "_lazy_init"}
    assert called - set(said["names"]) == set()


def test_the_plug_in_registers_the_adapters_backend_for_its_device(said):
    assert said["backends"][named("npu").backend] == [named("npu").device]


def test_the_plug_in_has_its_kernels(said):
    assert said["overloads"] > 1400


def test_operators_that_take_a_tensor_and_a_device_are_renamed(said):
    assert {"aten::empty_like", "aten::_pin_memory", "aten::record_stream"} <= set(said["renamed"])


def test_autocast_has_a_policy_for_the_chip(said):
    assert said["casts"]


def test_host_tensors_stay_host_tensors_and_no_card_is_no_card(said):
    assert said["host"] == ["cpu", False, False, 0]


def test_a_call_for_cuda_reaches_the_plug_in_as_a_call_for_npu_does(said):
    """Without a card both end in the plug-in's own words, about its runtime."""
    assert said["errors"]["cuda"] == said["errors"]["npu"]
    assert all("aclrt" in words for words in said["errors"]["npu"])
