"""A Slurm site, a Ray cluster and a machine, joined to one cloud: what its tenants and operators can count on."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from tests.centre.test_environment import wheel
from tests.cloud.clouds import until

from forebay.errors import Unavailable

from .conftest import Pool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_gpt.py"
SLURM, RAY = ("h100-sxm", "north"), ("mtt-s4000", "east")
BOTH = pytest.mark.parametrize("chip, centre", [SLURM, RAY])
# Says once when it began and when it ended, on the machine's monotonic clock.
SHORT = """
import os, sys, time
print("begin", os.environ["RANK"], os.getpid(), time.monotonic_ns(), flush=True)
time.sleep(float(sys.argv[1]))
print("end", os.environ["RANK"], os.getpid(), time.monotonic_ns(), flush=True)
"""
# Counts up to a number, and goes on after a kill where it was.
COUNTS = """
import os, sys, time, torch
at = torch.load("out/at.pt")["step"] if os.path.exists("out/at.pt") else 0
print("from", at, flush=True)
for step in range(at + 1, int(sys.argv[1]) + 1):
    time.sleep(0.25)
    torch.save({"step": step}, "out/at.tmp")
    os.rename("out/at.tmp", "out/at.pt")
    print(f"step {step}/{sys.argv[1]}", flush=True)
"""


def wait(pool: Pool, job: str, seconds: float = 240) -> dict[str, Any]:
    try:
        over = pool.member.wait(job, timeout_s=seconds)
    except Unavailable:
        over = pool.member.job(job)
    told = [event["text"] for event in pool.member.story(job)] + [line["text"] for line in pool.member.logs(job)]
    agents = [(pool.home(name) / "agent.log").read_text()[-2000:] for name in pool.wires]
    assert over["phase"] == "succeeded", "\n".join([over["phase"], *told[-60:], *agents])
    return over


def submit(pool: Pool, program: str, *argv: str, **more: Any) -> str:
    script = pool.folder / "work.py"
    script.write_text(program)
    return str(pool.member.run(script, argv, **more)["id"])


def nodes_of(run: dict[str, Any]) -> list[str]:
    return [part["node"] for part in run["allocation"]["parts"]]


def test_all_three_are_one_pool_and_say_that_they_pretend(pool: Pool) -> None:
    whole = pool.operator.pool()
    cards = {
        centre["name"]: {node["name"]: (node["chip"], len(node["cards"]), node["pretend"]) for node in centre["nodes"]}
        for centre in whole["centres"]
    }
    assert cards["north"] == {
        "h1": ("h100-sxm", 1, True),
        "h2": ("h100-sxm", 1, True),
        "a1": ("ascend-910b", 1, True),
        "a2": ("ascend-910b", 1, True),
        "m1": ("mlu370-x8", 4, True),
        "m2": ("mlu370-x8", 4, True),
    }
    assert cards["east"] == dict.fromkeys(("r1", "r2", "r3"), ("mtt-s4000", 1, True))
    assert [(chip, count) for chip, count, _ in cards["local"].values()] == [("cpu", 2)]
    table = pool.forebay("pool", env={"FOREBAY_URL": pool.cloud.url, "FOREBAY_KEY": pool.cloud.operator_key})
    assert "pretend" in table and "slurm" in table and "ray" in table


@BOTH
def test_a_script_written_for_cuda_trains_over_two_nodes_with_packages_of_its_own(pool: Pool, chip: str, centre: str) -> None:
    code = pool.folder / f"code-{centre}"
    shutil.rmtree(code, ignore_errors=True)
    code.mkdir()
    shutil.copy(EXAMPLE, code)
    name, content = wheel("hydro", "1.0", "power = 42")
    (code / name).write_bytes(content)
    (code / "requirements.txt").write_text(f"./{name}\n")
    text = pool.folder / "text"
    text.mkdir(exist_ok=True)
    (text / "a.txt").write_text("To see a World in a Grain of Sand\n" * 400)
    pool.member.make_data("sand", text)
    job = pool.member.run(
        code,
        ["--steps", "12", "--checkpoint-every", "6", "--log-every", "4", "--batch", "2"],
        entry="train_gpt.py",
        chips=[chip],
        cards=2,
        data={"sand": "data"},
        requirements="requirements.txt",
    )["id"]
    over = wait(pool, job)
    (run,) = over["runs"]
    assert (run["allocation"]["centre"], len(nodes_of(run)), run["allocation"]["pretend"]) == (centre, 2, True)
    printed = pool.printed(job)
    assert [line for line in printed if line.startswith("step 12/12")], printed
    assert any("2 x" in line for line in printed), "both ranks took part"
    fetched = pool.folder / f"fetched-{centre}"
    pool.member.output(job, fetched)
    assert {path.name for path in fetched.rglob("*.pt")} == {"checkpoint.pt"}


def test_a_job_that_may_run_at_either_goes_where_it_ends_first(pool: Pool) -> None:
    for quick, slow in ((SLURM, RAY), (RAY, SLURM)):
        takes = {quick[0]: 5.0, slow[0]: 600.0}
        job = submit(pool, SHORT, "0.1", chips=[slow[0], quick[0]], takes=takes)
        wait(pool, job)
        assert pool.where(job) == [quick[1]]


def test_a_node_that_dies_under_a_run_costs_it_no_more_than_its_last_steps(pool: Pool) -> None:
    jobs = {centre: submit(pool, COUNTS, "60", chips=[chip]) for chip, centre in (SLURM, RAY)}
    victims = {}
    for centre, job in jobs.items():
        assert until(lambda job=job: "step 12/60" in pool.printed(job), 240), pool.printed(job)
        (victims[centre],) = nodes_of(pool.member.job(job)["runs"][0])
    begun = time.monotonic()
    pool.site.kill_node(victims["north"])
    pool.cluster.kill_node(victims["east"])
    noticed_s: dict[str, float] = {}

    def all_noticed() -> bool:
        for centre, job in jobs.items():
            if centre not in noticed_s and pool.member.job(job)["runs"][0]["outcome"]:
                noticed_s[centre] = time.monotonic() - begun
        return len(noticed_s) == 2

    assert until(all_noticed, 60), noticed_s
    for centre, job in jobs.items():
        over = wait(pool, job)
        first, last = over["runs"][0], over["runs"][-1]
        assert first["outcome"] == "lost" and victims[centre] in first["reason"], first
        assert nodes_of(last) != [victims[centre]]
        starts = [int(line.split()[1]) for line in pool.printed(job) if line.startswith("from")]
        assert starts[0] == 0 and starts[-1] >= 10, "the second attempt goes on from the checkpoint"
    print({centre: f"noticed after {seconds:.1f} s" for centre, seconds in noticed_s.items()})
    assert noticed_s["east"] < 15  # Slurm's own SlurmdTimeout is 10 s here, and it looks when it likes
    pool.cluster.start_node(victims["east"])
    pool.site.start_node(victims["north"])
    for centre, node in victims.items():
        assert until(lambda centre=centre, node=node: not _trouble(pool, centre, node), 90), (centre, node)


def _trouble(pool: Pool, centre: str, node: str) -> bool:
    found = [one for one in pool.centre(centre)["nodes"] if one["name"] == node]
    return not found or found[0].get("condition", "up") != "up"


def test_agents_that_are_cut_off_for_a_minute_lose_and_double_nothing(pool: Pool) -> None:
    jobs = [submit(pool, COUNTS, "280", chips=[chip]) for chip, _ in (SLURM, RAY)]  # 70 seconds and more
    for job in jobs:
        assert until(lambda job=job: "step 3/280" in pool.printed(job), 240), pool.printed(job)
    for wire in pool.wires.values():
        wire.cut()
    try:
        time.sleep(60)
        seen = [len(pool.printed(job)) for job in jobs]
        assert [pool.member.job(job)["phase"] for job in jobs] == ["running", "running"]
    finally:
        for wire in pool.wires.values():
            wire.mend()
    for job, before in zip(jobs, seen, strict=True):
        wait(pool, job)
        printed = pool.printed(job)
        assert before < 200 < len(printed)
        assert printed == ["from 0", *(f"step {step}/280" for step in range(1, 281))]
        assert len(pool.where(job)) == 1


def test_two_hundred_short_jobs_over_all_three_while_slurmctld_is_restarted(pool: Pool) -> None:
    script = pool.folder / "short.py"
    script.write_text(SHORT)
    menus = [
        ["cpu"],
        ["h100-sxm", "ascend-910b"],
        ["mlu370-x8"],
        ["mtt-s4000"],
        ["mlu370-x8"],
        ["ascend-910b", "mtt-s4000"],
    ]
    jobs = [
        pool.member.run(script, [f"{0.1 + i % 5 / 10:.1f}"], chips=menus[i % len(menus)], name=f"short-{i}", retries=0)["id"]
        for i in range(200)
    ]
    assert until(lambda: len(pool.member.jobs(phase="succeeded", most=1000)) > 20, 120)
    pool.site.restart_slurmctld()
    for job in jobs:
        wait(pool, job, 600)
    used = dict.fromkeys(("local", "north", "east"), 0)
    bill = {line["run"]: line for line in pool.member.bill()["lines"]}
    for job in jobs:
        *lost, run = pool.member.job(job)["runs"]
        assert [(one["outcome"], one["running_at_ns"]) for one in lost] == [("lost", 0)] * len(lost), "none began twice"
        used[run["allocation"]["centre"]] += 1
        words = [line.split() for line in pool.printed(job)]
        assert [word[0] for word in words] == ["begin", "end"] and words[0][2] == words[1][2], (job, words)
        ran_ns = int(words[1][3]) - int(words[0][3])
        assert ran_ns <= run["held_ns"] <= run["ended_at_ns"] - run["launched_at_ns"] + 10**8, job
        line = bill[run["id"]]
        assert (line["held_ns"], line["card_ns"], line["open"]) == (run["held_ns"], run["held_ns"], False)
        assert line["cost_micro"] == (run["held_ns"] * 500_000 + 5 * 10**8) // 10**9
    assert min(used.values()) >= 20, used
    print(used)
    assert until(lambda: not [one for one in pool.site.jobs().values() if one["JobState"] in ("RUNNING", "PENDING")], 30)


def test_afterwards_nothing_is_left_over(pool: Pool) -> None:
    for name in ("north", "east"):
        runs = pool.home(name) / "runs"
        assert until(lambda runs=runs: not [path.name for path in runs.iterdir() if not path.name.startswith(".")], 30)
    held = [card["held_by"] for centre in pool.operator.pool()["centres"] for node in centre["nodes"] for card in node["cards"]]
    assert [one for one in held if one] == []
