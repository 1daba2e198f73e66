"""What is found in shell scripts, batch jobs and build files."""

from __future__ import annotations

import pytest

from forebay.porting.sources import find


def found(path: str, text: str) -> list[tuple[int, str, str]]:
    return [(one.column, one.rule, one.what) for one in find(path, text)]


@pytest.mark.parametrize(
    "line, rules",
    [
        ("CUDA_VISIBLE_DEVICES=0,1 python train.py", ["visible-devices"]),
        ("export NCCL_DEBUG=INFO", ["cuda-environment"]),
        ("export PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128", ["cuda-environment"]),
        ("unset CUDA_VISIBLE_DEVICES", ["visible-devices"]),
        ("python train.py --device cuda", ["device-string"]),
        ("python train.py --device=cuda:0 --dist-backend nccl", ["device-string", "nccl"]),
        ("python train.py trainer.accelerator=gpu model.device=cuda", ["accelerator", "device-string"]),
        ("python train.py --no-cuda", ["cuda-switch"]),
        ("nvidia-smi -L", ["nvidia-smi"]),
        ("N=$(nvidia-smi -L | wc -l)", ["nvidia-smi"]),
        ("if command; then nvidia-smi; fi", ["nvidia-smi"]),
        ("nvcc -arch=sm_80 k.cu -o k", ["build-cuda"]),
        ("nsys profile python train.py", ["nvidia-tool"]),
        ("module load gcc cuda/11.8", []),
        ("module load cuda/11.8", ["nvidia-tool"]),
        ("pip install torch==2.1.0+cu118 -f https://example.com/whl", ["req-cuda-torch"]),
        ("pip3 install flash-attn --no-build-isolation", ["req-stood-in"]),
        ("pip install torch --index-url https://download.pytorch.org/whl/cu121", ["req-cuda-torch"]),
        ("conda install pytorch pytorch-cuda=12.1 -c pytorch -c nvidia", ["req-cuda-torch"]),
        ("docker run --gpus all image", ["container-gpu"]),
        ("IMAGE=pytorch/manylinux-cuda118", ["build-image"]),
        ("docker run --runtime=nvidia image", ["container-gpu"]),
        ("#SBATCH --gres=gpu:a100:4", ["container-gpu"]),
        ("#SBATCH --constraint=v100-32g", ["container-gpu"]),
        ("srun --gres=gpu:h100:1 python x.py", ["container-gpu"]),
        # no ties
        ("#SBATCH --gres=gpu:4", []),
        ("# CUDA_VISIBLE_DEVICES=0 python train.py --device cuda", []),
        ("echo 'use --device cuda, see nvidia-smi'", []),
        ("echo CUDA_VISIBLE_DEVICES=0", []),
        ("python train.py --out runs/cuda --name cuda", []),
        ("cd cuda && make", []),
        ("python cuda.py", []),
        ("python train.py --device cpu", []),
        ("pip install torch numpy", []),
        ("pip install -r requirements-cuda.txt", []),
        ("git clone https://github.com/NVIDIA/apex", []),
    ],
)
def test_a_word_is_judged_by_where_it_stands(line, rules):
    assert [rule for _, rule, _ in found("run.sh", line)] == rules


def test_a_column_is_that_of_the_word():
    assert found("run.sh", "cd x && CUDA_VISIBLE_DEVICES=0 python t.py --device 'cuda'") == [
        (9, "visible-devices", "CUDA_VISIBLE_DEVICES"),
        (53, "device-string", "device cuda"),
    ]


CMAKE = """cmake_minimum_required(VERSION 3.18)  # CUDA
project(x LANGUAGES CXX CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_ARCHITECTURES 80)
add_library(x a.cpp b.cu)
target_link_libraries(x CUDA::cublas)
message(STATUS "CUDA is here")
option(WITH_CUDA "with cuda" ON)
"""


def test_cmake():
    rules = [(one.line, one.rule) for one in find("CMakeLists.txt", CMAKE)]
    assert rules == [
        (2, "build-cuda"),
        (3, "build-cuda"),
        (4, "build-arch"),
        (5, "build-source"),
        (6, "build-library"),
        (8, "cu-switch"),
    ]


def test_make():
    text = "NVCC := nvcc\nFLAGS = -O3 -gencode arch=compute_80\nLIBS += -lcublas -lcudart\n\n"
    text += "k.o: k.cu\n\t$(NVCC) $(FLAGS) $< -o $@\n\tnvidia-smi\n\techo cuda\n"
    assert [(one.line, one.rule) for one in find("Makefile", text)] == [
        (1, "build-cuda"),
        (2, "build-arch"),
        (3, "build-library"),
        (5, "build-source"),
        (6, "build-cuda"),
        (7, "nvidia-smi"),
    ]


def test_docker():
    text = """# FROM nvidia/cuda
ARG BASE=pytorch/pytorch:2.1.0-cuda12.1-cudnn8-devel
FROM nvidia/cuda:12.1.0-devel-ubuntu22.04
FROM python:3.11-slim
ENV CUDA_HOME=/usr/local/cuda TORCH_CUDA_ARCH_LIST="8.0"
RUN apt-get update && apt-get install -y cuda-toolkit-12-1 git && \\
    pip install flash-attn numpy
COPY cuda.txt /
"""
    assert [(one.line, one.rule) for one in find("Dockerfile", text)] == [
        (2, "build-image"),
        (3, "build-image"),
        (5, "cuda-environment"),
        (6, "req-needless"),
        (7, "req-stood-in"),
    ]


def test_bazel_and_meson():
    assert [one.rule for one in find("BUILD.bazel", 'cuda_library(\n  srcs = ["k.cu"],\n)\n')] == ["build-cuda", "build-source"]
    assert [one.rule for one in find("meson.build", "project('x', 'cpp')\ncuda = dependency('cuda', version: '>=11')\n")] == [
        "build-cuda"
    ]
