"""What a real site printed (recorded/) is read as it was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.centre.slurm import facts, hostlist, tell, tell_json
from forebay.centre.slurm.facts import Gres, Job, Machine

RECORDED = Path(__file__).parent / "recorded"


def text(name: str) -> str:
    return (RECORDED / name).read_text("utf-8")


def body(name: str) -> Any:
    return json.loads(text(name))


@pytest.mark.parametrize(
    "short, names",
    [
        ("h1", ["h1"]),
        ("h[1-3,07],login", ["h1", "h2", "h3", "h07", "login"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("r[1-2]n[1-2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
        ("", []),
        ("(null)", []),
    ],
)
def test_host_lists_are_written_out(short: str, names: list[str]) -> None:
    assert list(hostlist.expand(short)) == names


@given(st.lists(st.integers(1, 999), min_size=1, max_size=20, unique=True), st.sampled_from(["n", "gpu-", "rack1x"]))
def test_a_host_list_of_single_numbers_is_those_names(numbers: list[int], prefix: str) -> None:
    short = f"{prefix}[{','.join(map(str, numbers))}]"
    assert list(hostlist.expand(short)) == [f"{prefix}{number}" for number in numbers]


@given(st.integers(0, 500), st.integers(0, 50), st.integers(1, 5))
def test_a_range_keeps_its_ends_its_length_and_its_zeros(start: int, more: int, width: int) -> None:
    names = hostlist.expand(f"n[{str(start).zfill(width)}-{str(start + more).zfill(width)}]")
    assert len(names) == more + 1
    assert [int(name[1:]) for name in names] == list(range(start, start + more + 1))
    assert all(len(name) >= width + 1 for name in names)


@pytest.mark.parametrize(
    "told, found",
    [
        ("gpu:h100:8(S:0-1),npu:4", [("gpu", "h100", 8), ("npu", "", 4)]),
        ("gpu:h100:0(IDX:N/A),mlu:0,npu:ascend910b:6(IDX:0-5)", [("npu", "ascend910b", 6)]),
        ("gpu:3090:2", [("gpu", "3090", 2)]),  # a type that is no word
        ("gpu:2", [("gpu", "", 2)]),
        ("(null)", []),
    ],
)
def test_gres_is_read_with_and_without_its_type(told: str, found: list[tuple[str, str, int]]) -> None:
    assert [(one.name, one.model, one.count) for one in tell.gres(told)] == found


def test_a_reason_may_have_spaces_and_signs() -> None:
    line = "NodeName=x State=DOWN*+DRAIN Reason=bad DIMM, see #12 [root@2026-01-01T00:00:00] Comment=hands off"
    found = tell.machine(line)
    assert (found.reason, found.state, found.silent) == ("bad DIMM, see #12", ("DOWN", "DRAIN"), True)


def test_the_machines_of_a_site_are_told_alike_by_both_ways() -> None:
    machines = tell.machines(text("nodes.txt"))
    assert machines == tell_json.machines(body("nodes.json"))
    assert [machine.name for machine in machines] == ["a1", "a2", "h1", "h2", "m1", "m2"]
    assert machines[0] == Machine(
        name="a1",
        address="127.1.0.3",
        cpus=8,
        memory_mb=64000,
        gres=(Gres(name="npu", model="ascend910b", count=8),),
        used=(Gres(name="npu", model="ascend910b", count=6),),
        cpus_used=2,
        features=("ascend",),
        partitions=("all", "urgent"),
        state=("MIXED",),
    )
    assert [(machine.state, machine.silent, machine.reason) for machine in machines[3:]] == [
        (("IDLE", "DRAIN"), False, "a fan is loud"),
        (("MIXED",), False, ""),
        (("IDLE", "NOT_RESPONDING"), True, ""),
    ]


def test_the_partitions_of_a_site_are_told_alike_by_both_ways() -> None:
    partitions = tell.partitions(text("partitions.txt"))
    assert partitions == tell_json.partitions(body("partitions.json"))
    assert [(one.name, one.default, one.most_minutes, one.default_memory) for one in partitions] == [
        ("all", True, None, False),
        ("urgent", False, None, False),
    ]


def test_a_tree_of_switches_is_read_from_the_command_and_from_the_file() -> None:
    shown = tell.switches(text("topology.txt"))
    file = "# our fabric\nSwitchName=leaf1 Nodes=h[1-2]\nSwitchName=leaf2 Nodes=a[1-2]\nSwitchName=leaf3 Nodes=m[1-2]\n"
    assert shown == tell.switches(file + "SwitchName=spine Switches=leaf[1-3]\n")
    assert (shown["h1"], shown["leaf1"], shown.get("spine")) == ("leaf1", "spine", None)


def test_what_the_site_is_set_to_is_read() -> None:
    told = tell.config(text("config.txt"))
    assert (told["TopologyPlugin"], told["AccountingStorageType"], told["DefMemPerNode"]) == (
        "topology/tree",
        "accounting_storage/none",
        "UNLIMITED",
    )


def test_jobs_are_told_alike_by_both_ways() -> None:
    told = {job.name: job for job in tell.queue(text("squeue.txt"))}
    rest = {job.name: job for job in tell_json.jobs(body("jobs.json"), frozenset({"mine", "waits"}))}
    assert (told["mine"].state, told["mine"].nodes) == (rest["mine"].state, rest["mine"].nodes) == ("RUNNING", "a[1-2]")
    assert (told["waits"].state, told["waits"].reason) == (rest["waits"].state, rest["waits"].reason) == ("PENDING", "Resources")
    assert told["mine"].started_at_s is not None
    assert set(rest) == {"mine", "waits"}


def test_the_cards_that_jobs_were_given_are_read_by_machine() -> None:
    mine, other, mlu = [f"JobId={part}" for part in text("jobs.txt").split("JobId=")[1:]]
    assert tell.bound(mine, "npu:ascend910b") == {"a1": (0, 1, 2, 3), "a2": (0, 1, 2, 3)}
    assert tell.bound(other, "npu:ascend910b") == {"a1": (4, 5)}
    assert tell.bound(mlu, "mlu:mlu370") == {"m1": ()}  # only counted
    uneven = "  Nodes=a1 GRES=gpu:h100:3(IDX:0,2-3)\n  Nodes=a2 GRES=gpu:h100:1(IDX:7)\n"
    assert tell.bound(uneven, "gpu:h100") == {"a1": (0, 2, 3), "a2": (7,)}


def test_the_accounting_remembers_who_cancelled_and_what_became_of_it() -> None:
    lines = "7|fb-x-1|CANCELLED by 0|a[1-2]|0|2026-11-29T17:26:20|2026-11-29T17:26:21\n"
    first, second = tell.accounts(lines + "8|fb-x-2|NODE_FAIL|None assigned|1|Unknown|Unknown\n")
    assert (first.state, first.nodes, facts.is_over(first)) == ("CANCELLED", "a[1-2]", True)
    assert (second.state, second.nodes, second.restarts, second.started_at_s) == ("NODE_FAIL", "", 1, None)


@pytest.mark.parametrize(
    "told, minutes",
    [("10", 10), ("10:30", 10), ("2:00:00", 120), ("1-12", 2160), ("1-12:30:00", 2190), ("UNLIMITED", None), ("", None)],
)
def test_times_are_read_as_slurm_writes_them(told: str, minutes: int | None) -> None:
    assert tell.minutes(told) == minutes


@given(st.sampled_from(sorted(facts.WAITING | facts.HOLDING | {"COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT", "PREEMPTED"})))
def test_a_job_waits_holds_cards_or_is_over(state: str) -> None:
    job = Job(id="1", name="x", state=state)
    assert [facts.only_waits(job), facts.holds(job), facts.is_over(job)].count(True) == 1
