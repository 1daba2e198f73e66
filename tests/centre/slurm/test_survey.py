"""From a site to nodes: which chip a GRES is, what is an island, what others hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.centre.settings import SlurmSettings
from forebay.centre.slurm import gres, survey, tell
from forebay.centre.slurm.facts import Gres, Machine, Partition, Site
from forebay.centre.slurm.gres import Unsure
from forebay.chips import catalogue
from forebay.chips.node import Condition

from .test_facts import text

TOLD = SlurmSettings(gres={"gpu:h100": "h100-sxm", "mlu:mlu370": "mlu370-x4"})
RECORDED = Site(
    machines=tell.machines(text("nodes.txt")),
    partitions=tell.partitions(text("partitions.txt")),
    above=tell.switches(text("topology.txt")),
)
FREE = {"held": {}, "claimed": {}}


@pytest.mark.parametrize(
    "told, chip",
    [
        ("npu:ascend910b", "ascend-910b"),
        ("npu:910b3", "ascend-910b3"),
        ("npu:Ascend910B3", "ascend-910b3"),
        ("gpu:nvidia_h100_80gb_hbm3", "h100-sxm"),  # as AutoDetect=nvml names it
        ("gpu:h200", "h200"),
        ("gpu:NVIDIA-H20", "h20"),
        ("gpu:mi300x", "mi300x"),
        ("mlu:mlu370-x8", "mlu370-x8"),
        ("mps", ""),
        ("craynetwork", ""),
    ],
)
def test_a_name_that_only_one_chip_has_is_that_chip(told: str, chip: str) -> None:
    name, _, model = told.partition(":")
    assert gres.chip_of(Gres(name=name, model=model, count=8), {}) == chip


@pytest.mark.parametrize(
    "told, candidates",
    [
        ("gpu:h100", {"h100-pcie", "h100-sxm"}),
        ("gpu:a100", {"a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie"}),
        ("mlu:mlu370", {"mlu370-x4", "mlu370-x8"}),
        ("gpu", set()),
        ("gpu:unheardof9000", set()),
    ],
)
def test_where_several_chips_could_be_meant_or_none_it_asks(told: str, candidates: set[str]) -> None:
    name, _, model = told.partition(":")
    found = gres.chip_of(Gres(name=name, model=model, count=8), {})
    assert isinstance(found, Unsure)
    assert set(found.candidates) == candidates


def test_the_operators_word_counts_and_a_nodes_feature_helps() -> None:
    h100 = Gres(name="gpu", model="h100", count=8)
    assert gres.chip_of(h100, {"gpu:h100": "h100-pcie"}) == "h100-pcie"
    assert gres.chip_of(h100, {"gpu": ""}) == ""
    assert gres.chip_of(h100, {}, ("sxm", "ib")) == "h100-sxm"


@given(st.sampled_from(sorted(catalogue.load())), st.sampled_from(["{}", "NVIDIA_{}", "Huawei-{}"]), st.booleans())
def test_a_chips_own_name_is_that_chip_however_it_is_written(name: str, form: str, upper: bool) -> None:
    written = form.format(name.replace("-", "_"))
    found = gres.chip_of(Gres(name="gpu", model=written.upper() if upper else written, count=1), {})
    assert found == name


def test_the_recorded_site_has_three_kinds_of_nodes() -> None:
    found = survey.survey(RECORDED, TOLD)
    assert [(node.name, node.chip, len(node.cards)) for node in found.nodes] == [
        ("a1", "ascend-910b", 8),
        ("a2", "ascend-910b", 8),
        ("h1", "h100-sxm", 8),
        ("h2", "h100-sxm", 8),
        ("m1", "mlu370-x4", 4),
        ("m2", "mlu370-x4", 4),
    ]
    assert {(node.island, node.leaf, node.counted, node.pretend) for node in found.nodes[:2]} == {
        ("ascend-910b@spine", "spine/leaf2", True, False)
    }
    assert (found.nodes[0].address, found.gres["a1"], found.unsure) == ("127.1.0.3", "npu:ascend910b", ())


def test_cards_of_which_nobody_said_what_they_are_are_left_out_and_asked_about() -> None:
    found = survey.survey(RECORDED, SlurmSettings())
    assert [node.name for node in found.nodes] == ["a1", "a2"]
    assert [(one.gres, one.nodes) for one in found.unsure] == [("gpu:h100", ("h1", "h2")), ("mlu:mlu370", ("m1", "m2"))]
    assert "It may be h100-pcie, h100-sxm." in found.unsure[0].question


def test_a_machine_with_two_kinds_of_cards_is_two_nodes_and_one_without_is_processors() -> None:
    both = (Gres(name="npu", model="ascend910b", count=8), Gres(name="gpu", model="h200", count=4))
    machines = (
        Machine(name="x1", cpus=64, gres=both, partitions=("p",)),
        Machine(name="c1", cpus=64, partitions=("p",)),
        Machine(name="far", cpus=64, partitions=("theirs",)),
    )
    site = Site(machines=machines, partitions=(Partition(name="p"), Partition(name="theirs", root_only=True)))
    found = survey.survey(site, SlurmSettings(cpus_per_card=8))
    assert [(node.name, node.chip, len(node.cards), node.island) for node in found.nodes] == [
        ("x1+ascend-910b", "ascend-910b", 8, "ascend-910b@p"),
        ("x1+h200", "h200", 4, "h200@p"),
        ("c1", "cpu", 8, "cpu@p"),
    ]
    assert [survey.machine_of(node.name) for node in found.nodes] == ["x1", "x1", "c1"]
    assert found.gres == {"x1+ascend-910b": "npu:ascend910b", "x1+h200": "gpu:h200", "c1": ""}


def test_partitions_that_the_operator_named_are_the_only_ones() -> None:
    assert survey.survey(RECORDED, replace(TOLD, partitions=("nowhere",))).nodes == ()
    assert [one.name for one in survey.usable(RECORDED.partitions, replace(TOLD, partitions=("urgent", "all")))] == [
        "urgent",
        "all",
    ]
    assert [one.name for one in survey.usable(RECORDED.partitions, TOLD)] == ["all", "urgent"]


def test_how_the_recorded_site_stands() -> None:
    found = survey.survey(RECORDED, TOLD)
    states = {state.name: state for state in survey.states(found.nodes, RECORDED.machines, found.gres, held={}, claimed={})}
    assert {name: len(state.busy) for name, state in states.items()} == {"a1": 6, "a2": 4, "h2": 0, "m1": 3, "m2": 0}
    assert (states["h2"].condition, states["h2"].reason) == (Condition.DRAINED, "a fan is loud")
    assert (states["m2"].condition, states["m2"].reason) == (Condition.DOWN, "Slurm hears nothing from it")


@given(st.integers(0, 8), st.integers(0, 8), st.frozensets(st.integers(0, 7)))
def test_what_others_hold_is_never_a_card_that_a_run_of_ours_claims(used: int, ours: int, claimed: frozenset[int]) -> None:
    machine = replace(RECORDED.machines[0], used=(Gres(name="npu", model="ascend910b", count=used),), state=("MIXED",))
    node = survey.survey(RECORDED, TOLD).nodes[0]
    found = survey.states([node], [machine], {"a1": "npu:ascend910b"}, held={"a1": ours}, claimed={"a1": claimed})
    busy = set(found[0].busy) if found else set()
    assert not busy & claimed
    assert len(busy) == min(max(used - ours, 0), 8 - len(claimed))
