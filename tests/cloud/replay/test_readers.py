"""Each format by a few lines of it, and what is said of a file that is none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from forebay.cloud.replay import readers, site
from forebay.cloud.replay.readers.pollux import packed
from forebay.cloud.replay.readers.sacct import length_s
from forebay.cloud.replay.trace import ANY_CHIP, Line, Settings, on_pool
from forebay.errors import BadInput

PHILLY = """timestamp,duration,num_gpus,gpu_time,cluster
2017-10-09 07:01:55,66.0,1,66.0,11cb48
2017-10-09 06:13:03,2951.0,8,23608.0,6214e9
"""
SPEEDS = """worker_type,model,num_gpus,steps_per_s
v100,LM,1,10
k80,LM,1,2.5
v100,LM,2,16
v100_unconsolidated,LM,2,8
"""
GAVEL = """job,model,num_gpus,total_steps,priority_weight,arrival_s
0,LM,1,1000,1,0
1,LM,2,1600,2,30.5
2,LM,4,3200,1,40
"""
SHOCKWAVE = """trace,job,model,num_gpus,total_steps,adaptation,priority_weight,duration_s,arrival_s
120,0,LM,1,1000,gns,1,1418,0
220,0,LM,2,1600,static,1,33,5
"""
MURI = """trace,job_id,num_gpu,submit_time,iterations,model_name,batch_size,duration,interval,iteration_time,priority
trace1,0,8,2000,58,dqn,128,5000,46,490,1
trace1,1,1,1000,58,dqn,128,7000,46,490,1
"""
CHRONUS = """job_id,user,num_gpu,submit_time,iterations,model_name,duration,interval,expect_time_list,job_type
0,vc_a,4,12198,6910,resnet101,211,8,282,strict
1,vc_b,0,12199,6910,resnet101,211,8,282,strict
"""
OPENB = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
whole,12000,16384,1,1000,T4|P100,LS,Running,10,110,20
share,6000,12288,1,460,,LS,Running,0,100,0
never,6000,12288,2,1000,,LS,Pending,0,100,
none,6000,12288,0,0,,LS,Running,0,100,0
"""
# Lines as Slurm prints them, recorded by hand after its manual; no accounting database was at hand to print real ones.
SACCT = """JobID|User|Account|Partition|Submit|ElapsedRaw|State|AllocTRES|Timelimit
100|ann|physics|gpu|2026-10-01T10:00:00|3600|COMPLETED|billing=8,cpu=8,gres/gpu:a100=4,gres/gpu=4,mem=64G,node=1|1-00:00:00
100.batch||physics||2026-10-01T10:00:00|3600|COMPLETED|cpu=8,gres/gpu:a100=4,gres/gpu=4,node=1|
101|bob|chemistry|gpu|2026-10-01T10:00:30|60|FAILED|cpu=8,gres/gpu=2,node=1|UNLIMITED
102|bob|chemistry|cpu|2026-10-01T10:00:40|60|COMPLETED|cpu=8,node=1|UNLIMITED
103|bob|chemistry|gpu|2026-10-01T10:00:50|0|CANCELLED by 7||UNLIMITED
104_3|bob|chemistry|gpu|2026-10-01T10:00:50|0|CANCELLED by 7|cpu=8,gres/gpu=2,node=1|UNLIMITED
"""


@pytest.fixture
def file(tmp_path: Path):
    def write(name: str, text: str, *, packed: bool = False) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
        return path

    return write


@pytest.mark.parametrize("packed", [False, True])
def test_philly(file, packed):
    trace = readers.read(file("p.csv", PHILLY + "\n", packed=packed))
    assert trace.format == "philly" and not trace.times_known
    first, second = trace.jobs
    assert (first.arrival_s, first.organisation, first.lines) == (0, "6214e9", (Line(chip=ANY_CHIP, cards=8, seconds=2951),))
    assert second.arrival_s == 2932


def test_gavel_with_its_speeds(file):
    trace = readers.read(file("g.csv", GAVEL), data=file("s.csv", SPEEDS))
    assert [line.chip for line in trace.jobs[0].lines] == ["v100", "k80"]
    assert [line.seconds for line in trace.jobs[0].lines] == [100, 400]
    assert trace.jobs[1].lines[0] == Line(chip="v100", cards=2, seconds=100, spread_s=200)
    assert trace.jobs[2].lines[0].seconds == 100  # four cards, twice as fast as two
    assert "nobody measured" in trace.notes[0]
    assert trace.times_known


def test_a_trace_of_steps_says_that_it_needs_speeds(file):
    with pytest.raises(BadInput, match=r"needs the speeds[\s\S]*--data"):
        readers.read(file("g.csv", GAVEL))
    with pytest.raises(BadInput, match=r"holds no speeds[\s\S]*timestamp"):
        readers.read(file("g.csv", GAVEL), data=file("p.csv", PHILLY))


def test_of_several_traces_in_a_file_one_is_chosen(file):
    path = file("s.csv", SHOCKWAVE)
    assert [job.lines[0].seconds for job in readers.read(path, part="120").jobs] == [1418]
    with pytest.raises(BadInput, match=r"several traces\.[\s\S]*120, 220[\s\S]*--part"):
        readers.read(path)
    with pytest.raises(BadInput, match="none of this name"):
        readers.read(path, part="900")


def test_muri_counts_in_milliseconds(file):
    trace = readers.read(file("m.csv", MURI))
    assert [(job.id, job.arrival_s, job.lines[0].seconds) for job in trace.jobs] == [("m00001", 0, 7), ("m00000", 1, 5)]


def test_chronus_has_deadlines(file):
    trace = readers.read(file("c.csv", CHRONUS))
    assert [(job.organisation, job.deadline_s) for job in trace.jobs] == [("vc_a", 282)]
    assert trace.notes == ("1 jobs without cards are left out",)


def test_alibabas_pods_with_whole_cards(file):
    trace = readers.read(file("o.csv", OPENB))
    (whole,) = trace.jobs
    assert whole.lines == (Line(chip="T4", cards=1, seconds=90), Line(chip="P100", cards=1, seconds=90))
    assert trace.notes == ("1 pods that asked for a share of a card are left out", "1 pods that never ran are left out")
    with pytest.raises(BadInput, match="no times"):
        readers.read(file("o2.csv", "name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,1,1,1000\n"))


def test_slurms_accounting(file):
    trace = readers.read(file("october.txt", SACCT))
    assert [(job.id, job.organisation, job.project, job.time_limit_s) for job in trace.jobs] == [
        ("s100", "physics", "ann", 86_400),
        ("s101", "chemistry", "bob", None),
    ]
    assert [job.lines for job in trace.jobs] == [
        (Line(chip="a100", cards=4, seconds=3600),),
        (Line(chip=ANY_CHIP, cards=2, seconds=60),),
    ]
    assert trace.jobs[1].arrival_s == 30
    assert trace.notes == ("1 jobs that never ran are left out", "2 jobs without cards are left out")
    with pytest.raises(BadInput, match=r"lacks a column[\s\S]*--format"):
        readers.read(file("bad.txt", "JobID|Submit|State\n1|2026-10-01T10:00:00|COMPLETED\n"))


@pytest.mark.parametrize("text, seconds", [("1-02:03:04", 93_784), ("02:03:04", 7384), ("03:04", 184), ("UNLIMITED", 0), ("", 0)])
def test_lengths_as_slurm_writes_them(text, seconds):
    assert length_s(text) == seconds


def test_kueues_inputs(file):
    one = {"class": "small", "count": 2, "creation_interval_ms": 100, "runtime_ms": 200, "priority": 50, "request": 1}
    body = {"cohorts": 2, "queues_per_cohort": 3, "nominal_quota": 20, "borrowing_limit": 100, "workload_sets": [one]}
    path = file("k.json", json.dumps({"source": "", "inputs": {"baseline": body}}))
    trace = readers.read(path, part="baseline")
    assert (len(trace.jobs), len(trace.tenants)) == (12, 6)
    assert trace.jobs[0].arrival_s == 0.1 and trace.jobs[0].lines[0].seconds == 0.2
    assert (trace.tenants[0].cohort, trace.tenants[0].cards, trace.tenants[0].borrow) == ("c0", 20, 100)
    with pytest.raises(BadInput, match="several inputs"):
        readers.read(path)


def test_pollux_workloads_become_menus(file):
    workloads = "set,workload,name,time_s,application,num_replicas,batch_size\nw,1,ncf-0,107,ncf,2,64\n"
    placements = "application,placement,local_bsz,step_time,sync_time\n" + "".join(
        f"ncf,{place},{batch},{step},{sync}\n"
        for place, batch, step, sync in [
            ("1", 32, 1.0, 0.0), ("2", 32, 1.1, 0.1), ("2", 16, 0.7, 0.1), ("11", 32, 2.0, 1.0), ("4", 16, 0.5, 0.2),
            ("3", 16, 9.0, 0.0),
        ]
    )  # fmt: skip
    trace = readers.read(file("w.csv", workloads), data=file("placements.csv", placements))
    (job,) = trace.jobs
    assert job.elastic and job.resumable and trace.spread_counts
    assert [line.cards for line in job.lines] == [2, 1, 4]  # what was asked for, then what is worth it; three cards are slower
    asked, alone, four = job.lines
    assert alone.seconds == pytest.approx(asked.seconds * 2.0 / 1.1)  # 64 on one card are two passes of 32
    assert four.seconds == pytest.approx(asked.seconds * 0.5 / 1.1)
    assert asked.spread_s == pytest.approx(asked.seconds * 2.0 / 1.1)
    assert 0.05 * 3600 <= asked.seconds * 2 <= 3600
    rigid, _ = on_pool(trace, {"t4": 64}, Settings(elastic=False))
    assert [line.cards for line in rigid[0].lines] == [2]


def test_so_many_cards_on_as_few_nodes_as_hold_them():
    assert [packed(count) for count in (1, 4, 6, 10, 16)] == ["1", "4", "24", "244", "4444"]


@pytest.mark.parametrize(
    "text, found",
    [("a,b\n1,2\n", "the header 'a,b'"), ("{}", "JSON with the keys"), ("{", "JSON that can't be read"), ("", "the header ''")],
)
def test_what_is_no_trace_is_refused_with_what_was_found(file, text, found):
    with pytest.raises(BadInput, match="no trace that I know") as refused:
        readers.read(file("x", text))
    assert found in str(refused.value)


def test_a_file_that_is_not_there_and_a_line_that_is_cut_off(file, tmp_path):
    with pytest.raises(BadInput, match="can't be read"):
        readers.read(tmp_path / "nothing")
    with pytest.raises(BadInput, match="more or fewer fields"):
        readers.read(file("m.csv", MURI + "trace1,3\n"))


def test_pools_in_words_and_in_files(file):
    assert site.cards(site.parse("9x4:v100,2x8:k80,3:t4")) == {"v100": 36, "k80": 16, "t4": 3}
    nodes = site.parse(str(file("nodes.csv", "sn,cpu_milli,memory_mib,gpu,model\na,1,1,2,P100\nb,1,1,0,\n")))
    assert [(node.name, node.chip, len(node.cards)) for node in nodes] == [("a", "P100", 2)]
    for wrong in ("", "8", "0x8:h", "8xh", "1x2:"):
        with pytest.raises(BadInput, match="no description of a pool"):
            site.parse(wrong)


def test_jobs_that_a_pool_can_never_run_are_told_apart(file):
    trace = readers.read(file("p.csv", PHILLY))
    good, never = on_pool(trace, {"h": 4}, Settings())
    assert ([job.id for job in good], [job.id for job in never]) == (["p000001"], ["p000000"])
    both, _ = on_pool(trace, {"h": 8, "k": 8}, Settings())
    assert [line.chip for line in both[0].lines] == ["h", "k"]
