"""What is found in lists of requirements, of every kind."""

from __future__ import annotations

import pytest

from forebay.porting.sources import find
from forebay.porting.sources.packages import judge


def found(path: str, text: str) -> list[tuple[int, str, str]]:
    return [(one.line, one.rule, one.what) for one in find(path, text)]


@pytest.mark.parametrize(
    "name, rest, rule",
    [
        ("tensorrt", "", "req-cuda-only"),
        ("faiss-gpu-cu12", "", "req-cuda-only"),
        ("cudf-cu12", "==24.10", "req-cuda-only"),
        ("cupy-cuda12x", "", "req-kin-build"),
        ("mamba_ssm", ">=2", "req-kin-build"),
        ("vLLM", "", "req-vendor-build"),
        ("onnxruntime-gpu", "", "req-vendor-build"),
        ("jax", "[cuda12]", "req-vendor-build"),
        ("torch-scatter", "", "req-from-source"),
        ("spconv-cu118", "", "req-from-source"),
        ("triton", "==2.1", "req-triton"),
        ("flash-attn", "", "req-stood-in"),
        ("flash_attn", "", "req-stood-in"),
        ("xformers", "", "req-stood-in"),
        ("bitsandbytes", "", "req-stood-in"),
        ("nvidia-ml-py", "", "req-monitor"),
        ("gpustat", "", "req-monitor"),
        ("nvidia-cudnn-cu12", "==8.9", "req-needless"),
        ("cudatoolkit", "=11.3", "req-needless"),
        ("torch", "==2.1.0+cu118", "req-cuda-torch"),
        ("pytorch", "=2.1=py3.10_cuda12.1_cudnn8_0", "req-cuda-torch"),
        ("pytorch-cuda", "=12.1", "req-cuda-torch"),
        ("pytorch-mutex", "=1.0=cuda", "req-cuda-torch"),
        ("pytorch-mutex", "=1.0=cpu", None),
        ("libnpp-dev", "", "req-needless"),
        # without CUDA in them
        ("torch", ">=2.1", None),
        ("torch", "==2.1.0+cpu", None),
        ("torch", " @ https://example.com/whl/rocm6/torch.whl", None),
        ("jax", "", None),
        ("numba", "", None),
        ("numpy", "", None),
        ("accumulate", "", None),
        ("barracuda", "", None),
        ("deepspeed", "", None),
    ],
)
def test_a_package_is_judged_by_what_there_is_of_it(name, rest, rule):
    assert judge(name, rest) == rule


def test_requirements_are_read_as_pip_reads_them():
    text = (
        "# flash-attn in a comment\n"
        "--extra-index-url https://download.pytorch.org/whl/cu118\n"
        "-r more.txt\n"
        "torch==2.1.0+cu118 ; python_version > '3.8'  # cupy\n"
        "  cupy-cuda11x\n"
        "git+https://github.com/Dao-AILab/flash-attention.git#egg=flash-attn\n"
        "-e git+https://github.com/NVIDIA/apex.git\n"
        "numpy\n"
    )
    assert found("requirements.txt", text) == [
        (2, "req-cuda-torch", "https://download.pytorch.org/whl/cu118"),
        (4, "req-cuda-torch", "torch==2.1.0+cu118"),
        (5, "req-kin-build", "cupy-cuda11x"),
        (6, "req-stood-in", "git+https://github.com/Dao-AILab/flash-attention.git#egg=..."),
        (7, "req-stood-in", "-e git+https://github.com/NVIDIA/apex.git"),
    ]
    assert found("notes.txt", text) == []


def test_pyproject_is_read_by_its_sections():
    text = """[project]
name = "triton"
description = "needs flash-attn and cupy"
keywords = ["cuda", "triton"]
dependencies = [
    "torch>=2",
    "triton>=3 ; sys_platform == 'linux'",  # "xformers"
]
[project.optional-dependencies]
gpu = ["flash-attn", "numpy"]
[build-system]
requires = ["setuptools", "nvidia-cuda-nvcc-cu12"]
[tool.poetry.dependencies]
python = "^3.10"
cupy-cuda12x = "^13"
torch = { version = "2.1.0+cu121", source = "pt" }
[[tool.uv.index]]
name = "pytorch-cu128"
url = "https://download.pytorch.org/whl/cu128"
[tool.other]
dependencies = ["tensorrt"]
"""
    assert [line[:2] for line in found("pyproject.toml", text)] == [
        (7, "req-triton"),
        (10, "req-stood-in"),
        (12, "req-needless"),
        (15, "req-kin-build"),
        (16, "req-cuda-torch"),
        (19, "req-cuda-torch"),
    ]


def test_condas_environment_is_read_by_its_sections():
    text = """name: cudatoolkit
channels:
  - pytorch
  - nvidia
dependencies:
  - python=3.10
  - pytorch-cuda=11.8  # nvidia
  - nvidia::cuda-nvcc
  - "cudatoolkit=11.3"
  - pip:
    - flash-attn
    - --extra-index-url https://download.pytorch.org/whl/cu118
"""
    assert found("environment.yml", text) == [
        (4, "req-cuda-torch", "channel nvidia"),
        (7, "req-cuda-torch", "pytorch-cuda=11.8"),
        (8, "req-needless", "cuda-nvcc"),
        (9, "req-needless", "cudatoolkit=11.3"),
        (11, "req-stood-in", "flash-attn"),
        (12, "req-cuda-torch", "https://download.pytorch.org/whl/cu118"),
    ]


def test_setup_cfg_and_pipfile():
    cfg = "[metadata]\nname = cupy\n"
    cfg += "[options]\ninstall_requires =\n    torch\n    cupy\n[options.extras_require]\nfast = flash-attn\n"
    assert [line[:2] for line in found("setup.cfg", cfg)] == [(6, "req-kin-build"), (8, "req-stood-in")]
    pipfile = '[packages]\ntorch = "*"\ntensorrt = "*"\n[dev-packages]\ngpustat = "*"\n'
    assert [line[:2] for line in found("Pipfile", pipfile)] == [(3, "req-cuda-only"), (5, "req-monitor")]


def test_a_column_points_at_the_package():
    (one,) = find("pyproject.toml", '[project]\ndependencies = ["numpy", "triton>=3"]\n')
    assert (one.line, one.column) == (2, 27)
