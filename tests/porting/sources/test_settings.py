"""What is found in settings: the key says whether a value is a device."""

from __future__ import annotations

import json

import pytest

from forebay.porting.sources import find


def found(path: str, text: str) -> list[tuple[int, int, str]]:
    return [(one.line, one.column, one.rule) for one in find(path, text)]


def test_yaml_is_found_with_line_and_column():
    text = """# device: cuda
title: cuda
name: cuda
path: runs/cuda
description: device: cuda is the default
train:
  device: cuda:0   # a card
  accelerator: gpu
  ddp: {backend: nccl, map_location: "cuda"}
  devices: [cuda, cpu]
  use_cuda: true
"""
    # the fifth line is no YAML: the file is then read line by line, and flow mappings aren't seen
    good = text.replace("description: device: cuda is", "description: cuda is")
    assert found("conf.yaml", good) == [
        (7, 11, "device-string"),
        (8, 16, "accelerator"),
        (9, 18, "nccl"),
        (9, 38, "device-string"),
        (10, 13, "device-string"),
        (11, 3, "cuda-switch"),
    ]
    assert [line for line, _, _ in found("conf.yaml", text)] == [7, 8, 11]


def test_commands_in_yaml_are_read_as_shell():
    text = """jobs:
  test:
    container: nvidia/cuda:12.1-devel
    steps:
      - name: CUDA_VISIBLE_DEVICES=0
        run: |
          pip install torch --index-url https://download.pytorch.org/whl/cu118
          CUDA_VISIBLE_DEVICES=0 python train.py --device cuda
        env:
          NCCL_DEBUG: INFO
"""
    assert [(line, rule) for line, _, rule in found("ci.yml", text)] == [
        (3, "build-image"),
        (7, "req-cuda-torch"),
        (8, "visible-devices"),
        (8, "device-string"),
        (10, "cuda-environment"),
    ]


def test_containers_ask_for_cards():
    text = """services:
  train:
    image: nvcr.io/nvidia/pytorch:24.01-py3
    runtime: nvidia
    environment:
      - NVIDIA_VISIBLE_DEVICES=all
    command: ["python", "train.py", "--device", "cuda"]
"""
    assert [(line, rule) for line, _, rule in found("docker-compose.yml", text)] == [
        (3, "build-image"),
        (4, "container-gpu"),
        (6, "visible-devices"),
        (7, "device-string"),
    ]
    reserved = "devices:\n  - capabilities:\n    - gpu\n"
    assert [(line, rule) for line, _, rule in found("compose.yaml", reserved)] == [(3, "container-gpu")]
    pod = "resources:\n  limits:\n    nvidia.com/gpu: 1\nenv:\n  - name: CUDA_VISIBLE_DEVICES\n    value: '0'\n"
    assert [(line, rule) for line, _, rule in found("pod.yaml", pod)] == [(3, "container-gpu"), (5, "visible-devices")]


def test_a_config_of_accelerate_names_its_cards():
    assert found("acc.yaml", "distributed_type: MULTI_GPU\nuse_cpu: false\n") == [(1, 19, "accelerator")]


def test_json_toml_and_ini():
    text = '{\n "device": "cuda",\n "title": "cuda",\n'
    text += ' "comm_backend_name": "nccl", "cuda": true,\n "model": {"device": "cuda:1"}\n}\n'
    assert found("ds.json", text) == [
        (2, 12, "device-string"),
        (4, 23, "nccl"),
        (4, 31, "cuda-switch"),
        (5, 22, "device-string"),
    ]
    assert found("a.toml", '[run]\ndevice = "cuda"  # cuda\nlabel = "cuda"\n') == [(2, 10, "device-string")]
    assert found("a.ini", "[run]\n; device = cuda\ndevice = cuda\n") == [(3, 10, "device-string")]
    assert found(".env", "export CUDA_VISIBLE_DEVICES=0\nDEVICE=cuda\n") == [(1, 8, "visible-devices"), (2, 8, "device-string")]


def test_classes_that_hydra_makes():
    assert found("h.yaml", "scaler:\n  _target_: torch.cuda.amp.GradScaler\n") == [(2, 13, "amp")]


@pytest.mark.parametrize(
    "path, text",
    [
        ("data.json", json.dumps([{"device": "cuda"}] * 6000)),
        ("numbers.json", "[[1, 2], [3, 4]]\n" + '{"device": "cuda"}'),
        ("long.json", '{"text": "' + "x" * 70_000 + '", "device": "cuda"}'),
        ("big.yaml", "device: cuda\n" * 60_000),
        ("package-lock.json", '{"device": "cuda"}'),
    ],
)
def test_data_is_no_setting(path, text):
    assert find(path, text) == ()


@pytest.mark.parametrize("text", ["\t- {", "a: &x [*x]", "!!python/object:os.system {}", "{{ device: cuda }}", "[" * 500, "\0"])
def test_broken_yaml_is_no_error(text):
    find("x.yaml", "cuda\n" + text)
