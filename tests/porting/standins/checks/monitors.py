"""pynvml and nvidia-smi: what they say is what torch.cuda says."""

import subprocess

import pynvml
import pytest
import torch


def ask(*words):
    return subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=60)


def pynvml_must_be_started():
    with pytest.raises(pynvml.NVMLError, match="Uninitialized"):
        pynvml.nvmlDeviceGetCount()


def pynvml_shows_torchs_cards():
    pynvml.nvmlInit()
    x = torch.zeros(1 << 20, device="cuda:1")
    assert pynvml.nvmlDeviceGetCount() == torch.cuda.device_count() == 2
    card = pynvml.nvmlDeviceGetHandleByIndex(1)
    memory = pynvml.nvmlDeviceGetMemoryInfo(card)
    assert memory.used == torch.cuda.memory_allocated(1) >= x.nbytes
    assert (memory.total, memory.free) == (torch.cuda.get_device_properties(1).total_memory, memory.total - memory.used)
    assert pynvml.nvmlDeviceGetName(card) == torch.cuda.get_device_name(1)
    assert pynvml.nvmlDeviceGetCudaComputeCapability(card) == torch.cuda.get_device_capability(1)
    assert pynvml.nvmlDeviceGetUUID(card) == f"GPU-{torch.cuda.get_device_properties(1).uuid}"
    assert 0 <= pynvml.nvmlDeviceGetUtilizationRates(card).gpu <= 100


def torchs_monitors_ask_it():
    x = torch.zeros(1 << 20, device="cuda")
    assert torch.cuda.device_memory_used() == torch.cuda.memory_allocated() >= x.nbytes
    assert 0 <= torch.cuda.utilization() <= 100
    assert "process" in torch.cuda.list_gpu_processes()


def what_nobody_measures_is_not_supported():
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    for measure in (pynvml.nvmlDeviceGetPowerUsage, pynvml.nvmlDeviceGetFanSpeed):
        with pytest.raises(pynvml.NVMLError_NotSupported):
            measure(card)
    for measure in (torch.cuda.temperature, torch.cuda.power_draw, torch.cuda.clock_rate):
        with pytest.raises(RuntimeError, match="no sensor"):
            measure()


def a_card_that_is_not_there_is_an_invalid_argument():
    pynvml.nvmlInit()
    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlDeviceGetHandleByIndex(7)


def nvidia_smi_says_on_its_face_what_it_is():
    table = ask()
    assert (table.returncode, "SIMULATED BY FOREBAY" in table.stdout) == (0, True), table.stderr
    assert torch.cuda.get_device_name(0) in table.stdout
    assert len({len(line) for line in table.stdout.splitlines()[1:]}) == 1, table.stdout


def nvidia_smi_lists_and_queries():
    uuid = torch.cuda.get_device_properties(0).uuid
    assert ask("-L").stdout.splitlines()[0] == f"GPU 0: {torch.cuda.get_device_name(0)} (UUID: GPU-{uuid})"
    rows = ask("--query-gpu=index,name,memory.total,temperature.gpu", "--format=csv,noheader,nounits").stdout.splitlines()
    total = torch.cuda.get_device_properties(0).total_memory >> 20
    assert rows == [f"{card}, {torch.cuda.get_device_name(card)}, {total}, [N/A]" for card in range(2)]
    assert ask("--query-gpu", "memory.total", "--format", "csv", "-i", "1").stdout == f"memory.total [MiB]\n{total} MiB\n"
    assert ask("--query-compute-apps=pid,used_memory", "--format=csv,noheader").stdout == ""
    assert "<attached_gpus>2</attached_gpus>" in ask("-q", "-x").stdout


def nvidia_smi_refuses_what_it_does_not_know():
    wrong = ask("--query-gpu=colour", "--format=csv")
    assert (wrong.returncode, wrong.stdout) == (2, 'Field "colour" is not a valid field to query.\n')
    assert ask("--gpu-reset").returncode == 2
    assert ask("-i", "9", "-L").returncode == 6
