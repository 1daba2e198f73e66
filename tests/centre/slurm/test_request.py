"""What is asked of Slurm for a run, whole, before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.centre.settings import Account, Settings, SlurmSettings
from forebay.centre.slurm import request, survey
from forebay.centre.slurm.request import Request
from forebay.centre.spec import Share, Spec
from forebay.codec import decode, encode
from forebay.errors import BadInput

from .test_survey import RECORDED, TOLD

SETTINGS = Settings(slurm=TOLD)


def spec(*shares: tuple[str, int], **fields: Any) -> Spec:
    made = tuple(Share(node=node, cards=tuple(range(count))) for node, count in shares)
    given_ = {"chip": "ascend-910b", "shares": made, "bundle": "0" * 64, "entry": "train.py", **fields}
    return Spec(name="j4k7q2m-1", job="j4k7q2m", organisation="acme", **given_)


def build(wanted: Spec, told: Settings = SETTINGS, site: Any = RECORDED) -> Request:
    known = survey.survey(site, told.slurm).gres
    where = {"home": Path("/shared/centre"), "tag": "a1b2c3", "python": "/opt/python", "variables": {"PATH": "/usr/bin"}}
    return request.build(wanted, told, site, known, **where)


def test_the_whole_batch_script_of_a_run_over_two_machines() -> None:
    asked = build(spec(("a1", 4), ("a2", 4), time_limit_s=3600.0))
    assert request.script(asked) == (
        "#!/bin/sh\n"
        "#SBATCH --job-name=fb-a1b2c3-j4k7q2m-1\n"
        "#SBATCH --partition=all\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --nodelist=a1,a2\n"
        "#SBATCH --ntasks=2\n"
        "#SBATCH --ntasks-per-node=1\n"
        "#SBATCH --cpus-per-task=4\n"
        "#SBATCH --gres=npu:ascend910b:4\n"
        "#SBATCH --mem=32000\n"
        "#SBATCH --time=71\n"
        "#SBATCH --signal=B:USR1@25\n"
        "#SBATCH --no-requeue\n"
        "#SBATCH --export=ALL\n"
        "#SBATCH --propagate=NONE\n"
        "#SBATCH --open-mode=append\n"
        "#SBATCH --output=/shared/centre/runs/j4k7q2m-1/exchange/log\n"
        "#SBATCH --chdir=/\n"
        "exec /opt/python -I -S -c 'import sys; sys.path.insert(0, '\"'\"'/shared/centre/code'\"'\"'); "
        "from forebay.centre.slurm.step import main; main()' lead /shared/centre/runs/j4k7q2m-1\n"
    )


def test_the_same_request_for_slurmrestd() -> None:
    asked = build(spec(("a1", 4), ("a2", 4), time_limit_s=3600.0))
    body = request.payload(asked)
    assert body["job"] == {
        "name": "fb-a1b2c3-j4k7q2m-1",
        "partition": "all",
        "nodes": [2, 2],
        "nodelist": "a1,a2",
        "tasks": 2,
        "tasks_per_node": 1,
        "cpus_per_task": 4,
        "no_requeue": True,
        "environment": {"PATH": "/usr/bin"},
        "open_mode": "append",
        "standard_output": "/shared/centre/runs/j4k7q2m-1/exchange/log",
        "current_working_directory": "/",
        "gres": "gres:npu:ascend910b:4",
        "memory_per_node": 32000,
        "time_limit": 71,
    }
    assert body["script"].splitlines()[-1] == request.script(asked).splitlines()[-1]


def test_an_organisation_has_the_account_that_the_operator_wrote_down_for_it() -> None:
    accounts = {"acme": Account(user="alice", account="p17", partition="urgent", qos="high"), "*": Account(account="guests")}
    told = replace(SETTINGS, accounts=accounts, slurm=replace(TOLD, extra=("--reservation=forebay", "--exclusive")))
    lines = request.script(build(spec(("a1", 1)), told)).splitlines()
    wanted = ["--account=p17", "--qos=high", "--uid=alice", "--partition=urgent", "--reservation=forebay", "--exclusive"]
    assert {f"#SBATCH {option}" for option in wanted} <= set(lines)
    job = request.payload(build(spec(("a1", 1)), told))["job"]
    assert (job["account"], job["qos"], job["reservation"], job["exclusive"]) == ("p17", "high", "forebay", True)
    assert build(replace(spec(("a1", 1)), organisation="other"), told).account == "guests"


def test_processors_are_asked_for_without_gres() -> None:
    machines = tuple(replace(machine, gres=(), used=()) for machine in RECORDED.machines)
    told = Settings(slurm=SlurmSettings(cpus_per_card=2))
    asked = build(spec(("a1", 3), chip="cpu"), told, replace(RECORDED, machines=machines))
    assert (asked.gres, asked.cpus) == ("", 6)
    assert not [line for line in request.script(asked).splitlines() if "gres" in line]


def test_memory_is_the_operators_word_or_the_sites_or_a_share_of_the_machines() -> None:
    told = replace(SETTINGS, slurm=replace(TOLD, memory_per_card="6GiB"))
    with_default = replace(RECORDED, partitions=tuple(replace(one, default_memory=True) for one in RECORDED.partitions))
    wanted = spec(("a1", 2))
    assert [build(wanted, told).memory_mb, build(wanted, SETTINGS, with_default).memory_mb, build(wanted).memory_mb] == [
        12288,
        None,
        16000,
    ]


def test_uneven_shares_ask_for_the_larger_everywhere_and_are_refused_where_it_doesnt_exist() -> None:
    assert build(spec(("a1", 8), ("a2", 3))).gres == "npu:ascend910b:8"
    small = [replace(one, gres=(replace(one.gres[0], count=4),)) if one.name == "a2" else one for one in RECORDED.machines]
    with pytest.raises(BadInput) as refused:
        build(spec(("a1", 8), ("a2", 3)), SETTINGS, replace(RECORDED, machines=tuple(small)))
    assert (refused.value.asked, refused.value.found) == ("8 on a2", "4")


def test_a_node_that_isnt_there_and_two_kinds_of_cards_are_refused() -> None:
    for wanted in (spec(("a9", 1)), spec(("a1", 1), ("h1", 1))):
        with pytest.raises(BadInput):
            build(wanted)


def test_a_time_limit_is_cut_to_the_partitions_and_refused_beyond_it() -> None:
    short = replace(RECORDED, partitions=tuple(replace(one, most_minutes=60) for one in RECORDED.partitions))
    assert build(spec(("a1", 1), time_limit_s=3500.0), SETTINGS, short).minutes == 60
    assert build(spec(("a1", 1)), SETTINGS, short).minutes is None
    with pytest.raises(BadInput) as refused:
        build(spec(("a1", 1), time_limit_s=7200.0), SETTINGS, short)
    assert (refused.value.asked, refused.value.found) == ("120 minutes", "60 minutes at most")


def test_the_partition_has_all_machines_of_the_run() -> None:
    told = replace(SETTINGS, slurm=replace(TOLD, partitions=("urgent", "all")))
    only = [replace(one, partitions=("all",)) if one.name == "a2" else one for one in RECORDED.machines]
    site = replace(RECORDED, machines=tuple(only))
    assert build(spec(("a1", 1)), told, site).partition == "urgent"
    assert build(spec(("a1", 1), ("a2", 1)), told, site).partition == "all"


@given(
    st.integers(1, 8),
    st.integers(1, 8),
    st.none() | st.floats(1, 1e6),
    st.floats(0, 600),
    st.sampled_from(["", "6GB"]),
)
def test_a_request_survives_json_and_gives_every_share_at_least_what_it_wants(
    first: int, second: int, limit_s: float | None, grace_s: float, memory: str
) -> None:
    told = replace(SETTINGS, slurm=replace(TOLD, memory_per_card=memory))
    wanted = spec(("a1", first), ("a2", second), time_limit_s=limit_s, grace_s=grace_s)
    asked = build(wanted, told)
    assert decode(Request, encode(asked)) == asked
    assert int(asked.gres.rpartition(":")[2]) >= max(first, second)
    assert asked.minutes is None or limit_s is None or asked.minutes * 60 >= limit_s + grace_s
    assert asked.warn_s >= grace_s
    assert all(line.startswith(("#!", "#SBATCH --", "exec ")) for line in request.script(asked).splitlines())
