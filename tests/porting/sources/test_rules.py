"""The table of rules beside Python: each is found by something, and says the same as what it is about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forebay.porting.findings import Word
from forebay.porting.kernels import rules as carried
from forebay.porting.kernels import toolkit
from forebay.porting.rules import RULES
from forebay.porting.source_rules import DIFFICULTY, LANES, SOURCE_TABLE, TRANSLATED, UNTRANSLATED
from forebay.porting.sources import find

INCLUDE = Path(toolkit.__file__).parent / "include"
HERE = Path(__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "porting.md"


def test_every_rule_is_found_in_some_test():
    tests = "".join(path.read_text() for path in HERE.glob("test_*.py") if path.name != "test_rules.py")
    assert [rule.key for rule in SOURCE_TABLE if f'"{rule.key}"' not in tests and rule.key != "cu-file"] == []


def test_every_rule_says_what_to_do_and_how_long_it_takes():
    assert [rule.key for rule in SOURCE_TABLE if not rule.todo or rule.minutes <= 0] == []


def test_the_sets_hold_rules():
    named = LANES | TRANSLATED | UNTRANSLATED | frozenset().union(*DIFFICULTY.values())
    assert named <= RULES.keys()


@pytest.mark.parametrize(
    "line, refused_as",
    [
        ("wmma::fragment<a> f;", "wmma"),
        ("cutlass::gemm::device::Gemm<float> g;", "cutlass"),
        ("cublasSgemm(h);", "library"),
        ("tex2D(t, x, y);", "texture"),
        ("cudaGraphLaunch(g, s);", "graph"),
        ("cuLaunchKernel(f);", "driver"),
        ("cg::this_grid().sync();", "cooperative grid"),
        ("__pipeline_commit();", "asynchronous copy"),
    ],
)
def test_what_the_stand_in_for_nvcc_refuses_is_no_emulation_on_cores(line, refused_as):
    assert refused_as in carried.NAMES
    (found,) = [one for one in find("k.cu", line) if one.rule != "cu-file"]
    assert RULES[found.rule].cpu in (Word.REWRITE, Word.BLOCKED)


@pytest.mark.parametrize(
    "header, rule",
    [
        ("cuda_fp16.h", "cu-fp16"),
        ("cuda_runtime.h", "cu-runtime"),
        ("cooperative_groups.h", "cu-warp"),
        ("ATen/cuda/CUDAContext.h", "cu-torch"),
    ],
)
def test_what_is_called_emulated_has_a_header_in_the_stand_in(header, rule):
    assert (INCLUDE / header).exists()
    assert RULES[rule].cpu is Word.EMULATED


@pytest.mark.parametrize(
    "header, rule", [("cub", "cu-cub"), ("curand_kernel.h", "cu-curand"), ("cuda_fp8.h", "cu-fp8"), ("mma.h", "cu-tensor-core")]
)
def test_what_has_none_is_not_called_emulated(header, rule):
    assert not (INCLUDE / header).exists()
    assert RULES[rule].cpu is Word.REWRITE


def test_the_page_lists_the_rules_as_they_are():
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \| (\w+) \| (\w+) \| (\w+) \|$", PAGE.read_text(), re.MULTILINE)
    listed = {key: (meaning, kin, cpu, own) for key, meaning, kin, cpu, own in rows}
    table = {rule.key: (rule.meaning, rule.kin.value, rule.cpu.value, rule.own.value) for rule in SOURCE_TABLE}
    assert {key: row for key, row in listed.items() if key in table} == table
